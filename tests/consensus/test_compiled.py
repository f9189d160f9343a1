"""When compiled loops are worth loading; each case in a process of its own, where numba is not loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASKED = """
import sys
from phasegate.consensus.compiled import ENOUGH, expect, worth_compiling
assert "numba" not in sys.modules
{told}
print([worth_compiling(count) for count in (1, ENOUGH // 2, ENOUGH // 2)])
"""


@pytest.mark.parametrize(
    ("told", "worth"),
    [
        ("", "[False, False, True]"),
        ("expect(ENOUGH - 1)", "[False, False, True]"),
        ("expect(ENOUGH)", "[True, True, True]"),
        ("worth_compiling(ENOUGH); expect(ENOUGH)", "[True, True, True]"),
    ],
)
def test_compiled_loops_are_worth_it_for_many_items_done_or_expected(told: str, worth: str) -> None:
    done = subprocess.run([sys.executable, "-c", ASKED.format(told=told)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == worth
