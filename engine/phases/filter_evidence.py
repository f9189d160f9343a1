"""What a peer must produce to stand by its claim, and what is proof that it lies.

It must produce the filter hashes that lead to the filter headers it claims, the filter for a hash of its own, and the
filter must be one that the block allows (`consensus/filter_proofs`). The block may come from anybody, for it is proven
by its own header. What has been judged once is not judged again: two peers of one opinion share one verdict.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.blocks import check_block
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filter_proofs import filter_lies, is_pre_23
from phasegate.consensus.filters import chain_headers, filter_hash
from phasegate.consensus.primitives import Block
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.filter_claims import Claim, ask_range
from phasegate.engine.phases.filter_spans import BASIC, Span
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.messages import BlockMessage, CFilter, GetCFilters, GetData, InvItem, InvType


@attrs.frozen
class Hashes:
    """Filter hashes, 32 bytes each, and the filter header before them."""

    before: bytes
    raw: bytes

    def at(self, place: int) -> bytes:
        return self.raw[32 * place : 32 * place + 32]

    def header(self, place: int) -> bytes:
        """The filter header at `place`, -1 being the one before."""
        return chain_headers(self.before, self.raw[: 32 * place + 32])[-32:] if place >= 0 else self.before


class Evidence:
    """Asks for proofs, in one stay of the filter headers phase, and remembers verdicts."""

    def __init__(self, work: Work, desk: Desk) -> None:
        self._work = work
        self._desk = desk
        self._standing: set[tuple[int, bytes]] = set()
        self._disproved: dict[tuple[int, bytes], PeerMisbehaved] = {}
        self._filters: dict[tuple[int, bytes], bytes] = {}
        self._block: tuple[int, Block | None] = -1, None

    def stands(self, height: int, name: bytes) -> bool:
        """Whether the filter with the hash `name` has been held against the block of `height`, and stood."""
        return (height, name) in self._standing

    def admit(self, height: int, raw: bytes) -> None:
        """Take a filter for one that stood in an earlier stay."""
        self._standing.add((height, filter_hash(raw)))

    def release(self) -> None:
        """What was judged is stored: keep the verdicts only."""
        self._filters.clear()

    async def hashes(self, peer: Peer, claim: Claim, span: Span) -> Hashes | None:
        """The hashes of `span`, a range between checkpoints, that lead to what `peer` claims; None: it is gone."""
        first = span.start == self._work.writer.marks.base
        before = bytes(32) if span.start == 0 else None if first else claim.at(span.start - 1)
        try:
            with self._work.blame(peer):
                reply = await ask_range(self._work, self._desk, peer, span)
                given = Hashes(reply.prev_header, reply.hashes)
                if before not in (None, given.before) or given.header(span.count - 1) != claim.at(span.end):
                    detail = f"its cfheaders {span.start}..{span.end} do not lead to the filter header it claims"
                    raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
                return given
        except (PeerGone, PeerMisbehaved):
            return None  # dropped or banned, with the reason, by `blame`

    async def filter(self, peer: Peer, height: int, claimed: bytes) -> bytes | None:
        """The filter with the hash `claimed` that `peer` stands by, if the block allows it; None: the peer is gone."""
        try:
            with self._work.blame(peer):
                return await self._filter(peer, height, claimed)
        except (PeerGone, PeerMisbehaved):
            return None  # dropped or banned, with the reason, by `blame`

    async def _filter(self, peer: Peer, height: int, claimed: bytes) -> bytes:
        key = height, claimed
        if key in self._disproved:
            raise self._disproved[key]
        if key not in self._filters:
            self._filters[key] = await self._fetch(peer, height, claimed)
        if key not in self._standing:
            await self._judge(peer, key)
        return self._filters[key]

    async def _fetch(self, peer: Peer, height: int, claimed: bytes) -> bytes:
        name = self._work.store.hash_at(height)
        request = GetCFilters(BASIC, height, name)
        reply = await self._desk.ask(peer, request, CFilter, lambda m: m.block_hash == name)
        if filter_hash(reply.filter) != claimed:
            detail = f"its filter of height {height} does not hash to its own cfheaders"
            raise PeerMisbehaved(Fault.BAD_FILTER_HEADER, detail)
        return reply.filter

    async def _judge(self, peer: Peer, key: tuple[int, bytes]) -> None:
        height, raw = key[0], self._filters[key]
        block = await self.block(height)
        if block is not None:
            if await self._work.seams.compute(is_pre_23, block, raw):
                self._work.live.opinions.outdated.add(peer.address)
                detail = f"its filters follow the rules before 23.0, seen at height {height}"
                raise PeerGone(str(peer), FailureKind.PEER_LOST, detail)
            if (lie := await self._work.seams.compute(filter_lies, block, raw)) is not None:
                self._disproved[key] = fault = PeerMisbehaved(
                    Fault.BAD_FILTER_HEADER, f"its filter of height {height} {lie}"
                )
                raise fault
        self._standing.add(key)

    async def block(self, height: int) -> Block | None:
        """The block at `height`, checked against its header, from whoever sends it; None when nobody does."""
        if self._block[0] != height:
            self._block = height, await self._fetch_block(height) if height else None
        return self._block[1]

    async def _fetch_block(self, height: int) -> Block | None:
        name = self._work.store.hash_at(height)
        request = GetData((InvItem(InvType.BLOCK, name),))
        for peer in self._work.chain_peers():
            try:
                with self._work.blame(peer):
                    reply = await self._desk.ask(peer, request, BlockMessage, lambda m: m.body.hash == name)
                    await self._work.seams.compute(check_block, reply.body, name)
                    return reply.block
            except (PeerGone, PeerMisbehaved):
                continue  # dropped or banned, with the reason, by `blame`
        return None
