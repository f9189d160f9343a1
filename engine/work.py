"""What a phase's activity works with: the store, the peers, the ledger, the seams, and the live half of the facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import attrs
import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.params import Network
from phasegate.engine.config import Config, Limits
from phasegate.engine.errors import Failure, FailureKind, PeerGone, leaves
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Desk, Ledger
from phasegate.engine.seams import Seams, Writer
from phasegate.store import Store


@attrs.define
class Live:
    """What is true only while this process runs.

    Args:
        agreed: the stored tip for which each ready peer said that it has nothing better.
        elsewhere: peers whose best chain is another, with less work than ours: they cannot serve ours.
        settled: peers that claimed the filter headers that were stored in this run.
        tip_hint: a peer hinted at a block that is not stored.
        loss: how the last peer was lost in this stay.
        remedy: the activity of `degraded` saw its reason end.
    """

    agreed: dict[Peer, bytes] = attrs.field(factory=dict)
    elsewhere: set[Peer] = attrs.field(factory=set)
    settled: set[Peer] = attrs.field(factory=set)
    tip_hint: bool = False
    loss: Failure | None = None
    remedy: bool = False


@attrs.frozen
class Work:
    """The workbench that all phase activities share."""

    config: Config
    seams: Seams
    writer: Writer
    pool: Pool
    ledger: Ledger
    live: Live
    warn: Callable[[str, str], None]
    rewound: Callable[[int, int], None]

    @property
    def store(self) -> Store:
        """The store, for reading."""
        return self.writer.store

    @property
    def network(self) -> Network:
        """The chain's rules."""
        return self.config.network

    @property
    def limits(self) -> Limits:
        """Batch sizes, windows and timeouts."""
        return self.config.limits

    def desk(self, phase: str) -> AbstractContextManager[Desk]:
        """The right to send requests, for one stay of `phase`."""
        return self.ledger.desk(phase, self.limits.in_flight[phase], self.limits.idle_timeout)

    def has_agreed(self, peer: Peer) -> bool:
        """Whether `peer` has nothing better than the tip stored now."""
        return self.live.agreed.get(peer) == self.writer.marks.tip_hash

    def no_peer(self) -> Failure:
        """The failure to raise when no peer is left: how the last one was lost in this stay, or that none came."""
        if hopeless := self.pool.hopeless:
            return Failure(FailureKind.ALL_BANNED, hopeless)
        if self.live.loss is not None:
            return self.live.loss
        return Failure(FailureKind.NO_PEER, self.pool.trouble)

    def any_peer(self) -> list[Peer]:
        """The ready peers.

        Raises:
            Failure: there is none.
        """
        if not self.pool.ready:
            raise self.no_peer()
        return self.pool.ready

    def chain_peers(self) -> list[Peer]:
        """The ready peers that follow the stored chain, those that announced its height first.

        Raises:
            Failure: there is none.
        """
        ours = [peer for peer in self.any_peer() if peer not in self.live.elsewhere]
        if not ours:
            raise Failure(FailureKind.NO_CAPABLE_PEER, "no connected peer follows the stored chain")
        return sorted(ours, key=lambda peer: peer.start_height < self.writer.marks.tip)

    def filter_peers(self) -> list[Peer]:
        """The ready peers that follow the stored chain and serve compact filters.

        Raises:
            Failure: there is none.
        """
        capable = [peer for peer in self.chain_peers() if peer.serves_filters]
        if not capable:
            detail = "no connected peer serves compact filters (BIP157 service bit 64)"
            raise Failure(FailureKind.NO_CAPABLE_PEER, detail)
        return capable

    @contextmanager
    def blame(self, peer: Peer) -> Iterator[None]:
        """Drop `peer` if it is gone or silent in here, ban it if it misbehaves; the error goes on to the caller."""
        try:
            yield
        except PeerGone as gone:
            self.live.loss = Failure(gone.kind, str(gone))
            self.pool.drop(peer, gone.detail, silent=gone.kind is FailureKind.PEER_SILENT)
            raise
        except PeerMisbehaved as fault:
            self.live.loss = Failure(FailureKind.PEER_LIED, f"{peer}: {fault}")
            self.pool.ban(peer, fault)
            raise


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the one error that matters out of a nursery's group: a bug before a lie before a lost peer."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = [leaf for leaf in leaves(group) if not isinstance(leaf, trio.Cancelled)]
        if not errors:
            raise
        raise min(errors, key=_rank) from None


def _rank(error: BaseException) -> int:
    order = (PeerMisbehaved, Failure, PeerGone)
    return next((i for i, kind in enumerate(order, 1) if isinstance(error, kind)), 0)
