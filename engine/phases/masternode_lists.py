"""Masternode lists at any heights, each proven by itself, and each had cheaply from the nearest one below it.

A difference proves itself against the stored header of its block: the coinbase by a merkle path, the list and the
quorums by the two roots in that coinbase. Since the hashes at both ends are known beforehand, a row of differences can
be on its way at once, each starting where the one before it ends, and only their application waits for its turn.

If a difference on top of a list from the store fails, the full one from genesis is asked of the same peer before that
is blamed: when it verifies, the stored list was the wrong one and is left aside. A list that was brought in this stay
is proven; there the sender of a difference that does not fit is at fault, and another peer is asked.

A peer is silent on what its own best chain does not have. A list that must be had makes silence a reason to go on with
another peer; one that would only be good to have is given up and not asked for again in this run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_diff
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.pipeline import in_order
from phasegate.p2p.messages import GetMnListDiff, MnListDiff
from phasegate.store import StoreCorrupt

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer
    from phasegate.engine.requests import Desk
    from phasegate.engine.work import Work

ASKED = 2
"""Peers that are asked for a list that would only be good to have."""
PATIENCE = 2
"""Lists that nobody has after which no other is asked for that would only be good to have."""

ENTRY, COMMITMENT = 800, 900
"""Bytes that a parsed masternode and a parsed quorum commitment take in memory, roughly."""

_ON_TOP = (Fault.BAD_MASTERNODE_DIFF, Fault.BAD_MASTERNODE_ROOT, Fault.BAD_QUORUM_ROOT)
"""Faults that may just as well be those of the list underneath."""


@attrs.frozen
class Hop:
    """From the list at `base` (0: genesis, an empty one) to that at `height`."""

    base: int
    height: int


@attrs.frozen
class Claim:
    """What a peer says of a new quorum: the ChainLock signature, 96 bytes, in the coinbase of its work block."""

    peer: Peer
    signature: bytes


Brought = tuple["Peer", MasternodeListDiff]


def _taken_by(brought: Brought) -> int:
    _, diff = brought
    return ENTRY * len(diff.added) + COMMITMENT * len(diff.new_quorums) + sum(map(len, diff.deleted))


class Lists:
    """The lists at hand in one stay: those in memory and those in the store, and the way to more.

    Args:
        work: the workbench.
        desk: the right to ask.

    Attributes:
        claims: what is said of new quorums, by their keys, that nothing commits to.
        tellers: who told last of each quorum that was brought.
    """

    def __init__(self, work: Work, desk: Desk) -> None:
        self.claims: dict[tuple[int, bytes], Claim] = {}
        self.tellers: dict[tuple[int, bytes], Peer] = {}
        self._work = work
        self._desk = desk
        self._held: dict[int, MasternodeState] = {}
        self._proven: set[int] = set()
        self._untold = 0
        self._stored = {height for height in work.store.masternode_heights() if height <= work.writer.marks.tip}

    def has(self, height: int) -> bool:
        """Whether the list at `height` is at hand; below DIP3 it is known to be empty."""
        return height < self._work.network.dip3 or height in self._held or height in self._stored

    def is_proven(self, height: int) -> bool:
        """Whether the list at `height` was proven in this stay, and not only read from the store."""
        return height < self._work.network.dip3 or height in self._proven

    def distrust(self, height: int) -> None:
        """Leave the list at `height` aside, so that it has to be brought again; all that is left is from genesis."""
        self._held = {at: state for at, state in self._held.items() if at in self._proven}
        self._stored.clear()
        self._drop(height)

    async def at(self, height: int) -> MasternodeState:
        """The list at `height`, which must be at hand."""
        if height < self._work.network.dip3:
            return attrs.evolve(MasternodeState.empty(self._work.network), height=height, chainlock=b"")
        if height not in self._held:
            await self._load(height)
        return self._held[height]

    async def with_chainlock(self, height: int) -> MasternodeState:
        """As `at`, brought again if it was stored before the ChainLock of its coinbase was kept."""
        state = await self.at(height)
        if state.chainlock is None:
            self._drop(height)
            await self.bring([height])
            state = self._held[height]
        return state

    def _drop(self, height: int) -> None:
        self._held.pop(height, None)
        self._proven.discard(height)
        self._stored.discard(height)

    async def bring(self, heights: Iterable[int]) -> None:
        """Get what is not at hand of the lists at `heights`; every sender of something wrong is banned on the way.

        Raises:
            Failure: no peer is left.
        """
        if missing := sorted({height for height in heights if not self.has(height)}):
            hops = self._hops(missing)
            per_peer = self._work.limits.in_flight["mnlist"]
            peers, fetch, take = self._work.chain_peers, self._fetch, self._take
            await in_order(self._work, peers, hops, fetch, take, per_peer=per_peer, size=_taken_by)

    async def bring_if_served(self, height: int) -> bool:
        """Get the list at `height` if a peer has it; whether it is at hand then.

        Raises:
            Failure: there is no peer.
        """
        if self.has(height):
            return True
        block, asked, silent = self._work.store.hash_at(height), 0, False
        useless = self._untold >= PATIENCE or block in self._work.live.unserved
        for peer in [] if useless else self._work.chain_peers():
            if asked == ASKED:
                break
            [hop] = self._hops([height])
            try:
                brought = await self._fetch(peer, hop)
            except PeerGone as gone:
                asked += not gone.dragged  # who sends some of it and no more tells nothing about what is served
                silent = silent or (gone.kind is FailureKind.PEER_SILENT and not gone.dragged)
                self._work.note_delay(peer, gone)
                continue
            asked += 1
            if await self._joins(hop, brought):
                return True
        if silent:
            self._work.live.unserved.add(block)
            self._untold += 1
        return False

    async def _load(self, height: int) -> None:
        """Take a list from the store; when it cannot be read there, from a peer."""
        try:
            raw = self._work.store.masternode_state(height) if height in self._stored else None
            if raw is not None:
                self._held[height] = await self._work.seams.compute(MasternodeState.from_bytes, raw)
                return
        except (Malformed, StoreCorrupt) as damage:
            self._warn_replaced(f"the stored masternode list of {height} is damaged and is replaced: {damage}")
        self._drop(height)
        await self.bring([height])

    def _warn_replaced(self, detail: str) -> None:
        self._work.warn("masternodes-replaced", detail)

    def _hops(self, heights: list[int]) -> list[Hop]:
        """The way to each of `heights`, ascending: from the nearest list at hand, or the one just before."""
        known = {*self._held, *self._stored}
        hops = []
        for height in heights:
            hops.append(Hop(max((base for base in known if base < height), default=0), height))
            known.add(height)
        return hops

    def _hash_at(self, height: int) -> bytes:
        return self._work.store.hash_at(height) if height else MasternodeState.empty(self._work.network).block_hash

    async def _fetch(self, peer: Peer, hop: Hop) -> Brought:
        ends = self._hash_at(hop.base), self._hash_at(hop.height)
        reply = await self._desk.ask(
            peer, GetMnListDiff(*ends), MnListDiff, lambda m: (m.diff.base_hash, m.diff.block_hash) == ends
        )
        return peer, reply.diff

    async def _take(self, hop: Hop, brought: Brought) -> None:
        """Apply what was brought, or let another peer bring it."""
        if await self._joins(hop, brought):
            return
        for peer in self._work.chain_peers():
            try:
                with self._work.blame(peer):
                    await self._join(hop, await self._fetch(peer, hop))
                    return
            except (PeerGone, PeerMisbehaved):
                continue  # dropped or banned, with the reason, by `blame`
        raise self._work.no_peer()

    async def _joins(self, hop: Hop, brought: Brought) -> bool:
        try:
            with self._work.blame(brought[0]):
                await self._join(hop, brought)
        except (PeerGone, PeerMisbehaved):
            return False  # dropped or banned, with the reason, by `blame`
        return True

    async def _join(self, hop: Hop, brought: Brought) -> None:
        try:
            await self._apply(await self._base(hop), hop.height, brought)
        except PeerMisbehaved as doubted:
            if doubted.fault not in _ON_TOP or not hop.base or hop.base in self._proven:
                raise
            again = await self._fetch(brought[0], Hop(0, hop.height))
            await self._apply(MasternodeState.empty(self._work.network), hop.height, again)
            self._drop(hop.base)
            self._warn_replaced(f"the stored masternode list of {hop.base} was wrong and is replaced")

    async def _base(self, hop: Hop) -> MasternodeState:
        return await self.at(hop.base) if hop.base else MasternodeState.empty(self._work.network)

    async def _apply(self, base: MasternodeState, height: int, brought: Brought) -> None:
        peer, diff = brought
        header = self._work.store.header(height)
        state = await self._work.seams.compute(apply_diff, self._work.network, base, diff, header, height)
        self._held[height] = state
        self._proven.add(height)
        self._work.locks.offer_coinbase(diff.coinbase, self._work.store)
        self.tellers.update({commitment.key: peer for commitment in diff.new_quorums})
        for signature, places in diff.cl_signatures:
            self.claims.update({diff.new_quorums[place].key: Claim(peer, signature) for place in places})
