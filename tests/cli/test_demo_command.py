"""`phasegate demo`: it shows a true sync, and fails when anything of it is not true."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

from phasegate.cli.ending import Ending
from phasegate.cli.listening import Listening
from phasegate.cli.refusal import Code
from phasegate.cli.verdict import Findings, checks
from phasegate.engine.progress import PHASES
from phasegate.store import JournalRow, StoredTransaction

SCRIPT = b"\x51"
SYNCED = Ending("synced", "", Code.SYNCED)


def _journal(*path: str) -> tuple[JournalRow, ...]:
    steps = enumerate(pairwise(path))
    return tuple(JournalRow(i, float(i), source, target, "advance", "", "{}") for i, (source, target) in steps)


PAYMENT = StoredTransaction(1, b"\x01" * 32, 5, 1, (SCRIPT,), 900, 0)
SPEND = StoredTransaction(2, b"\x02" * 32, 9, 1, (SCRIPT,), 0, 400)
TRUE = Findings(_journal("idle", *PHASES, "synced"), (PAYMENT, SPEND), {SCRIPT: 500})
NODE = Listening("127.0.0.1:1", 10, ("y",), ("01" * 32, "02" * 32), {"51": 500})


def test_what_is_true_passes() -> None:
    """A client that is fully synced, by all phases, with what the node expects, passes every check."""
    assert all(check.holds for check in checks(SYNCED, TRUE, NODE))


def test_a_second_walk_passes() -> None:
    """A walk that was begun again counts by its last way through the phases."""
    journal = _journal("idle", "headers", "mnlist", "headers", *PHASES[1:], "synced")
    assert all(check.holds for check in checks(SYNCED, attrs.evolve(TRUE, journal=journal), NODE))


@pytest.mark.parametrize(
    "wrong",
    [
        attrs.evolve(TRUE, journal=_journal("idle", "headers", "cfheaders", "filters", "blocks", "synced")),
        attrs.evolve(TRUE, journal=_journal("idle", *PHASES, "degraded")),
        attrs.evolve(TRUE, journal=()),
        attrs.evolve(TRUE, transactions=(PAYMENT,)),
        attrs.evolve(TRUE, balances={SCRIPT: 499}),
        attrs.evolve(TRUE, balances={}),
    ],
)
def test_anything_wrong_fails(wrong: Findings) -> None:
    """A phase left out, another end, a transaction or a duff missing: each makes a check fail."""
    assert not all(check.holds for check in checks(SYNCED, wrong, NODE))


def test_only_a_synced_client_passes() -> None:
    """Whatever was found, a client that ended degraded fails."""
    ended = Ending("degraded", "no peer", Code.DEGRADED)
    assert not all(check.holds for check in checks(ended, TRUE, NODE))


def test_a_chain_without_a_spend_is_no_demo() -> None:
    """If nothing is spent on the chain there is nothing to show, and the demo says so."""
    found = attrs.evolve(TRUE, transactions=(PAYMENT,), balances={SCRIPT: 900})
    node = attrs.evolve(NODE, transactions=("01" * 32,), balances={"51": 900})
    assert [check.claim for check in checks(SYNCED, found, node) if not check.holds] == [
        "there is a payment and a spend among them"
    ]


BESIDE = (
    "mnlist_waiting+cfheaders_rest+filters_rest+blocks_rest",
    "mnlist+cfheaders+filters_rest+blocks_rest",
    "mnlist_rest+cfheaders_rest+filters+blocks",
)


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        (("idle", "headers", *BESIDE, "synced"), True),
        (("idle", "headers", *BESIDE, "headers", *BESIDE, "synced"), True),
        (("idle", "headers", *BESIDE, "headers", *BESIDE[:2], "synced"), False),
        (("idle", "headers", *BESIDE, "degraded"), False),
        (("idle", *BESIDE, "synced"), False),
    ],
)
def test_phases_beside_each_other_come_in_any_order(path: tuple[str, ...], holds: bool) -> None:
    """But after the headers, and none is left out in the last walk."""
    verdict = checks(SYNCED, attrs.evolve(TRUE, journal=_journal(*path)), NODE)
    assert [check.holds for check in verdict] == [True, holds, True, True, True]


@pytest.mark.parametrize("strategy", ["sequential", "interleaved"])
def test_the_whole_demo_runs(tmp_path: Path, strategy: str) -> None:
    """With a real node in another process it ends by itself with 0, shows the chart, a payment and a spend."""
    words = [sys.executable, "-m", "phasegate", "demo", "--blocks", "60", "--strategy", strategy]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Fully synced ✓ ◀ active" in done.stdout
    assert "✗" not in done.stdout
    assert ("beside each other" in done.stdout) is (strategy == "interleaved")
    assert "   +" in done.stdout
    assert "   -" in done.stdout
