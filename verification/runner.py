"""A whole verification run: its units, given to as many processes as there are cores, and their outcomes collected.

Each process begins with the same seed for hashing, so that a seed gives the same run in any of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from time import monotonic

import attrs

from phasegate.statecharts.violation import Violation
from phasegate.verification.part import Part
from phasegate.verification.report import Outcome, Report
from phasegate.verification.units import EXAMPLES_AT_ONCE, SEEDS_AT_ONCE, Unit, perform, units
from phasegate.verification.workers import begin

EXAMPLES = 200
SEEDS = 200
"""Of engine examples for each chart, and of simulated runs, if nothing else is asked for."""
AHEAD = 2
"""Units that wait for each process, when there is no end of them."""


@attrs.frozen
class Wanted:
    """What a run is to do.

    Attributes:
        parts: which parts, in any order.
        seed: the first seed; a violation tells the seed that shows it.
        examples: of the engine, for each chart.
        seeds: simulated runs.
        minutes: go on with further seeds until so much time has passed; None: no longer than it takes.
        jobs: processes; None: as many as there are cores.
        fail_fast: give out no more work once something is broken.
    """

    parts: tuple[Part, ...] = tuple(Part)
    seed: int = 0
    examples: int = EXAMPLES
    seeds: int = SEEDS
    minutes: float | None = None
    jobs: int | None = None
    fail_fast: bool = False


Progress = Callable[[Outcome | None, int, int], None]
"""Called with what was done last (None at the beginning), the weight done, and the weight of all that is known of."""


def run(wanted: Wanted, progress: Progress = lambda _outcome, _done, _all: None) -> Report:
    """Do everything that is wanted."""
    began = monotonic()
    todo = list(units(wanted.parts, wanted.seed, wanted.examples, wanted.seeds))
    further = _further(wanted) if wanted.minutes is not None else iter(())
    deadline = began + 60 * (wanted.minutes or 0.0)
    outcomes = _collected(wanted, iter(todo), further, deadline, sum(unit.weight for unit in todo), progress)
    return Report(tuple(sorted(outcomes, key=_place)), monotonic() - began)


def _place(outcome: Outcome) -> tuple[int, int, str]:
    """Part by part, whichever process was done first."""
    return list(Part).index(outcome.part), len(outcome.name), outcome.name


def _collected(
    wanted: Wanted, todo: Iterator[Unit], further: Iterator[Unit], deadline: float, weight: int, progress: Progress
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    jobs = wanted.jobs or os.cpu_count() or 1
    done = 0
    progress(None, done, weight)
    with _one_hashing(), _processes(jobs) as processes:
        under_way: dict[Future[Outcome], Unit] = {}
        while True:
            while len(under_way) < AHEAD * jobs and not (wanted.fail_fast and any(o.violations for o in outcomes)):
                unit = next(todo, None) or (next(further, None) if monotonic() < deadline else None)
                if unit is None:
                    break
                unit = attrs.evolve(unit, fail_fast=wanted.fail_fast)
                under_way[processes.submit(perform, unit)] = unit
            if not under_way:
                return outcomes
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                unit = under_way.pop(future)
                outcomes.append(_outcome(future, unit))
                done += unit.weight
                progress(outcomes[-1], done, max(done, weight))
                if wanted.fail_fast and outcomes[-1].violations:
                    _withdraw(under_way)


@contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, however it ends; and at once when the user has had enough.

    Other children of whoever embeds this are not touched.
    """
    others = active_children()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=begin) as processes:
        try:
            yield processes
        except BaseException:
            for child in active_children():
                if child not in others:
                    child.terminate()
            raise


def _withdraw(under_way: dict[Future[Outcome], Unit]) -> None:
    """Take back the units that no process has begun."""
    for future in list(under_way):
        if future.cancel():
            del under_way[future]


def _outcome(future: Future[Outcome], unit: Unit) -> Outcome:
    """What a unit gave; an error in it, or the end of its process, is a violation too."""
    error = future.exception()
    if error is None:
        return future.result()
    story = str(error.__cause__ or "")
    violation = Violation("errors become events", f"{unit}: {type(error).__name__}: {error}", story)
    return Outcome(unit.part, str(unit), violations=(violation,))


def _further(wanted: Wanted) -> Iterator[Unit]:
    """Seeds that nobody asked for, without end, for as long as there is time."""
    seed, example = wanted.seed + wanted.seeds, wanted.seed + wanted.examples // EXAMPLES_AT_ONCE + 1
    parts: Sequence[Part] = [part for part in (Part.ENGINE, Part.SIMULATION) if part in wanted.parts]
    while parts:
        for part in parts:
            if part is Part.SIMULATION:
                yield Unit(part, "sync", seed, SEEDS_AT_ONCE)
                seed += SEEDS_AT_ONCE
            else:
                yield Unit(part, "sync", example, EXAMPLES_AT_ONCE)
                example += 1


@contextmanager
def _one_hashing() -> Iterator[None]:
    """Processes that are started in here hash alike."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
