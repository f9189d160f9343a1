"""What a benchmark says: a ratio of two things measured in one run, the bound it has to keep, and its physical floor.

Seconds alone say more about the machine than about the program. So whatever is measured has a floor beside it, the
least that the same work could cost on this machine at this moment, and what counts is the ratio of the two.

Ratios of processor time are nearly the same on a busy machine; these are `guarded`, a baseline holds them. Those of the
time that passes are not, nor the few figures that are seconds or bytes, since that is what was promised.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import attrs

Task = Callable[[], object]


@attrs.frozen
class Figure:
    """One line of the table.

    Args:
        name: of the figure; it begins with that of its benchmark.
        ratio: what counts.
        bound: how much it has to be; None where it is told for information, or where the chain is too short for it.
        at_most: whether the bound is the most it may be, instead of the least.
        measured: what was measured, in words: a number and its unit.
        floor: what it was compared with, in the same way.
        guarded: whether a baseline may hold it: it is a ratio, and of what a busy machine does not change.
    """

    name: str
    ratio: float
    bound: float | None
    at_most: bool
    measured: str
    floor: str
    guarded: bool = True

    @property
    def kept(self) -> bool:
        """Whether it is within its bound."""
        if self.bound is None:
            return True
        return self.ratio <= self.bound if self.at_most else self.ratio >= self.bound


def at_least(
    name: str, ratio: float, bound: float | None, measured: str, floor: str, *, guarded: bool = True
) -> Figure:
    """A figure that is the better the greater it is."""
    return Figure(name, ratio, bound, False, measured, floor, guarded)


def at_most(name: str, ratio: float, bound: float | None, measured: str, floor: str, *, guarded: bool = True) -> Figure:
    """A figure that is the better the smaller it is."""
    return Figure(name, ratio, bound, True, measured, floor, guarded)


def per_item(seconds: float, items: float, what: str) -> str:
    """How long one takes and how many that is a second: `12.3 µs a header (81,300/s)`."""
    each = seconds / items
    told = f"{each * 1e6:.2f} µs" if each < 1e-3 else f"{each * 1e3:.2f} ms" if each < 1 else f"{each:.2f} s"
    return f"{told} a {what} ({1 / each:,.0f}/s)"


def timed(task: Task, clock: Callable[[], float] = time.perf_counter) -> float:
    """The seconds that a task takes by `clock`."""
    start = clock()
    task()
    return clock() - start


def alternately(rounds: int, *tasks: Task, clock: Callable[[], float] = time.thread_time) -> list[float]:
    """The median seconds of each task; they take turns, so that what disturbs one disturbs all."""
    times: list[list[float]] = [[] for _ in tasks]
    for _ in range(rounds):
        for task, taken in zip(tasks, times, strict=True):
            taken.append(timed(task, clock))
    return [statistics.median(taken) for taken in times]
