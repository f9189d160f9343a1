"""Phases that run beside each other on one store: nobody builds on what somebody else is taking back.

What a phase appends harms no other: filter headers above those that are there, filters above these, matches above
those. But filter headers can be dropped, with the filters that hang on them, and filters can come up late that have to
be matched beside the stored ones. Whoever read before what was there would then commit what does not fit any more, or
blame an honest peer for it. So a change that reaches back is made by one phase alone: the others are stopped first, and
finished, with what they had handed over to the store; then it is committed; then each of them ends with `RolledBack`,
which has the chart begin again from what is stored.

Where one phase runs at a time there is nobody to be stopped, and nothing of this is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import attrs
import trio

from phasegate.engine.errors import RolledBack
from phasegate.store import Change, ForgetDisputes, PutFilterVariants, RollBack, RollBackFilters, Watermarks

REGIONS = ("mnlist", "cfheaders", "filters", "blocks")
"""The phases that run beside each other in `InterleavedChart`."""
REACHING_BACK = (RollBack, RollBackFilters, PutFilterVariants, ForgetDisputes)
"""Changes that concern what was stored before."""


@attrs.define(eq=False)
class _Region:
    phase: str
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    made_way: trio.Event | None = None


_own: ContextVar[_Region | None] = ContextVar("phasegate_region", default=None)


class Regions:
    """The phases of one client that are running beside each other."""

    def __init__(self) -> None:
        self._running: set[_Region] = set()
        self._taken_back: trio.Event | None = None

    async def run(self, phase: str, activity: Callable[[], Awaitable[None]]) -> None:
        """Run the activity of `phase`.

        Raises:
            RolledBack: another phase made a change that reaches back, which stands by now.
        """
        while self._taken_back is not None:
            await self._taken_back.wait()
        region = _Region(phase)
        self._running.add(region)
        token = _own.set(region)
        try:
            with region.scope:
                await activity()
        finally:
            _own.reset(token)
            self._running.discard(region)
            region.ended.set()
        if region.made_way is not None:
            await region.made_way.wait()
            raise RolledBack(f"{phase} has to begin again: what is stored was changed beside it")

    @asynccontextmanager
    async def alone(self, changes: Iterable[Change]) -> AsyncIterator[None]:
        """While `changes` are committed nobody but the phase that calls runs, if any of them reaches back."""
        if not any(isinstance(change, REACHING_BACK) for change in changes):
            yield
            return
        own, done = _own.get(), trio.Event()
        others = [region for region in self._running if region is not own]
        self._taken_back = done
        try:
            for region in others:
                region.made_way = done
                region.scope.cancel()
            for region in others:
                await region.ended.wait()
            yield
        finally:
            self._taken_back = None
            done.set()


def marks_of(phase: str, marks: Watermarks) -> object:
    """What of the watermarks moves when a phase gets on or has more to do; all of them if it runs alone."""
    return {
        "mnlist": (marks.masternodes_hash, marks.quorums_unjudged),
        "cfheaders": (marks.filter_header, marks.corroborated, marks.disputed),
        "filters": (marks.filters, marks.matched, marks.filter_header),
        "blocks": (marks.pending_blocks, marks.matched_blocks),
    }.get(phase, marks)
