"""Searches the blocks that were stored before a transaction of our own was given: it may be mined already.

Blocks that come later are noticed as they pass through the phases. This looks once at the filters of the newest stored
blocks, when nothing else goes on, and has those that match fetched by another walk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from phasegate.consensus.filters import match_filters
from phasegate.engine.broadcasts import LOOK_EVERY, Broadcasts
from phasegate.engine.work import Work
from phasegate.store import Change, SearchBlocks, StoreFailed

BACK = 1000
"""Blocks that are searched, about two days of them."""


async def search_back(work: Work, broadcasts: Broadcasts, synced: Callable[[], bool], walk: Callable[[], None]) -> None:
    """Search until cancelled, whenever the client is `synced` and there is something to search for.

    Args:
        walk: has the blocks fetched that are to be searched.
    """
    while True:
        await broadcasts.wished()
        await trio.sleep(LOOK_EVERY)
        with suppress(StoreFailed):  # a disk that refuses is tried again
            if synced() and broadcasts.unsearched and await _search(work, broadcasts):
                walk()


async def _search(work: Work, broadcasts: Broadcasts) -> bool:
    """Whether there are blocks to be fetched now."""
    entries, marks = broadcasts.unsearched, work.writer.marks
    scripts = tuple(dict.fromkeys([trace for entry in entries for trace in entry.traces()]))
    start = max(marks.filters_base, marks.filters - BACK + 1)
    count = marks.filters - start + 1
    found: list[int] = []
    if count > 0 and scripts:
        filters, hashes = work.store.filters(start, count), work.store.hashes(start, count)
        found = [start + i for i in await work.seams.compute(match_filters, hashes, filters, scripts)]

    def changes() -> list[Change]:
        still = [height for height in found if height <= work.writer.marks.tip]
        return [SearchBlocks(tuple(still))] if still else []

    if found:
        await work.writer.commit_fresh(changes)
    for entry in entries:
        entry.searched = True
    return bool(found)
