"""The filter-headers phase: settle with all peers which chain is right, then download it.

`filter_settlement` finds the opinion to go on with. Ranges that begin and end at heights it claims are downloaded from
all who hold it at once, each is verified by itself before it is stored, in order. With the last of them goes, in the
same transaction, what else is known by then: how far two peers or more stated what is stored, the filters in dispute
with it, or that a dispute is over. With one peer only its word is taken, and another's asked for as soon as there is
one, also while synced.
"""

from __future__ import annotations

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filters import chain_headers
from phasegate.engine.errors import Failure
from phasegate.engine.peers import Peer
from phasegate.engine.phases.filter_claims import INTERVAL, Claim, ask_range, is_open, is_over
from phasegate.engine.phases.filter_evidence import Evidence
from phasegate.engine.phases.filter_settlement import Settled, Settlement
from phasegate.engine.phases.filter_spans import Span
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.store import AppendFilterHeaders, Change, Corroborate, ForgetDisputes, PutFilterVariants


async def download_filter_headers(work: Work) -> None:
    """The activity of the state `cfheaders`."""
    if not is_open(work):
        return
    with work.desk("cfheaders") as desk:
        evidence = Evidence(work, desk)
        while is_open(work):
            await _go_on(work, desk, evidence)


async def _go_on(work: Work, desk: Desk, evidence: Evidence) -> None:
    """Settle once, and store what came of it; whoever was asked is heard when no more has to be asked of it."""
    settlement = Settlement(work, desk, evidence)
    try:
        settled = await settlement.settle()
    except Failure:
        _note_heard(work, settlement)
        raise
    if settled is not None:
        await _Conclusion(work, desk, settled).store()
        evidence.release()
    if settled is None or settled.reach == work.writer.marks.tip:
        _note_heard(work, settlement)


def _note_heard(work: Work, settlement: Settlement) -> None:
    """Silent ones, too: they are asked again at the next tip."""
    tip = work.writer.marks.tip_hash
    work.live.opinions.heard.update({peer.address: tip for peer in settlement.asked})


class _Conclusion:
    """Fetches and stores what has been settled."""

    def __init__(self, work: Work, desk: Desk, settled: Settled) -> None:
        self._work = work
        self._desk = desk
        self._settled = settled
        self._claim: Claim = settled.main.claim

    async def store(self) -> None:
        """Store every filter header up to the height that was settled, and what goes with them."""
        self._note_opinions()
        if self._work.writer.marks.filter_headers < self._settled.reach:
            await self._append()
        elif closing := self._closing(self._work.store.filter_header_at(self._settled.reach)):
            await self._work.writer.commit(closing)
        examined = [ends for dispute in self._settled.disputes for ends in dispute.examined.values()]
        self._work.live.opinions.examined.update(examined)

    async def _append(self) -> None:
        limits, reach, claim = self._work.limits, self._settled.reach, self._claim
        end = min(claim.tail_start - 1, -(-reach // INTERVAL) * INTERVAL)
        jobs = _ranges(self._work.writer.marks.filter_headers + 1, end, max(limits.batch["cfheaders"], INTERVAL))
        peers, per_peer = self._settled.main.peers, limits.in_flight["cfheaders"]
        await in_order(self._work, peers, jobs, self._fetch, self._store, per_peer=per_peer, size=_taken_by)
        if self._work.writer.marks.filter_headers < reach:
            headers = chain_headers(claim.tail[:32], claim.tail[32:])
            await self._store(Span(claim.tail_start, self._work.writer.marks.tip), (claim.tail[:32], headers))

    def _note_opinions(self) -> None:
        live, settled = self._work.live, self._settled
        live.settled = {peer.address for peer in settled.main.peers}
        live.opinions.dissenting -= live.settled
        live.opinions.dissenting |= {
            peer.address
            for rival, dispute in zip(settled.rivals, settled.disputes, strict=True)
            for peer in rival.peers
            if dispute.differing
        }

    async def _fetch(self, peer: Peer, span: Span) -> tuple[bytes, bytes]:
        """The filter headers of a span, and the one before, proven to connect the claimed heights around and inside."""
        before = self._before(span)
        reply = await ask_range(self._work, self._desk, peer, span)
        if before not in (None, reply.prev_header):
            detail = f"cfheaders from {span.start} begin with another filter header than was settled"
            raise PeerMisbehaved(Fault.BROKEN_FILTER_HEADER_CHAIN, detail)
        headers = await self._work.seams.compute(chain_headers, reply.prev_header, reply.hashes)
        for height in range(-(-span.start // INTERVAL) * INTERVAL, span.end + 1, INTERVAL):
            i = height - span.start
            if height and headers[32 * i : 32 * i + 32] != self._claim.at(height):
                detail = f"cfheaders {span.start}..{span.end} do not lead to the checkpoint at {height}"
                raise PeerMisbehaved(Fault.BAD_FILTER_CHECKPOINT, detail)
        return reply.prev_header, headers

    def _before(self, span: Span) -> bytes | None:
        """The filter header below `span`; None below a base above genesis, where only what follows it is settled."""
        if span.start == self._work.writer.marks.base:
            return None if span.start else bytes(32)
        settled = (span.start - 1) % INTERVAL == 0 and span.start > 1
        return self._claim.at(span.start - 1) if settled else self._work.store.filter_header_at(span.start - 1)

    async def _store(self, span: Span, fetched: tuple[bytes, bytes]) -> None:
        """Append what of `fetched` is neither stored nor beyond what was settled."""
        before, headers = fetched
        marks, reach = self._work.writer.marks, self._settled.reach
        first, last = max(span.start, marks.filter_headers + 1), min(span.end, reach)
        kept = headers[32 * (first - span.start) : 32 * (last - span.start + 1)]
        previous = before if first == marks.base > 0 else None
        closing = self._closing(kept[-32:]) if last == reach else []
        await self._work.writer.commit([AppendFilterHeaders(first, kept, previous), *closing])

    def _closing(self, header: bytes) -> list[Change]:
        """What is known with the filter header of the height that was settled; `header` is that one."""
        marks, settled, changes = self._work.writer.marks, self._settled, list[Change]()
        variants = [item for dispute in settled.disputes for item in dispute.variants if item[0] >= marks.birthday]
        if variants:
            changes.append(PutFilterVariants(tuple(variants)))
        elif marks.disputed is not None and is_over(self._work):
            changes.append(ForgetDisputes(marks.base))
            self._work.live.opinions.dissenting.clear()
            self._work.live.opinions.examined.clear()  # their variants go
        agreed = [dispute.agreed for dispute in settled.disputes if dispute.agreed is not None]
        if len(settled.main.peers) > 1:
            agreed = [(settled.reach, header)]
        if agreed and min(agreed)[0] > marks.corroborated:
            changes.append(Corroborate(*min(agreed)))
        return changes


def _taken_by(fetched: tuple[bytes, bytes]) -> int:
    return sum(map(len, fetched))


def _ranges(start: int, end: int, size: int) -> list[Span]:
    """`start..end` cut into spans of about `size` that end at settled heights, which genesis is not.

    As soon as possible at multiples of `size`: the store's segments end there, so that it need not keep half a span as
    rows until the next one comes.
    """
    ranges, step = [], size // INTERVAL * INTERVAL
    while start <= end:
        reach = start + step - 1
        stop = reach // step * step
        if stop <= start:
            stop = max(reach // INTERVAL, 1) * INTERVAL
        ranges.append(Span(start, min(stop, end)))
        start = stop + 1
    return ranges
