"""Each scenario of the list of field bugs that this part of the program has to stand has a test named after it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SCENARIOS = frozenset({*range(1, 32), 35, 36, *range(38, 50), 53})
"""Headers and reorganisations, compressed headers, filters, requests, wallet, masternodes, locks, network, recovery."""

_NAMED = re.compile(r"test_(\d+)_[a-z]")


def names_here() -> list[str]:
    """The names of all tests of this folder."""
    trees = [ast.parse(path.read_text()) for path in sorted(Path(__file__).parent.glob("test_*.py"))]
    functions = [
        node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [function.name for function in functions if function.name.startswith("test_")]


def test_every_scenario_has_a_test_with_its_number() -> None:
    """What is missing is listed."""
    numbers = {int(named[1]) for name in names_here() if (named := _NAMED.match(name))}
    missing = sorted(SCENARIOS - numbers)
    assert not missing, f"no test is named after scenario {', '.join(map(str, missing))}"


def test_numbers_have_two_digits() -> None:
    """So that tests can be found and sorted by them."""
    named = [(name, found[1]) for name in names_here() if (found := _NAMED.match(name))]
    assert [name for name, number in named if len(number) != 2] == []
