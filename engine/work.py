"""What a phase's activity works with: the store, the peers, the ledger, the seams, and the live half of the facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.locks import ChainLock
from phasegate.consensus.params import Network
from phasegate.engine.block_orders import BlockOrders
from phasegate.engine.compression import Compression
from phasegate.engine.config import Address, Config, Limits
from phasegate.engine.errors import Failure, FailureKind, PeerGone, RolledBack, leaves
from phasegate.engine.filter_opinions import FilterOpinions
from phasegate.engine.hints import CAP, FIRST
from phasegate.engine.locks import Locks
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Desk, Ledger
from phasegate.engine.seams import Seams, Writer
from phasegate.p2p.messages import CFCheckpt, CFHeaders, CFilter
from phasegate.store import Store

if TYPE_CHECKING:
    from phasegate.engine.binding import Binding
    from phasegate.engine.broadcasts import Broadcasts

OF_FILTERS = frozenset({CFilter.command, CFHeaders.command, CFCheckpt.command})
"""Answers that only peers with compact filters give."""


@attrs.define
class Live:
    """What is true only while this process runs.

    Args:
        agreed: the stored tip for which each ready peer said that it has nothing better.
        heard: the stored tip about which everybody was asked, and who was ready when that began.
        late: peers that are left to a later walk, which is not before `walk_at`; `walk_wait` was the wait for that.
        parted: where peers were that agreed and left, with that tip and the height that they had announced.
        met: the ready peers of which it is known that they have to be asked.
        elsewhere: peers whose best chain is another, with less work than ours: they cannot serve ours.
        settled: where the peers are that stated the stored filter headers in this run.
        opinions: what else peers said about filter headers in this run.
        tip_hint: a peer hinted at a block that is not stored.
        compression: whose compressed headers can be relied upon.
        audited: the stored tip down from which all headers were judged again and found to hold.
        checkpointed: the stored chain was held against the built-in checkpoints.
        bound: the newest ChainLock for whose sake a lighter branch was taken, and the fork of that branch.
        wanted_sets: heights whose active quorums a queued lock waits for.
        lists_open: masternode lists are being brought, if only to have them.
        unserved: blocks whose masternode list no peer had when it was asked for.
        silent: how often the peer at an address left a request unanswered, or took too long for it.
        dragged: how often it began an answer and took too long for it, or hung up in the middle.
        outrun: how often another peer, asked later for the same, was faster than the one at an address.
        loss: how the last peer was lost in this stay.
        remedy: the activity of `degraded` saw its reason end.
    """

    agreed: dict[Peer, bytes] = attrs.field(factory=dict)
    heard: tuple[bytes, frozenset[Peer]] = (b"", frozenset())
    late: set[Peer] = attrs.field(factory=set)
    walk_at: float = 0.0
    walk_wait: float = 0.0
    parted: dict[Address, tuple[bytes, int]] = attrs.field(factory=dict)
    met: set[Peer] = attrs.field(factory=set)
    elsewhere: set[Peer] = attrs.field(factory=set)
    settled: set[Address] = attrs.field(factory=set)
    opinions: FilterOpinions = attrs.field(factory=FilterOpinions)
    tip_hint: bool = False
    compression: Compression = attrs.field(factory=Compression)
    audited: bytes = b""
    checkpointed: bool = False
    bound: tuple[int, ChainLock] | None = None
    wanted_sets: set[int] = attrs.field(factory=set)
    lists_open: bool = False
    unserved: set[bytes] = attrs.field(factory=set)
    silent: Counter[Address] = attrs.field(factory=Counter)
    dragged: Counter[Address] = attrs.field(factory=Counter)
    outrun: Counter[Address] = attrs.field(factory=Counter)
    loss: Failure | None = None
    remedy: bool = False

    def forget_beliefs(self) -> None:
        """Ask everybody again, and judge again what is stored: for a phase that does not get on with what it knows."""
        self.agreed.clear()
        self.heard = b"", frozenset()
        self.parted.clear()
        self.elsewhere.clear()
        self.settled.clear()
        self.opinions.forget_stored()
        self.unserved.clear()
        self.audited, self.checkpointed = b"", False


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
    locks: Locks = attrs.field(factory=Locks)
    broadcasts: Broadcasts | None = None
    block_orders: BlockOrders = attrs.field(factory=BlockOrders)

    @property
    def binding(self) -> Binding:
        """Tells whether a ChainLock decides between two branches."""
        from phasegate.engine.binding import Binding

        return Binding(self)

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
        limits = self.limits
        return self.ledger.desk(
            phase,
            limits.in_flight[phase],
            limits.idle_timeout,
            concurrency=limits.concurrency[phase],
            rate=limits.rate[phase],
            idle_cap=limits.idle_cap,
            part=self.part,
        )

    def part(self, peer: Peer, answer: str, why: str) -> bool:
        """Drop a peer that takes too long for an answer of that name, if another one can be asked; whether it was.

        All that it was asked waits behind what it does not bring to an end, so nothing can be had from it meanwhile.
        """
        others = [other for other in self.pool.ready if other is not peer and other not in self.live.elsewhere]
        if answer in OF_FILTERS:
            others = [other for other in others if self.serves_filters(other)]
        if others:
            self.pool.drop(peer, why, silent=True)
        return bool(others)

    def outrun(self, peer: Peer) -> None:
        """Note that `peer` kept a job so long that another one, asked for the same later, had done it first."""
        self.live.outrun[peer.address] += 1

    def note_delay(self, peer: Peer, gone: PeerGone) -> None:
        """Have `peer` come after others, if it kept us waiting before it was `gone`."""
        self.live.silent[peer.address] += gone.kind is FailureKind.PEER_SILENT or gone.dragged
        self.live.dragged[peer.address] += gone.dragged

    def has_agreed(self, peer: Peer) -> bool:
        """Whether `peer` has nothing better than the tip stored now."""
        return self.live.agreed.get(peer) == self.writer.marks.tip_hash

    def unheard(self) -> list[Peer]:
        """The ready peers whose word about the stored tip is still wanted.

        Who came after all others were asked, and never answered anything, is not waited for, if one has agreed.
        """
        missing = [peer for peer in self.pool.ready if not self.has_agreed(peer)]
        if len(missing) == len(self.pool.ready) or self.live.heard[0] != self.writer.marks.tip_hash:
            return missing
        return [peer for peer in missing if peer in self.live.heard[1] or peer.answers]

    def leave_to_next_walk(self, *, in_vain: bool) -> None:
        """A walk is over: who came too late for it has a later one, the later the oftener one was in vain."""
        live = self.live
        live.late = {peer for peer in self.pool.ready if not self.has_agreed(peer)}
        live.walk_wait = min(CAP, max(FIRST, 2 * live.walk_wait)) if in_vain or live.late else 0.0
        live.walk_at = trio.current_time() + live.walk_wait

    @property
    def walk_due(self) -> bool:
        """Whether somebody who came too late for the last walk is to be asked now."""
        late = any(peer in self.live.late and not self.has_agreed(peer) for peer in self.pool.ready)
        return late and trio.current_time() >= self.live.walk_at

    def newcomers(self) -> list[Peer]:
        """Forget who is gone; the peers that are new and have to be asked, for a shorter chain may be the better one.

        Only who comes back as it left, to the same tip, has nothing to tell.
        """
        live, tip = self.live, self.writer.marks.tip_hash
        for peer in [peer for peer in live.agreed if peer.gone]:
            live.parted = {at: left for at, left in live.parted.items() if left[0] == tip}
            live.parted[peer.address] = live.agreed.pop(peer), peer.start_height
        live.elsewhere = {peer for peer in live.elsewhere if not peer.gone}
        new, live.met = [peer for peer in self.pool.ready if peer not in live.met], set(self.pool.ready)
        new = [peer for peer in new if live.parted.get(peer.address) != (tip, peer.start_height)]
        live.late = {peer for peer in live.late if not peer.gone}
        if trio.current_time() < live.walk_at:
            live.late.update(new)
            return []
        return new

    def no_peer(self) -> Failure:
        """The failure to raise when no peer is left: how the last one was lost in this stay, or that none came."""
        if hopeless := self.pool.hopeless:
            return Failure(FailureKind.ALL_BANNED, hopeless)
        if self.live.loss is not None:
            return self.live.loss
        return Failure(FailureKind.NO_PEER, self.pool.trouble)

    def rewind(self, reason: str) -> NoReturn:
        """Leave the phase for `headers`, because stored data of an earlier phase was rolled back."""
        raise RolledBack(reason)

    def any_peer(self) -> list[Peer]:
        """The ready peers.

        Raises:
            Failure: there is none.
        """
        if not self.pool.ready:
            raise self.no_peer()
        return self.pool.ready

    def chain_peers(self) -> list[Peer]:
        """The ready peers that follow the stored chain: who kept us waiting least first, then who announced its height.

        Raises:
            Failure: there is none.
        """
        ours = [peer for peer in self.any_peer() if peer not in self.live.elsewhere]
        if not ours:
            raise Failure(FailureKind.NO_CAPABLE_PEER, "no connected peer follows the stored chain")
        return sorted(ours, key=lambda p: (self._delays(p), p.start_height < self.writer.marks.tip))

    def _delays(self, peer: Peer) -> int:
        return self.live.silent[peer.address] + self.live.outrun[peer.address]

    def serves_filters(self, peer: Peer) -> bool:
        """Whether `peer` announced compact filters (BIP157 service bit 64), and does not make them by old rules."""
        return peer.serves_filters and peer.address not in self.live.opinions.outdated

    def filter_peers(self) -> list[Peer]:
        """The ready peers that follow the stored chain and serve compact filters by today's rules.

        Raises:
            Failure: there is none.
        """
        capable = [peer for peer in self.chain_peers() if self.serves_filters(peer)]
        if not capable:
            detail = "no peer serves compact filters (BIP157 service bit 64) by the rules of 23.0"
            detail += self.pool.search_limits
            raise Failure(FailureKind.NO_CAPABLE_PEER, detail)
        return capable

    @contextmanager
    def blame(self, peer: Peer) -> Iterator[None]:
        """Drop `peer` if it is gone or silent in here, ban it if it misbehaves; the error goes on to the caller."""
        try:
            yield
        except PeerGone as gone:
            self.live.loss = Failure(gone.kind, str(gone))
            self.note_delay(peer, gone)
            self.pool.drop(peer, gone.detail, silent=gone.kind is FailureKind.PEER_SILENT or gone.dragged)
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
    order = (PeerMisbehaved, RolledBack, Failure, PeerGone)
    return next((i for i, kind in enumerate(order, 1) if isinstance(error, kind)), 0)
