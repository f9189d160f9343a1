"""Charts of users: the public names, the ready tests, and the example in the documents."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import phasegate
import phasegate.verification as face
from phasegate.statecharts import mutate
from phasegate.statecharts.anatomy import build, read
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.verification.ready import ChartTests, LawBroken, LawTooWeak

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "extended_chart.py"


class TestPeerChart(ChartTests):
    """What a user writes, for a chart of the house."""

    ruled = CHARTS["peer"]


@pytest.mark.soak
class TestSyncChart(ChartTests):
    """The same for the greater one; that its mutants are caught is also what `tests/statecharts` proves."""

    ruled = CHARTS["sync"]


def judge(ruled: Ruled, least: float = 0.0) -> None:
    made: Any = type("Judged", (ChartTests,), {"ruled": ruled, "least_share": least})()
    made.test_the_chart_keeps_its_law()
    made.test_the_law_catches_every_mutant()


def test_the_ready_tests_fail_for_a_wrong_chart() -> None:
    """The message tells the law that is broken, and the story."""
    mutant = next(mutate.without_guard(read(CHARTS["peer"].chart)))
    with pytest.raises(LawBroken, match=r"\[guarded\] ready is entered without a yes(.|\n)*1\. connecting: connected"):
        judge(Ruled(build(mutant.anatomy), CHARTS["peer"].law))


def test_the_ready_tests_fail_for_a_weak_law() -> None:
    """Survivors are named; so is a law that leans on its response lines."""
    peer = CHARTS["peer"]
    with pytest.raises(LawTooWeak, match="survivors:\nconnecting without its activity"):
        judge(Ruled(peer.chart, attrs.evolve(peer.law, runs={})))
    with pytest.raises(LawTooWeak, match="the invariants alone catch 89%, not 95%"):
        judge(peer, 0.95)


@pytest.mark.parametrize("name", face.__all__)
def test_each_public_name_is_there(name: str) -> None:
    """Every promised name can be had, and is listed by dir()."""
    assert getattr(face, name) is not None
    assert name in dir(face)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="nonsense"):
        face.nonsense  # noqa: B018 - the look-up is the test


def test_the_import_is_light() -> None:
    """Nothing heavy is loaded before it is used."""
    code = "import sys, phasegate.verification; assert not {'hypothesis', 'trio', 'statemachine'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def example(*arguments: str) -> str:
    """What the example prints, run with the phasegate that is tested here."""
    here = {**os.environ, "PYTHONPATH": str(Path(phasegate.__file__).parent.parent)}
    words = [sys.executable, str(EXAMPLE), *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True, env=here).stdout


def test_the_example_proves_and_runs_its_chart() -> None:
    """A chart that is not of this package, with one phase more, is explored, mutated and run."""
    proof, mutants, path = example().splitlines()
    assert proof == "16 configurations, 604 edges, 0 violations"
    caught, _, rest = mutants.partition("/")
    assert rest.startswith(f"{caught} mutants caught, ")
    assert path.split(" -> ")[-4:] == ["blocks", "governance", "synced", "stopped"]


def test_the_example_draws_its_chart() -> None:
    """With the phase inside of what is being synchronised."""
    drawing = example("--draw")
    assert drawing.startswith("stateDiagram-v2\n")
    assert "blocks --> governance : advance [blocks_complete]" in drawing
    assert "entry / download_governance" in drawing


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("chosen", "told"),
    [("not mutant", "2 passed, 1 deselected"), pytest.param("", "3 passed", marks=pytest.mark.soak)],
)
def test_the_example_is_a_test_of_its_own(chosen: str, told: str) -> None:
    """pytest collects the ready tests and the state machine from it, and they pass; its mutants are judged above."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, str(EXAMPLE)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert told in done.stdout, done.stdout[-2000:]


def test_the_example_reaches_into_nothing() -> None:
    """It uses the public faces only."""
    imports = [
        line for line in EXAMPLE.read_text().splitlines() if line.startswith(("from phasegate", "import phasegate"))
    ]
    assert imports == ["from phasegate import SyncChart", "from phasegate.verification import ("]
