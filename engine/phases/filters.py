"""The filters phase: every filter, verified against its stored filter header, kept, and matched.

All filters are stored, so that an item watched later needs no download: it is matched against the stored ones first
thing in this phase. Data, the matches found in it and the items' watermarks are one transaction.

Where peers are in dispute and no proof decides, the filters of the other opinions are stored beside these and matched
like them, so that whoever is right no payment is hidden.

A filter that does not fit its filter header proves its sender a liar when that sender's own filter header does not
fit it either, or when it has claimed the stored one before. If no other peer is there to say otherwise, the stored
filter header rests on that liar's word alone. A peer that is at one with itself but not with what is stored is left
aside while a peer is there that claimed what is stored; if there is none, the stored chain is the suspect. A suspect
chain is rolled back and settled anew among all peers, but only when the download has ended: while one runs, what is
stored stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby, pairwise
from sys import getsizeof

import attrs
import trio

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filters import filter_hash, filter_header, match_filters
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.messages import CFHeaders, CFilter, GetCFHeaders, GetCFilters
from phasegate.store import Change, MarkMatched, PutFilters, RollBackFilters, SearchBlocks

BASIC = 0
"""The only filter type [BIP158]."""


@attrs.frozen
class Span:
    """Heights from `start` to `end`, both included."""

    start: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.start + 1


def spans(start: int, end: int, size: int) -> list[Span]:
    """`start..end` cut into spans of at most `size`, each but the first beginning at a multiple of `size`."""
    cuts = [start, *range((start // size + 1) * size, end + 1, size), end + 1]
    return [Span(a, b - 1) for a, b in pairwise(cuts) if a < b]


async def download_filters(work: Work) -> None:
    """The activity of the state `filters`."""
    await _match_stored(work)
    marks = work.writer.marks
    if marks.filters >= marks.filter_headers:
        return
    per_peer, peers = work.limits.in_flight["filters"], partial(_servers, work)
    with work.desk("filters") as desk:
        fetch, apply = (download := _Download(work, desk)).fetch, download.apply
        jobs = spans(marks.filters + 1, marks.filter_headers, work.limits.batch["filters"])
        try:
            await in_order(work, peers, jobs, fetch, apply, per_peer=per_peer, size=taken_by)
        except Suspect as suspect:
            await _roll_back(work, suspect)


def _servers(work: Work) -> list[Peer]:
    """Who is asked for filters: those that stated the stored filter headers, all who serve them if there is none.

    Raises:
        Failure: nobody serves compact filters.
    """
    capable = work.filter_peers()
    return [peer for peer in capable if peer.address in work.live.settled] or capable


def taken_by(filters: Sequence[bytes]) -> int:
    """The bytes that `filters` take in memory."""
    return sum(map(getsizeof, filters)) + getsizeof(filters)


class Suspect(Exception):
    """The stored filter headers from `height` on cannot be relied upon; `lie` is what `peer` did, if it lied."""

    def __init__(self, height: int, peer: Peer, lie: PeerMisbehaved | None) -> None:
        super().__init__(f"filter headers disputed at {height}")
        self.height = height
        self.peer = peer
        self.lie = lie


async def _roll_back(work: Work, suspect: Suspect) -> None:
    """Nothing is under way any more: drop the suspect headers, and whoever lied, and settle anew.

    Raises:
        RolledBack: always.
    """
    await work.writer.commit([RollBackFilters(suspect.height - 1)])
    work.live.settled.clear()
    work.live.opinions.forget_stored()
    work.warn("filter-headers-dropped", f"filter headers from {suspect.height} on are dropped and asked for again")
    if suspect.lie is not None:
        work.pool.ban(suspect.peer, suspect.lie)
    work.rewind(str(suspect) if suspect.lie is None else f"{suspect.peer}: {suspect.lie}")


async def _match_stored(work: Work) -> None:
    """Bring the items that lag behind, because they were added later, up to the stored filters."""
    done = work.writer.marks.filters
    lagging = sorted(
        [item for item in work.store.watch_items() if item.matched_to < done], key=lambda item: item.matched_to
    )
    for matched_to, items in groupby(lagging, key=lambda item: item.matched_to):
        scripts = tuple(item.script for item in items)
        for span in spans(matched_to + 1, done, work.limits.batch["filters"]):
            filters = work.store.filters(span.start, span.count)
            match = await _match(work, span, filters, scripts)
            await work.writer.commit_fresh(partial(_still_fitting, work, match))


async def _match(work: Work, span: Span, filters: Sequence[bytes], scripts: tuple[bytes, ...]) -> MarkMatched:
    """What `scripts` match in the filters of `span`."""
    return MarkMatched(scripts, span.start, span.end, await _matching(work, span, filters, scripts))


async def _matching(work: Work, span: Span, filters: Sequence[bytes], scripts: tuple[bytes, ...]) -> tuple[int, ...]:
    """The heights that `scripts` match in the filters of `span`, or in what others say these are."""
    hashes = work.store.hashes(span.start, span.count)
    found = await work.seams.compute(match_filters, hashes, filters, scripts)
    variants = work.store.filter_variants(span.start, span.count) if work.writer.marks.disputed is not None else []
    places = [height - span.start for height, _ in variants]
    names = b"".join([hashes[32 * i : 32 * i + 32] for i in places])
    others = await work.seams.compute(match_filters, names, [raw for _, raw in variants], scripts)
    matched = {*found, *[places[i] for i in others]}
    return tuple(span.start + i for i in sorted(matched))


async def _broadcast_ones(work: Work, span: Span, filters: Sequence[bytes]) -> list[Change]:
    """The blocks of `span` that may have a transaction of our own, to be searched as the matched ones are."""
    scripts = () if work.broadcasts is None else work.broadcasts.scripts
    found = await _matching(work, span, filters, scripts) if scripts else ()
    return [SearchBlocks(found)] if found else []


def _still_fitting(work: Work, match: MarkMatched) -> list[Change]:
    """`match` for those of its scripts that are still watched: the user may have removed some while it was made."""
    waiting = {item.script for item in work.store.watch_items() if item.matched_to == match.start - 1}
    scripts = tuple(script for script in match.scripts if script in waiting)
    return [attrs.evolve(match, scripts=scripts)] if scripts else []


class _Download:
    def __init__(self, work: Work, desk: Desk) -> None:
        self._work = work
        self._desk = desk

    async def fetch(self, peer: Peer, span: Span) -> list[bytes]:
        """The verified filters of a span."""
        store = self._work.store
        hashes = store.hashes(span.start, span.count)
        headers = store.filter_header_at(span.start - 1) + store.filter_headers(span.start, span.count)
        places = {hashes[32 * i : 32 * i + 32]: i for i in range(span.count)}
        missing, wrong = set(places), dict[int, bytes]()
        with trio.CancelScope() as asking:

            def fits(reply: CFilter) -> bool:
                """Judged as it comes: what a liar makes us hold is one filter, not a thousand."""
                if reply.filter_type != BASIC or reply.block_hash not in missing:
                    return False
                missing.discard(reply.block_hash)
                place = places[reply.block_hash]
                if not wrong and not _leads_on(reply.filter, headers, place):
                    wrong[place] = reply.filter
                    asking.cancel()
                return True

            request = GetCFilters(BASIC, span.start, hashes[-32:])
            replies = await self._desk.ask_many(peer, request, CFilter, fits, span.count)
        for place, raw in wrong.items():
            await self._settle(peer, span.start + place, raw)
        filters = [raw for _, raw in sorted([(places[reply.block_hash], reply.filter) for reply in replies])]
        malformed = await self._work.seams.compute(_first_malformed, hashes, filters)
        if malformed is not None:  # it fits its filter header and yet is none: the stored header is a lie, too
            height = span.start + malformed
            raise Suspect(height, peer, PeerMisbehaved(Fault.BAD_FILTER, f"the filter of height {height} is malformed"))
        return filters

    async def apply(self, span: Span, filters: list[bytes]) -> None:
        """Store a span's filters, and what the watch items match in them."""
        before = span.start - 1
        scripts = tuple(item.script for item in self._work.store.watch_items() if item.matched_to == before)
        numbered = tuple((span.start + i, raw) for i, raw in enumerate(filters))
        changes = [PutFilters(numbered), *await _broadcast_ones(self._work, span, filters)]
        if not scripts:
            await self._work.writer.commit(changes)
            return
        match = await _match(self._work, span, filters, scripts)
        await self._work.writer.commit_fresh(lambda: [*changes, *_still_fitting(self._work, match)])

    async def _settle(self, peer: Peer, height: int, raw: bytes) -> None:
        """`peer` sent a filter that does not fit the stored filter header of `height`: find out who is wrong."""
        stop = self._work.store.hash_at(height)
        request = GetCFHeaders(BASIC, height, stop)
        claim = await self._desk.ask(peer, request, CFHeaders, lambda m: m.stop_hash == stop)
        settled = self._work.live.settled
        others = [other for other in self._work.filter_peers() if other is not peer]
        if claim.hashes == filter_hash(raw) and peer.address not in settled:
            if any(other.address in settled for other in others):
                raise PeerGone(
                    str(peer), FailureKind.PEER_LOST, f"has other filter headers than were settled at {height}"
                )
            raise Suspect(height, peer, None)
        lie = PeerMisbehaved(Fault.BAD_FILTER, f"the filter of height {height} does not hash to its own filter header")
        raise lie if others else Suspect(height, peer, lie)


def _leads_on(raw: bytes, headers: bytes, place: int) -> bool:
    """Whether a filter leads from the filter header at `place` of `headers` to the next one."""
    before, after = headers[32 * place : 32 * place + 32], headers[32 * place + 32 : 32 * place + 64]
    return filter_header(filter_hash(raw), before) == after


def _first_malformed(hashes: bytes, filters: list[bytes]) -> int | None:
    """The index of the first filter that cannot be read; None if all can."""
    if _readable(hashes, filters):
        return None
    return next(i for i, raw in enumerate(filters) if not _readable(hashes[32 * i : 32 * i + 32], [raw]))


def _readable(hashes: bytes, filters: list[bytes]) -> bool:
    try:
        match_filters(hashes, filters, ())
    except PeerMisbehaved:
        return False
    return True
