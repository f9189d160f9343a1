"""A run that is to end with the first failure begins nothing more, and finds soon what there is to find."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import Any

import attrs
import pytest

from phasegate.verification.part import Part
from phasegate.verification.runner import EXAMPLES, SEEDS, _withdraw
from phasegate.verification.simulation import series
from phasegate.verification.simulation.checks import STALL
from phasegate.verification.simulation.judgement import Outcome
from phasegate.verification.simulation.plan import Plan
from phasegate.verification.units import Unit, units


def test_the_parts_come_from_the_small_to_the_whole() -> None:
    """Charts are explored in seconds, and a story of theirs says most; everything that is asked for is there."""
    todo = list(units(tuple(Part), 0, EXAMPLES, SEEDS))
    order = [unit.part for unit in todo]
    assert order == sorted(order, key=list(Part).index)
    assert set(order) == set(Part)
    assert sum(unit.count for unit in todo if unit.part is Part.SIMULATION) == SEEDS


def test_units_that_nobody_has_begun_are_taken_back() -> None:
    """What a process is at goes on to its end."""
    begun, waiting = Future[Any](), Future[Any]()
    begun.set_running_or_notify_cancel()
    under_way = {begun: Unit(Part.CHART, "sync"), waiting: Unit(Part.CHART, "peer")}
    _withdraw(under_way)
    assert list(under_way) == [begun]
    assert waiting.cancelled()


@pytest.mark.parametrize(("fail_fast", "seeds"), [(True, 3), (False, 5)])
def test_a_series_ends_with_its_first_broken_seed(monkeypatch: pytest.MonkeyPatch, fail_fast: bool, seeds: int) -> None:
    """Only if it is to; then the seeds after it are neither run nor counted."""

    def fake(plan: Plan) -> Outcome:
        broken = ((STALL, "stuck"),) if plan.seed == 3 else ()
        return Outcome(plan, broken, Counter(), "", 1.0, Counter())

    monkeypatch.setattr(series, "simulate", fake)
    monkeypatch.setattr(series, "shrink", lambda outcome: attrs.evolve(outcome))
    done = series.series(1, 5, 8, fail_fast=fail_fast)
    assert done.counts["seeds"] == seeds
    assert [violation.law for violation in done.violations] == [STALL]
