"""The table of scenarios and the named tests agree: each scenario has tests, except those that say when they come."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from phasegate.verification.scenario_table import SCENARIOS, Scenario

_NAMED = re.compile(r"test_(a?)(\d+)_[a-z]")


def names_here() -> list[str]:
    """The names of all tests of this folder."""
    trees = [ast.parse(path.read_text()) for path in sorted(Path(__file__).parent.glob("test_*.py"))]
    functions = [
        node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [function.name for function in functions if function.name.startswith("test_")]


def test_the_table_holds_every_finding_and_every_scenario() -> None:
    """Thirteen findings, 53 scenarios, in order, each with a title of its own that fits a line."""
    assert [scenario.id for scenario in SCENARIOS] == [f"A{n}" for n in range(1, 14)] + [str(n) for n in range(1, 54)]
    titles = [scenario.title for scenario in SCENARIOS]
    assert len(set(titles)) == len(titles)
    assert all(10 < len(title) <= 110 and title[0].isupper() and title[-1] != "." for title in titles)


def test_no_scenario_is_pending() -> None:
    """Each has its tests."""
    assert {s.id: s.pending for s in SCENARIOS if s.pending} == {}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_a_scenario_has_tests_exactly_if_it_is_not_pending(scenario: Scenario) -> None:
    """Who writes the first test of a pending one says so in the table."""
    tests = [name for name in names_here() if name.startswith(scenario.prefix)]
    assert bool(tests) != bool(scenario.pending)


def test_every_number_is_one_of_the_table_and_has_two_digits() -> None:
    """So that tests can be found and sorted by them, and none is named after what does not exist."""
    prefixes = {scenario.prefix for scenario in SCENARIOS}
    named = [found[0][:-1] for name in names_here() if (found := _NAMED.match(name))]
    assert [prefix for prefix in named if prefix not in prefixes] == []
    assert {scenario.prefix for scenario in SCENARIOS if not scenario.pending} == set(named)


def test_no_name_stands_twice() -> None:
    """Results are told by name."""
    twice = [name for name, count in Counter(names_here()).items() if count > 1]
    assert twice == []
