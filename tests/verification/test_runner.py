"""A verification run: what it is cut into, how outcomes add up, and what is told of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from xml.etree import ElementTree

import attrs
import pytest

from phasegate.statecharts.campaign import Campaign, Fate, Verdict
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.violation import Violation
from phasegate.verification import runner, units
from phasegate.verification.part import Part
from phasegate.verification.report import Outcome, Report, junit
from phasegate.verification.runner import Wanted, run
from phasegate.verification.units import POLICIES, Unit, perform

BROKEN = Violation("ordering", "blocks too early \x00 <&>", "1. idle: start", (), "phasegate verify --seed 3")


class Inline:
    """Processes that are none: what is submitted is done at once, in this one."""

    def __init__(self, *_: object, **__: object) -> None:
        self.hashing = os.environ.get("PYTHONHASHSEED")

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def submit(self, fn: object, unit: Unit) -> Future[Outcome]:
        assert self.hashing == "0"
        done: Future[Outcome] = Future()
        try:
            done.set_result(fn(unit))  # type: ignore[operator]
        except ValueError as error:
            done.set_exception(error)
        return done


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Unit]]:
    """No processes, and units that take no time; which they were."""
    seen: list[Unit] = []

    def fake(unit: Unit) -> Outcome:
        seen.append(unit)
        if unit.part is Part.ENGINE and unit.seed == 13:
            raise ValueError("of no use")
        violations = (BROKEN,) if unit.part is Part.SIMULATION and unit.seed <= 7 < unit.seed + unit.count else ()
        return Outcome(unit.part, str(unit), Counter(seeds=unit.count), {"peers": unit.seed}, violations, (), 1.0)

    monkeypatch.setattr(runner, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(runner, "perform", fake)
    return seen  # type: ignore[return-value]


def test_a_run_is_cut_into_all_that_was_asked_for() -> None:
    """Every chart is explored and mutated, every example and every seed is in exactly one unit."""
    cut = list(units.units(tuple(Part), 40, 60, 13))
    assert [unit.name for unit in cut if unit.part is Part.CHART] == [*CHARTS, *POLICIES]
    assert [unit.name for unit in cut if unit.part is Part.MUTATION] == list(CHARTS)
    seeds = [seed for unit in cut if unit.part is Part.SIMULATION for seed in range(unit.seed, unit.seed + unit.count)]
    assert seeds == list(range(40, 53))
    for name in CHARTS:
        examples = [unit for unit in cut if unit.part is Part.ENGINE and unit.name == name]
        assert sum(unit.count for unit in examples) == 60
        assert len({unit.seed for unit in examples}) == len(examples)
    assert list(units.units((Part.CHART,), 0, 60, 13)) == [Unit(Part.CHART, name) for name in (*CHARTS, *POLICIES)]


def test_outcomes_are_added_up_part_by_part(inline: list[Unit]) -> None:
    """Counts are added, of some figures the largest is kept, and the report does not depend on who was first."""
    told: list[tuple[int, int]] = []
    report = run(Wanted(seed=20, seeds=12, jobs=3), lambda _, done, known: told.append((done, known)))
    assert report.counts(Part.SIMULATION)["seeds"] == 12
    assert report.most(Part.SIMULATION) == {"peers": 30}
    assert [outcome.part for outcome in report.outcomes] == sorted(
        (outcome.part for outcome in report.outcomes), key=list(Part).index
    )
    assert report.violations == ()
    assert told[0] == (0, told[-1][1])
    assert told[-1][0] == told[-1][1]


def test_an_error_in_a_unit_is_a_violation(inline: list[Unit]) -> None:
    """Nothing vanishes because a process had no words for it."""
    report = run(Wanted(parts=(Part.ENGINE,), seed=13, examples=25))
    assert {violation.law for violation in report.violations} == {"errors become events"}
    assert "ValueError: of no use" in report.violations[0].text


def test_nothing_more_is_begun_once_something_broke(inline: list[Unit]) -> None:
    """With `fail_fast`; else everything is done."""
    run(Wanted(parts=(Part.SIMULATION,), seeds=100, jobs=1, fail_fast=True))
    assert len(inline) < 6
    inline.clear()
    assert len(run(Wanted(parts=(Part.SIMULATION,), seeds=100, jobs=1)).violations) == 1
    assert len(inline) == 20


def test_with_time_left_further_seeds_are_run(inline: list[Unit], monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the minutes are over, in turns for the parts that have seeds; none is run twice."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(runner, "monotonic", lambda: float(next(ticks)))
    run(Wanted(parts=(Part.ENGINE, Part.SIMULATION), seed=50, seeds=5, examples=25, minutes=1.0, jobs=1))
    assert len(inline) > 10
    assert len({(unit.part, unit.name, unit.seed) for unit in inline}) == len(inline)
    assert {unit.part for unit in inline[5:]} == {Part.ENGINE, Part.SIMULATION}


def test_the_report_as_junit() -> None:
    """A suite for each part, a case for each unit, a failure for each violation; what XML cannot hold is left out."""
    good = Outcome(Part.CHART, "sync", seconds=0.5)
    bad = Outcome(Part.SIMULATION, "seeds 0 to 4", violations=(BROKEN,), seconds=2.0)
    root = ElementTree.fromstring(junit(Report((good, bad), 3.0)))  # noqa: S314 - of our own making
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"chart", "simulation"}
    assert (suites["simulation"].get("tests"), suites["simulation"].get("failures")) == ("1", "1")
    failure = root.find(".//failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == ("ordering", "blocks too early  <&>")
    assert failure.text == "1. idle: start\nphasegate verify --seed 3"


@cache
def explored(name: str) -> Outcome:
    """A chart or a policy, explored in this process."""
    return perform(Unit(Part.CHART, name))


@pytest.mark.parametrize("name", [*CHARTS, *POLICIES])
def test_a_chart_is_explored(name: str) -> None:
    """With figures, and without a violation."""
    outcome = explored(name)
    assert outcome.violations == ()
    assert outcome.counts["edges"] > outcome.counts["nodes"] > 0
    assert outcome.seconds > 0


def test_mutants_of_a_chart_are_counted() -> None:
    """All caught, and how many by the invariants alone."""
    counts = perform(Unit(Part.MUTATION, "peer")).counts
    assert counts["mutants"] == counts["caught"] > counts["caught by invariants alone"] > 0
    assert sum(count for kind, count in counts.items() if kind.startswith("kind ")) == 57


def test_survivors_and_a_small_share_are_violations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that lets mutants pass, or leans on its response lines alone, fails the run."""
    verdicts = (Verdict("a mutant", "guard dropped", Fate.SURVIVED), Verdict("other", "retargeted", Fate.BY_RESPONSE))
    monkeypatch.setattr(units, "campaign", lambda *_: Campaign("peer", verdicts, 1.0))
    told = [violation.text for violation in perform(Unit(Part.MUTATION, "peer")).violations]
    assert told[0] == "survived: a mutant (guard dropped)"
    assert told[1].startswith("ordering and invariants alone catch 0%")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(parts=(Part.ENGINE, Part.SIMULATION), seed=5003, seeds=1, examples=5, jobs=2),
        pytest.param(Wanted(parts=(Part.CHART, Part.SIMULATION), seed=5003, seeds=6, jobs=2), marks=pytest.mark.soak),
    ],
)
def test_real_processes_give_the_same_report_in_any_number(wanted: Wanted) -> None:
    """Two processes or one: the figures of a small run are the same; its units are more than one."""
    assert len(list(units.units(wanted.parts, wanted.seed, wanted.examples, wanted.seeds))) > 1
    two, one = run(wanted), run(attrs.evolve(wanted, jobs=1))
    for report in (one, two):
        assert report.violations == ()
    for part in wanted.parts:
        assert one.counts(part) == two.counts(part)


@pytest.mark.timeout(300)
def test_charts_are_explored_alike_in_other_processes() -> None:
    """Two of them, which hash otherwise, find the same figures as this one."""
    here = Counter[str]()
    for name in (*CHARTS, *POLICIES):
        here.update(explored(name).counts)
    report = run(Wanted(parts=(Part.CHART,), jobs=2))
    assert report.violations == ()
    assert report.counts(Part.CHART) == here


@attrs.define(eq=False)
class Child:
    """A process, as far as it can be ended."""

    ended: bool = False

    def terminate(self) -> None:
        self.ended = True


def test_who_has_had_enough_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of the run are ended at once; other children of the same parent go on."""
    bystander, own = Child(), Child()
    children = [bystander]
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(runner, "active_children", lambda: list(children))
    with suppress(KeyboardInterrupt), runner._processes(1):
        children.append(own)
        raise KeyboardInterrupt
    assert (own.ended, bystander.ended) == (True, False)
