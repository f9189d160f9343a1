"""The filters phase: every filter, verified against its stored filter header, kept, and matched.

All filters are stored, so that an item watched later needs no download: it is matched against the stored ones first
thing in this phase. Data, the matches found in it and the items' watermarks are one transaction. With `prune_filters`
those that everything watched was matched against go, all but the newest; an item watched later has them all downloaded
again.

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
from contextlib import suppress
from functools import partial

import trio

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filters import Elements, filter_hash, match_filters
from phasegate.consensus.packed import Packed
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.filter_arrivals import Arrivals, load_arrivals
from phasegate.engine.phases.filter_rescan import find_fresh, match_stored, still_fitting
from phasegate.engine.phases.filter_spans import BASIC, Span, spans
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.messages import CFHeaders, GetCFHeaders, GetCFilters
from phasegate.store import Change, MarkMatched, PackedFilters, PruneFilters, PutFilters, RollBackFilters, SearchBlocks

MANY = 10_000
"""Filters to come that are worth loading, and in a new installation compiling, what takes many at once."""
KEPT = 2000
"""Of the newest blocks the filters are kept in any case: reorganisations and our own transactions want them."""


async def download_filters(work: Work) -> None:
    """The activity of the state `filters`."""
    if await match_stored(work) and (prune := _prune(work, work.writer.marks.filters)):
        await work.writer.commit(prune)
    marks = work.writer.marks
    if marks.filters >= marks.filter_headers:
        return
    per_peer, peers = work.limits.in_flight["filters"], partial(_servers, work)
    if many := marks.filter_headers - marks.filters >= MANY:
        await work.seams.compute(load_arrivals)
    with work.desk("filters") as desk:
        fetch, apply = (download := _Download(work, desk, many=many)).fetch, download.apply
        jobs = spans(marks.filters + 1, marks.filter_headers, work.limits.batch["filters"])
        try:
            with suppress(WantedAgain):
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


def taken_by(filters: Packed) -> int:
    """The bytes that `filters` take in memory."""
    return filters.held


class WantedAgain(Exception):
    """Filters are wanted again from further down than this download goes on from: it is over, another one begins."""


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


async def _match(work: Work, span: Span, filters: Packed, scripts: tuple[bytes, ...]) -> MarkMatched:
    """What `scripts` match in the filters of `span`."""
    return MarkMatched(scripts, span.start, span.end, await _matching(work, span, filters, scripts))


async def _matching(work: Work, span: Span, filters: Packed, scripts: tuple[bytes, ...]) -> tuple[int, ...]:
    """The heights that `scripts` match in the filters of `span`, or in what others say these are."""
    disputed = work.writer.marks.disputed is not None
    return await work.seams.compute(find_fresh, work.store, span, filters, Elements.of(scripts), disputed)


async def _broadcast_ones(work: Work, span: Span, filters: Packed) -> list[Change]:
    """The blocks of `span` that may have a transaction of our own, to be searched as the matched ones are."""
    scripts = () if work.broadcasts is None else work.broadcasts.scripts
    found = await _matching(work, span, filters, scripts) if scripts else ()
    return [SearchBlocks(found)] if found else []


def _prune(work: Work, end: int) -> list[Change]:
    """What is not to be kept when filters are stored up to `end`."""
    return [PruneFilters(end - KEPT)] if work.config.prune_filters and end >= KEPT else []


class _Download:
    def __init__(self, work: Work, desk: Desk, *, many: bool) -> None:
        self._work = work
        self._desk = desk
        self._many = many

    async def fetch(self, peer: Peer, span: Span) -> Packed:
        """The verified filters of a span."""
        with trio.CancelScope() as asking:
            coming = Arrivals(self._work.store, span, asking.cancel)
            request = GetCFilters(BASIC, span.start, coming.hashes[-32:])
            runs = coming.takes_run if self._many else None
            replies = await self._desk.ask_filters(peer, request, coming.takes, runs, span.count)
        if coming.wrong is not None:
            place, raw = coming.wrong
            await self._settle(peer, span.start + place, raw)
        filters = coming.in_order(replies)
        malformed = await self._work.seams.compute(_first_malformed, coming.hashes, filters)
        if malformed is not None:  # it fits its filter header and yet is none: the stored header is a lie, too
            height = span.start + malformed
            raise Suspect(height, peer, PeerMisbehaved(Fault.BAD_FILTER, f"the filter of height {height} is malformed"))
        return filters

    async def apply(self, span: Span, filters: Packed) -> None:
        """Store a span's filters, and what the watch items match in them.

        Raises:
            WantedAgain: those before it are not stored any more, and neither are these.
        """
        before = span.start - 1
        scripts = tuple(item.script for item in self._work.store.watch_items() if item.matched_to == before)
        changes = [PutFilters(PackedFilters(span.start, filters)), *await _broadcast_ones(self._work, span, filters)]
        match = await _match(self._work, span, filters, scripts) if scripts else None

        def fresh() -> list[Change]:
            if self._work.writer.marks.filters < before:
                return []  # all are wanted again, from further down: this download is over
            matched = [] if match is None else still_fitting(self._work, match)
            return [*changes, *matched, *_prune(self._work, span.end)]

        await self._work.writer.commit_fresh(fresh)
        if self._work.writer.marks.filters < before:
            raise WantedAgain

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


def _first_malformed(hashes: bytes, filters: Packed) -> int | None:
    """The index of the first filter that cannot be read; None if all can."""
    if _readable(hashes, filters):
        return None
    return next(i for i, raw in enumerate(filters) if not _readable(hashes[32 * i : 32 * i + 32], [raw]))


def _readable(hashes: bytes, filters: Sequence[bytes]) -> bool:
    try:
        match_filters(hashes, filters, ())
    except PeerMisbehaved:
        return False
    return True
