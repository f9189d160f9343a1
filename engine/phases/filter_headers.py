"""The filter-headers phase: settle with all peers which chain is right, then download it.

Filter headers are a hash chain that nothing else in the protocol proves, so peers are made to commit first. Each one
that serves filters makes a claim: its `cfcheckpt` (the filter headers at every 1000th height) and the filter hashes
from the last of these, or from where our own chain ends if that is later, to the tip. If all claims and our own stored
chain are equal there is nothing to settle. Where claims differ, the first range in which they do is asked of one peer
of each opinion: who cannot produce the hashes that lead to its own claim is a liar. If the hashes differ too, the
filters of the first differing height are asked for: who cannot produce a filter for its own hash is a liar, and so
is who produces one that lacks an output of the block itself. Only proven liars are banned; if more than one opinion is
left (an element too many cannot be disproved), the headers are disputed, and the client says so.

Once settled, ranges that begin and end at claimed heights are downloaded from all peers at once, and each is verified
by itself before it is stored, in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from phasegate.consensus.blocks import check_block
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filters import chain_headers, filter_hash, match_filters
from phasegate.engine.errors import Failure, FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.filters import BASIC, Span
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work, unwrapped
from phasegate.p2p.messages import (
    BlockMessage,
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    GetData,
    InvItem,
    InvType,
)
from phasegate.store import AppendFilterHeaders, RollBackFilters

OP_RETURN = 0x6A
"""Outputs that begin so are in no filter."""
INTERVAL = 1000
"""Heights between two checkpoints [BIP157]."""


@attrs.frozen
class Claim:
    """What a peer says the filter headers are; equal claims are one opinion.

    Args:
        checkpoints: headers at 1000, 2000, ..., 32 bytes each.
        tail: the filter header before `tail_start`, then the filter hashes from there to the tip; may be empty.
        tip: the filter header of the tip.
    """

    checkpoints: bytes
    tail_start: int
    tail: bytes
    tip: bytes

    def at(self, height: int) -> bytes:
        """The claimed filter header at a multiple of `INTERVAL`; zeros at 0 stand for "not claimed"."""
        i = height // INTERVAL - 1
        return self.checkpoints[32 * i : 32 * i + 32]


async def download_filter_headers(work: Work) -> None:
    """The activity of the state `cfheaders`."""
    marks = work.writer.marks
    if marks.filter_headers == marks.tip:
        return
    work.filter_peers()
    with work.desk("cfheaders") as desk:
        claim, peers = await _Settlement(work, desk).settle()
        await _Download(work, desk, claim).run(peers)


async def ask_range(work: Work, desk: Desk, peer: Peer, span: Span) -> CFHeaders:
    """A peer's filter hashes for `span`; one that ends elsewhere or has another number is not the answer to this."""
    stop = work.store.hash_at(span.end)

    def fits(reply: CFHeaders) -> bool:
        return reply.stop_hash == stop and len(reply.hashes) == 32 * span.count

    return await desk.ask(peer, GetCFHeaders(BASIC, span.start, stop), CFHeaders, fits)


