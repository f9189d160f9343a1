"""Header ranges: what lies between blocks that are known beforehand, from several peers at once.

One question for headers needs the answer to the one before, so from one peer, one after the other, a thread hashes or a
request is under way, seldom both. A known block (a built-in checkpoint, or one that the network's configuration names)
breaks that chain: what follows it can be asked for at any time. So the way from the stored tip to the last known block
that a peer claims to have is cut into ranges of about `header_span` headers, and `pipeline.in_order` does the rest: it
has ranges under way to all peers, to few peers several each, so that all cores hash, gives what a slow one keeps to
another, and bounds the memory.

A range is judged as it comes, as far as that goes without knowing what is below (`follow`); it has to end in the known
block at its end, and a chain of hashes that does is the one that leads there. So whoever brings another is at fault.
Who answers with nothing, or with headers that do not begin where they should, is on another chain, or not as far as it
says: it is left to the walk. When it is a range's turn, it is joined to the stored tip (`consensus/joining.py`) and
stored, so nothing is committed out of order, and a client that is killed goes on from its stored tip.

Nothing is decided here. If the first range finds nobody, because what is stored is itself on a branch, or if what came
cannot stand on what is stored, the walk takes over with what is stored by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs

from phasegate.consensus.checkpoints import between
from phasegate.consensus.compiled import expect
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.headers import ChainTip, CheckedHeaders, follow
from phasegate.consensus.joining import blind_tip, join
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.engine.compression import OF_AN_ENCODER
from phasegate.engine.errors import Failure, Unfit
from phasegate.engine.peers import Peer
from phasegate.engine.phases.headers_requests import PIECE, HeaderRequests
from phasegate.engine.phases.headers_stored import StoredHeaders
from phasegate.engine.pipeline import in_order
from phasegate.engine.work import Work
from phasegate.p2p.addresses import Address
from phasegate.store import AppendHeaders

LEAST_RANGES = 2
"""With fewer there is nothing to gain."""
LONGEST = 4
"""Spans that a range may have where no block is known in between; before a wider gap the ranges end."""
COMMITTED = 24000
"""Headers that are stored in one transaction, or as many more as the last answer brings."""
UNDER_WAY = 8
"""Ranges under way to all peers together: more would keep no core busier, but the first one would be there later."""
LEAST_PIECE = PIECE
"""Headers below which an answer is put together with the next: a peer that sends crumbs must not fill the memory."""
HEADER_BYTES = HEADER_SIZE + 32
"""Bytes that a header and its hash take in memory."""


@attrs.frozen
class Range:
    """The headers above a block, up to a known one.

    Args:
        start: height of the block before the first.
        start_hash: of that block, wire order.
        end: height of the last.
        end_hash: of the last.
    """

    start: int
    start_hash: bytes
    end: int
    end_hash: bytes


def plan_ranges(network: Network, tip: ChainTip, claimed: int, span: int) -> list[Range]:
    """The way from `tip` to the last known block at or below `claimed`, in ranges of at most `span` headers.

    A range is longer, up to `LONGEST` times, where known blocks are farther apart. Empty when it is not worth it.
    """
    known = between(network, tip.height + 1, claimed)
    ranges: list[Range] = []
    start, start_hash = tip.height, tip.hash
    for height, following in pairwise([*known, claimed + span + 1]):
        if height - start > LONGEST * span:
            break
        if following - start > span:
            ranges.append(Range(start, start_hash, height, known[height].hash))
            start, start_hash = height, known[height].hash
    return ranges if len(ranges) >= LEAST_RANGES else []


async def download_ranges(work: Work, requests: HeaderRequests, tip: ChainTip) -> ChainTip:
    """Store what lies between known blocks above `tip`, the stored tip, as far as peers have it.

    Returns:
        The stored tip by then.

    Raises:
        RolledBack: the stored headers that the first range was to be joined to were wrong; they are gone.
        StoreError: a transaction was refused.
    """
    download = _Download(work, requests, tip)
    await download.run()
    return download.tip


class _Download:
    def __init__(self, work: Work, requests: HeaderRequests, tip: ChainTip) -> None:
        self._work = work
        self._requests = requests
        self._asked: set[Peer] = set()
        self._unfit: set[Address] = set()
        self._end = 0
        self.tip = tip

    async def run(self) -> None:
        """Go as far as the farthest claim; when nobody is left who claimed that, as far as the next one."""
        limits = self._work.limits
        while ranges := self._plan():
            self._end, before = ranges[-1].end, len(self._unfit)
            expect(self._end - ranges[0].start)
            share = max(1, UNDER_WAY // len(self._peers()))
            try:
                await in_order(
                    self._work,
                    self._peers,
                    ranges,
                    self._fetch,
                    self._store,
                    per_peer=min(share, limits.in_flight["headers"]),
                    size=_size,
                    expected=limits.header_span * HEADER_BYTES,
                )
            except Failure:
                self._unfit.update(peer.address for peer in self._asked if peer.gone)
                if len(self._unfit) == before:
                    return
            except PeerMisbehaved:
                return

    def _plan(self) -> list[Range]:
        claimed = max([peer.start_height for peer in self._candidates()], default=0)
        return plan_ranges(self._work.network, self.tip, claimed, self._work.limits.header_span)

    def _candidates(self) -> list[Peer]:
        return [peer for peer in self._work.pool.ready if peer.address not in self._unfit]

    def _peers(self) -> Sequence[Peer]:
        return [peer for peer in self._candidates() if peer.start_height >= self._end]

    async def _fetch(self, peer: Peer, wanted: Range) -> list[CheckedHeaders]:
        """The headers of one range in pieces, an answer each or several small ones, linked from its start to its end.

        Raises:
            PeerGone: no answer.
            PeerMisbehaved: they break a rule, or contradict a known block.
            Unfit: the peer does not have them.
        """
        self._asked.add(peer)
        pieces: list[CheckedHeaders] = []
        tip = blind_tip(wanted.start, wanted.start_hash)
        while tip.height < wanted.end:
            batch = await self._requests.ask(peer, [tip.hash], wanted.end_hash)
            if batch.raw[4:36] != tip.hash:
                self._unfit.add(peer.address)
                raise Unfit(f"{peer} does not have what follows {tip.hash[::-1].hex()} at {tip.height}")
            batch = batch.first(wanted.end - tip.height)
            try:
                piece = await self._judge(tip, batch.raw, batch.hashes)
            except PeerMisbehaved as fault:
                if not batch.compressed or fault.fault not in OF_AN_ENCODER:
                    raise
                self._requests.fall_back(peer, fault)
                continue
            if pieces and pieces[-1].count < LEAST_PIECE:
                piece = _as_one(pieces.pop(), piece)
            pieces.append(piece)
            tip = piece.tip
        return pieces

    async def _judge(self, tip: ChainTip, raw: bytes, hashes: bytes) -> CheckedHeaders:
        now = int(self._work.seams.now())
        return await self._work.seams.compute(follow, self._work.network, tip, raw, now, hashes)

    async def _store(self, wanted: Range, pieces: list[CheckedHeaders]) -> None:
        """Join a range to the stored tip, and commit it in parts.

        Raises:
            PeerMisbehaved: it cannot stand there, though all of it is what leads from one known block to the next.
            RolledBack: because of what is stored, which was damaged.
        """
        now = int(self._work.seams.now())
        try:
            joined = await self._work.seams.compute(join, self._work.network, self.tip, pieces, now)
        except PeerMisbehaved:
            await StoredHeaders(self._work).suspect(wanted.start)
            raise
        changes: list[AppendHeaders] = []
        for piece in joined:
            changes.append(AppendHeaders(piece.first_height, piece.raw, piece.hashes, piece.tip.work))
            if piece.tip.height - changes[0].start + 1 >= COMMITTED or piece is joined[-1]:
                await self._work.writer.commit(changes)
                self.tip, changes = piece.tip, []


def _as_one(first: CheckedHeaders, second: CheckedHeaders) -> CheckedHeaders:
    """Two pieces of which the second continues the first."""
    return attrs.evolve(first, raw=first.raw + second.raw, hashes=first.hashes + second.hashes, tip=second.tip)


def _size(pieces: list[CheckedHeaders]) -> int:
    return HEADER_BYTES * sum([piece.count for piece in pieces])
