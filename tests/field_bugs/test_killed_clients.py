"""Processes that are killed while they write: scenario 50 of the list of field bugs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.field_bugs.killed_at_writes import BLOCKS, SEED
from tests.simulated_world import small_chain

ROOT = Path(__file__).resolve().parent.parent.parent
MARKS = ("tip", "filters", "pending")


def killed_at_every(stride: int, place: Path) -> list[dict[str, Any]]:
    """What became of clients that were killed at each `stride`-th write."""
    words = [sys.executable, "-m", "tests.field_bugs.killed_at_writes", str(place), str(stride)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_all_went_on(runs: list[dict[str, Any]]) -> None:
    """Each store could be opened, was sound, kept what was stored, and ended as that of an undisturbed run."""
    undisturbed, *disturbed, survivor = runs
    assert undisturbed["balances"] == small_chain(BLOCKS, SEED).expected["balances"]
    assert {run["signal"] for run in disturbed} == {signal.SIGKILL}
    assert survivor["signal"] == 0
    for run in (*disturbed, survivor):
        assert run["left"]["broken"] == run["check"] == 0, run["write"]
        assert (run["digest"], run["balances"]) == (undisturbed["digest"], undisturbed["balances"]), run["write"]
    for name in ("tip", "filters"):
        reached = [run["left"][name] for run in disturbed]
        assert reached == sorted(reached)
    half_done = {tuple(run["left"][name] for name in MARKS) for run in disturbed}
    assert {(0, -1, 0), (BLOCKS, -1, 0)} < half_done
    assert any(0 < filters < BLOCKS for _, filters, _ in half_done)
    assert any(filters == BLOCKS and pending for _, filters, pending in half_done)


@pytest.mark.timeout(300)
def test_50_a_client_that_is_killed_at_a_write_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL in the middle of some twenty writes from the first to the last, in every phase."""
    runs = killed_at_every(23, tmp_path)
    assert len(runs) > 20
    assert_all_went_on(runs)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_at_any_single_write_a_client_goes_on(tmp_path: Path) -> None:
    """The same at every single write."""
    runs = killed_at_every(1, tmp_path)
    assert len(runs) > 450
    assert_all_went_on(runs)
