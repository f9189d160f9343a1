"""Stored filters matched again, for items that were watched after these were stored.

It goes by windows. Each is read, segment by segment, and matched in a worker thread, several at once, one for each
processor; what they found is written in the order of the heights. Memory holds one segment a thread, and the hashes of
the blocks of its window. A window is the smaller the more is watched, so that whoever wants this to end waits for no
more than a moment, and the last ones are small, so that all processors have something to do until the end.

Items that were watched at different times join on the way: those furthest behind are matched up to where the next ones
are, and from there on together. So a filter is read once, and each item is matched in it once.

A transaction has a row for each item, which costs as much as matching the item in a thousand filters. So it waits for
many heights; whoever ends this before has written what was matched until then.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise

import attrs
import trio

from phasegate.consensus.filters import Elements, match_filters
from phasegate.consensus.packed import Packed
from phasegate.engine.phases.filter_spans import Span
from phasegate.engine.work import Work, unwrapped
from phasegate.store import Change, MarkMatched, Store

PIECE = 1000
"""Windows are cut at its multiples, as the store cuts filters."""
MOST = 16 * PIECE
"""Filters of the largest window."""
WRITTEN = 100 * PIECE
"""Filters of one transaction."""
EFFORT = 32_000_000
"""Hashes for one window: a third of a second."""
PROCESSORS = os.cpu_count() or 1
"""Windows that are matched at once; one more waits, so that none of them has to."""


async def match_stored(work: Work) -> bool:
    """Bring the items that lag behind, because they were added later, up to the stored filters; whether any did."""
    done = work.writer.marks.filters
    lagging = [item for item in work.store.watch_items() if item.matched_to < done]
    for reached, until in pairwise([*sorted({item.matched_to for item in lagging}), done]):
        scripts = tuple([item.script for item in lagging if item.matched_to <= reached])
        await _Rescan(work, scripts).run(windows(Span(reached + 1, until), len(scripts)))
    return bool(lagging)


def windows(whole: Span, scripts: int) -> Iterator[Span]:
    """`whole` cut into what is matched at once when that many `scripts` are watched."""
    start, most = whole.start, min(MOST, EFFORT // max(scripts, 1))
    while start <= whole.end:
        left = whole.end + 1 - start
        size = min(most, left // (2 * PROCESSORS))
        after = max((start + size) // PIECE, start // PIECE + 1) * PIECE
        yield Span(start, min(after - 1, whole.end))
        start = after


@attrs.define(eq=False)
class _Window:
    """A window under way, and what was found in it; None when its filters went meanwhile."""

    span: Span
    found: tuple[int, ...] | None = ()
    done: trio.Event = attrs.field(factory=trio.Event)


class _Rescan:
    """Matches `scripts`, all matched up to the same height, in stored filters."""

    def __init__(self, work: Work, scripts: tuple[bytes, ...]) -> None:
        self._work = work
        self._scripts = scripts
        self._elements = Elements.of(scripts)
        self._under_way = deque[_Window]()
        self._unwritten: list[_Window] = []

    async def run(self, windows: Iterable[Span]) -> None:
        """Match in all `windows`, as many at once as there are processors, and write what is found in their order."""
        with unwrapped():
            async with trio.open_nursery() as nursery:
                try:
                    await self._match_all(windows, nursery)
                finally:
                    with trio.CancelScope(shield=True):
                        await self._write_what_is_done()

    async def _match_all(self, windows: Iterable[Span], nursery: trio.Nursery) -> None:
        for span in windows:
            self._under_way.append(_Window(span))
            nursery.start_soon(self._match, self._under_way[-1])
            if len(self._under_way) > PROCESSORS:
                await self._take()
        while self._under_way:
            await self._take()

    async def _match(self, window: _Window) -> None:
        disputed = self._work.writer.marks.disputed is not None
        args = self._work.store, window.span, self._elements, disputed
        window.found = await self._work.seams.compute(_find_stored, *args)
        window.done.set()

    async def _write_what_is_done(self) -> None:
        """At the end, also one before its time: what was matched is not matched again."""
        while self._under_way and self._under_way[0].done.is_set():
            await self._take()
        await self._write()

    async def _take(self) -> None:
        """Once the first window is matched, have it written, with those before it or later."""
        await self._under_way[0].done.wait()
        window = self._under_way.popleft()
        if window.found is None:  # neither do those behind it fit any more
            await self._write()
            return
        self._unwritten.append(window)
        if window.span.end - self._unwritten[0].span.start + 1 >= WRITTEN:
            await self._write()

    async def _write(self) -> None:
        windows, self._unwritten = self._unwritten, []
        if windows:
            found = tuple([height for window in windows for height in window.found or ()])
            match = MarkMatched(self._scripts, windows[0].span.start, windows[-1].span.end, found)
            await self._work.writer.commit_fresh(partial(self._fresh, match))

    def _fresh(self, match: MarkMatched) -> list[Change]:
        return still_fitting(self._work, match) if match.end <= self._work.writer.marks.filters else []


def _find_stored(store: Store, span: Span, elements: Elements, disputed: bool) -> tuple[int, ...] | None:
    """The heights of `span` where `elements` match; one piece of the stored filters is in memory at a time.

    None when they are not stored any more: while one item was matched, a newer one had all downloaded again.
    """
    try:
        with closing(store.packed_filters(span.start, span.count)) as pieces:
            return _find(store, span, pieces, elements, disputed)
    except LookupError:
        return None


def find_fresh(store: Store, span: Span, filters: Packed, elements: Elements, disputed: bool) -> tuple[int, ...]:
    """As `_find`, in `filters` that are not stored yet."""
    return _find(store, span, [(store.hashes(span.start, span.count), filters)], elements, disputed)


def _find(
    store: Store, span: Span, pieces: Iterable[tuple[bytes, Packed]], elements: Elements, disputed: bool
) -> tuple[int, ...]:
    """The heights of `span` where `elements` match the filters, or what others say these are if that is in dispute.

    Args:
        store: where that stands.
        span: the heights.
        pieces: the block hashes and the filters of all of them, in order.
        elements: what is watched.
        disputed: whether others say anything.
    """
    start, found = span.start, set[int]()
    for hashes, filters in pieces:
        found.update([start + place for place in match_filters(hashes, filters, elements)])
        start += len(filters)
    if disputed:
        found.update(_in_variants(store, span, elements))
    return tuple(sorted(found))


def _in_variants(store: Store, span: Span, elements: Elements) -> list[int]:
    variants, hashes = store.filter_variants(span.start, span.count), store.hashes(span.start, span.count)
    places = [height - span.start for height, _ in variants]
    names = b"".join([hashes[32 * place : 32 * place + 32] for place in places])
    matching = match_filters(names, [raw for _, raw in variants], elements)
    return [span.start + places[i] for i in matching]


def still_fitting(work: Work, match: MarkMatched) -> list[Change]:
    """`match` for those of its scripts that are still watched: the user may have removed some while it was made."""
    waiting = {item.script for item in work.store.watch_items() if item.matched_to == match.start - 1}
    scripts = tuple([script for script in match.scripts if script in waiting])
    return [attrs.evolve(match, scripts=scripts)] if scripts else []
