"""What peers say the filter headers are: taking their claims, and finding where two claims differ.

A filter header commits to all filters up to its height, so two chains that are equal at one height are equal at all
heights below, and once they differ they differ for ever. A claim is the filter header at every 1000th height
(`cfcheckpt`) and the filter hashes from the last of these to the tip; where all peers simply continue what is stored,
the hashes above it are enough.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filters import chain_headers
from phasegate.engine.peers import Peer
from phasegate.engine.phases.filter_spans import BASIC, Span
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.messages import CFCheckpt, CFHeaders, GetCFCheckpt, GetCFHeaders
from phasegate.store import Watermarks

INTERVAL = 1000
"""Heights between two checkpoints [BIP157]."""


@attrs.frozen
class Claim:
    """What a peer says the filter headers are.

    Args:
        checkpoints: headers at 1000, 2000, ..., 32 bytes each; none when only the tail was asked for.
        tail_start: the first height of the tail.
        tail: the filter header before `tail_start`, then the filter hashes from there to the tip; may be empty.
        tip: the filter header of the tip.
    """

    checkpoints: bytes
    tail_start: int
    tail: bytes
    tip: bytes

    def at(self, height: int) -> bytes:
        """The claimed filter header at a multiple of `INTERVAL`, or at the tip."""
        i = height // INTERVAL - 1
        return self.checkpoints[32 * i : 32 * i + 32] if height and height % INTERVAL == 0 else self.tip

    def opinion(self, base: int) -> bytes:
        """Equal for equal claims about the filter headers from `base` on."""
        return self.checkpoints[32 * (_first_checkpoint(base) // INTERVAL - 1) :] + self.tip

    def told(self, height: int) -> bytes:
        """The filter header at `height`, if the tail tells; else nothing."""
        place = height - self.tail_start + 1
        if not self.tail or place < 0:
            return b""
        return chain_headers(self.tail[:32], self.tail[32 : 32 + 32 * place])[-32:] if place else self.tail[:32]


def _first_checkpoint(base: int) -> int:
    return max(1, -(-base // INTERVAL)) * INTERVAL


def checkpoint_heights(base: int, end: int) -> range:
    """The heights of the checkpoints from `base` to `end`."""
    return range(_first_checkpoint(base), end + 1, INTERVAL)


def differing_spans(marks: Watermarks, one: Claim, other: Claim) -> Iterator[Span]:
    """The ranges, from the first one on, at whose ends two claims differ."""
    start = marks.base
    for height in checkpoint_heights(marks.base, marks.tip):
        if one.at(height) != other.at(height):
            yield Span(start, height)
        start = height + 1
    if start <= marks.tip and one.tip != other.tip:
        yield Span(start, marks.tip)


def doubtful_span(work: Work, claim: Claim) -> Span | None:
    """The whole range between checkpoints in which the stored chain leaves `claim`, or may; None when it does not."""
    store, marks = work.store, work.writer.marks
    heights = checkpoint_heights(marks.base, marks.filter_headers)
    i = bisect_left(heights, True, key=lambda height: store.filter_header_at(height) != claim.at(height))
    start = heights[i - 1] + 1 if i else marks.base
    if i == len(heights) and (marks.filter_headers < start or claim.told(marks.filter_headers) == marks.filter_header):
        return None
    return Span(start, min(marks.tip, _first_checkpoint(start)))


async def ask_range(work: Work, desk: Desk, peer: Peer, span: Span) -> CFHeaders:
    """A peer's filter hashes for `span`; one that ends elsewhere or has another number is not the answer to this."""
    stop = work.store.hash_at(span.end)

    def fits(reply: CFHeaders) -> bool:
        return reply.stop_hash == stop and len(reply.hashes) == 32 * span.count

    return await desk.ask(peer, GetCFHeaders(BASIC, span.start, stop), CFHeaders, fits)


async def take_continuation(work: Work, desk: Desk, peer: Peer) -> Claim:
    """What `peer` says follows the stored filter headers; the stored tip's own when there is nothing above."""
    marks = work.writer.marks
    start = min(marks.filter_headers + 1, marks.tip)
    tail = await ask_range(work, desk, peer, Span(start, marks.tip))
    return Claim(b"", start, tail.prev_header + tail.hashes, chain_headers(tail.prev_header, tail.hashes)[-32:])


async def take_claim(work: Work, desk: Desk, peer: Peer) -> Claim:
    """The whole claim of `peer`.

    Raises:
        PeerMisbehaved: it is at odds with itself.
    """
    marks = work.writer.marks
    request = GetCFCheckpt(BASIC, marks.tip_hash)
    reply = await desk.ask(peer, request, CFCheckpt, lambda m: m.stop_hash == marks.tip_hash)
    if len(reply.headers) != 32 * (marks.tip // INTERVAL):
        detail = f"cfcheckpt has {len(reply.headers) // 32} headers for a tip at {marks.tip}"
        raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
    anchor = marks.tip // INTERVAL * INTERVAL
    start = max(min(marks.filter_headers + 1, marks.tip), anchor + 1 if anchor else 0, marks.base)
    if start > marks.tip:
        return Claim(reply.headers, start, b"", reply.headers[-32:])
    tail = await ask_range(work, desk, peer, Span(start, marks.tip))
    if start == anchor + 1 and anchor and tail.prev_header != reply.headers[-32:]:
        detail = f"cfheaders after {anchor} do not begin at its own checkpoint"
        raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
    if start == 0 and tail.prev_header != bytes(32):
        raise PeerMisbehaved(Fault.BROKEN_FILTER_HEADER_CHAIN, "the first filter header has a predecessor")
    headers = chain_headers(tail.prev_header, tail.hashes)
    return Claim(reply.headers, start, tail.prev_header + tail.hashes, headers[-32:])


def is_over(work: Work) -> bool:
    """Whether nobody who is there dissents any more: two peers agree, or every dissenter has been proved a liar."""
    opinions = work.live.opinions
    here = {peer.address for peer in candidates(work)}
    if here & opinions.dissenting:
        return False
    liars = bool(opinions.dissenting) and all(work.pool.memory.banned(address) for address in opinions.dissenting)
    return liars or len(here & work.live.settled) > 1


def is_open(work: Work) -> bool:
    """Whether the filter headers up to the stored tip have to be settled, or settled again."""
    marks, heard = work.writer.marks, work.live.opinions.heard
    if marks.filter_headers < marks.tip:
        return True
    if marks.disputed is not None and is_over(work):
        return True
    unsure = marks.corroborated < marks.tip or marks.disputed is not None
    return unsure and any(heard.get(peer.address) != marks.tip_hash for peer in candidates(work))


def candidates(work: Work) -> list[Peer]:
    """The ready peers that can be asked for filter headers; may be none."""
    return [peer for peer in work.pool.ready if peer not in work.live.elsewhere and work.serves_filters(peer)]