class _Settlement:
    """Brings all peers to one opinion, or finds that it cannot be done."""

    def __init__(self, work: Work, desk: Desk) -> None:
        self._work = work
        self._desk = desk
        self._claims: dict[Peer, Claim] = {}

    async def settle(self) -> tuple[Claim, list[Peer]]:
        """The claim that stands, and the peers that make it."""
        await self._collect(self._work.filter_peers())
        while True:
            opinions = self._opinions()
            if not opinions:
                raise self._work.no_peer()
            if len(opinions) > 1:
                await self._decide(list(opinions.items()))
            elif (wrong := self._stored_contradiction(next(iter(opinions)))) is not None:
                await self._drop_stored(wrong)
            else:
                claim, peers = next(iter(opinions.items()))
                self._work.live.settled = set(peers)
                return claim, peers

    def _opinions(self) -> dict[Claim, list[Peer]]:
        opinions: dict[Claim, list[Peer]] = {}
        for peer, claim in self._claims.items():
            if not peer.gone:
                opinions.setdefault(claim, []).append(peer)
        return opinions

    async def _collect(self, peers: Sequence[Peer]) -> None:
        async def ask(peer: Peer) -> None:
            try:
                with self._work.blame(peer):
                    self._claims[peer] = await self._claim(peer)
            except (PeerGone, PeerMisbehaved):
                return  # dropped or banned, with the reason, by `blame`

        with unwrapped():
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(ask, peer)

    async def _claim(self, peer: Peer) -> Claim:
        marks = self._work.writer.marks
        reply = await self._desk.ask(
            peer, GetCFCheckpt(BASIC, marks.tip_hash), CFCheckpt, lambda m: m.stop_hash == marks.tip_hash
        )
        if len(reply.headers) != 32 * (marks.tip // INTERVAL):
            detail = f"cfcheckpt has {len(reply.headers) // 32} headers for a tip at {marks.tip}"
            raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
        anchor = marks.tip // INTERVAL * INTERVAL
        start = max(marks.filter_headers + 1, anchor + 1 if anchor else marks.base)
        if start > marks.tip:
            return Claim(reply.headers, start, b"", reply.headers[-32:])
        tail = await ask_range(self._work, self._desk, peer, Span(start, marks.tip))
        if start == anchor + 1 and anchor and tail.prev_header != reply.headers[-32:]:
            detail = f"cfheaders after {anchor} do not begin at its own checkpoint"
            raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
        if start == marks.base and tail.prev_header != bytes(32):
            raise PeerMisbehaved(Fault.BROKEN_FILTER_HEADER_CHAIN, "the first filter header has a predecessor")
        return Claim(
            reply.headers, start, tail.prev_header + tail.hashes, chain_headers(tail.prev_header, tail.hashes)[-32:]
        )

    def _stored_contradiction(self, claim: Claim) -> int | None:
        """The last height at which the stored chain may still be right, if `claim` contradicts it; else None."""
        store, marks = self._work.store, self._work.writer.marks
        for height in range(INTERVAL, marks.filter_headers + 1, INTERVAL):
            if store.filter_header_at(height) != claim.at(height):
                return height - INTERVAL if height > INTERVAL else marks.base - 1
        if claim.tail and claim.tail_start == marks.filter_headers + 1 and claim.tail[:32] != marks.filter_header:
            return max(marks.filter_headers // INTERVAL * INTERVAL, marks.base) - (marks.filter_headers < INTERVAL)
        return None

    async def _drop_stored(self, height: int) -> None:
        """No peer makes the claim that the stored chain makes: go back to where all agree, and ask again."""
        self._work.warn("filter-headers-dropped", f"no peer has the stored filter headers above {height}: dropped")
        await self._work.writer.commit([RollBackFilters(height)])
        await self._collect([peer for peer in self._claims if not peer.gone])

    async def _decide(self, opinions: list[tuple[Claim, list[Peer]]]) -> None:
        """Find at least one liar among peers of different opinions.

        Raises:
            Failure: every opinion stands up to proof.
        """
        pair = opinions[:2]
        span = self._first_difference(pair[0][0], pair[1][0])
        proofs = [await self._prove(peers[0], claim, span) for claim, peers in pair]
        if not all(proofs):
            return
        index = _first_unequal(*proofs)
        height = span.start + index
        for (_, peers), hashes in zip(pair, proofs, strict=True):
            await self._prove_filter(peers[0], height, hashes[32 * index : 32 * index + 32])
        if not any(peers[0].gone for _, peers in pair):
            raise Failure(FailureKind.DISPUTED, f"filter headers disputed at {height}: each peer proves its own")

    def _first_difference(self, one: Claim, other: Claim) -> Span:
        """The first range after an agreed height in which two claims differ."""
        marks = self._work.writer.marks
        for height in range(INTERVAL, marks.tip + 1, INTERVAL):
            if one.at(height) != other.at(height):
                return Span(height - INTERVAL + 1 if height > INTERVAL else marks.base, height)
        anchor = marks.tip // INTERVAL * INTERVAL
        return Span(anchor + 1 if anchor else marks.base, marks.tip)

    async def _prove(self, peer: Peer, claim: Claim, span: Span) -> bytes:
        """The hashes of `span` by which `peer` gets from the agreed height to its own claim; none if it cannot."""
        before = bytes(32) if span.start == self._work.writer.marks.base else claim.at(span.start - 1)
        end = claim.tip if span.end % INTERVAL else claim.at(span.end)
        try:
            with self._work.blame(peer):
                reply = await ask_range(self._work, self._desk, peer, span)
                if reply.prev_header != before or chain_headers(before, reply.hashes)[-32:] != end:
                    detail = f"its cfheaders {span.start}..{span.end} do not lead to the filter header it claims"
                    raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
                return reply.hashes
        except (PeerGone, PeerMisbehaved):
            return b""  # dropped or banned, with the reason, by `blame`

    async def _prove_filter(self, peer: Peer, height: int, claimed: bytes) -> None:
        """Have `peer` produce the filter that hashes to what it claims for `height`, and the block it is of."""
        try:
            with self._work.blame(peer):
                name = self._work.store.hash_at(height)
                request = GetCFilters(BASIC, height, name)
                reply = await self._desk.ask(peer, request, CFilter, lambda m: m.block_hash == name)
                if filter_hash(reply.filter) != claimed:
                    detail = f"its filter of height {height} does not hash to its own cfheaders"
                    raise PeerMisbehaved(Fault.BAD_FILTER_HEADER, detail)
                if height > self._work.writer.marks.base:  # the first block is known, and nobody sends it
                    await self._hold_against_block(peer, height, name, reply.filter)
        except (PeerGone, PeerMisbehaved):
            return  # dropped or banned, with the reason, by `blame`

    async def _hold_against_block(self, peer: Peer, height: int, name: bytes, raw: bytes) -> None:
        """Refuse a filter that cannot be read, or that hides one of the block's own outputs [BIP157, BIP158]."""
        request = GetData((InvItem(InvType.BLOCK, name),))
        reply = await self._desk.ask(peer, request, BlockMessage, lambda m: m.block.hash == name)
        check_block(reply.block, name)
        outputs = {out.script for tx in reply.block.transactions for out in tx.outputs}
        for script in sorted(script for script in outputs if script and script[0] != OP_RETURN):
            if not await self._work.seams.compute(match_filters, name, [raw], [script]):
                detail = f"its filter of height {height} lacks the output script {script.hex()} of the block"
                raise PeerMisbehaved(Fault.BAD_FILTER_HEADER, detail)


def _first_unequal(one: bytes, other: bytes) -> int:
    return next(i for i in range(len(one) // 32) if one[32 * i : 32 * i + 32] != other[32 * i : 32 * i + 32])


class _Download:
    """Fetches and stores what has been settled."""

    def __init__(self, work: Work, desk: Desk, claim: Claim) -> None:
        self._work = work
        self._desk = desk
        self._claim = claim

    async def run(self, peers: list[Peer]) -> None:
        """Store every filter header up to the tip."""
        marks = self._work.writer.marks
        size = max(self._work.limits.batch["cfheaders"], INTERVAL)
        jobs = _ranges(marks.filter_headers + 1, self._claim.tail_start - 1, size)
        await in_order(
            self._work, peers, jobs, self._fetch, self._store, per_peer=self._work.limits.in_flight["cfheaders"]
        )
        if self._claim.tail:
            headers = chain_headers(self._claim.tail[:32], self._claim.tail[32:])
            await self._work.writer.commit([AppendFilterHeaders(self._claim.tail_start, headers)])

    async def _fetch(self, peer: Peer, span: Span) -> bytes:
        """The filter headers of a span, proven to connect the claimed heights around and inside it."""
        before = self._before(span)
        reply = await ask_range(self._work, self._desk, peer, span)
        if reply.prev_header != before:
            detail = f"cfheaders from {span.start} begin with another filter header than was settled"
            raise PeerMisbehaved(Fault.BROKEN_FILTER_HEADER_CHAIN, detail)
        headers = await self._work.seams.compute(chain_headers, before, reply.hashes)
        for height in range(-(-span.start // INTERVAL) * INTERVAL, span.end + 1, INTERVAL):
            i = height - span.start
            if height and headers[32 * i : 32 * i + 32] != self._claim.at(height):
                detail = f"cfheaders {span.start}..{span.end} do not lead to the checkpoint at {height}"
                raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
        return headers

    def _before(self, span: Span) -> bytes:
        marks = self._work.writer.marks
        if span.start == marks.base:
            return bytes(32)
        settled = (span.start - 1) % INTERVAL == 0 and span.start > 1
        return self._claim.at(span.start - 1) if settled else self._work.store.filter_header_at(span.start - 1)

    async def _store(self, span: Span, headers: bytes) -> None:
        await self._work.writer.commit([AppendFilterHeaders(span.start, headers)])


def _ranges(start: int, end: int, size: int) -> list[Span]:
    """`start..end` cut into spans of at most `size` that end at settled heights."""
    ranges = []
    while start <= end:
        stop = min(end, (start + size - 1) // INTERVAL * INTERVAL)
        ranges.append(Span(start, stop))
        start = stop + 1
    return ranges
