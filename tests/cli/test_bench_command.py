"""`phasegate bench`: what it tells, what it refuses, and when it ends with 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from phasegate.cli.bench import bench
from phasegate.verification import bench as benchmarks
from phasegate.verification.bench import ChildFailed, Figure, Setting, Stage
from phasegate.verification.bench.figures import at_least, at_most

Run = Callable[..., tuple[int, str]]


def _fast(stage: Stage) -> list[Figure]:
    """Two figures, one of them without a bound."""
    stage.say("a chain is made")
    return [at_least("fast", 0.9, stage.bound(0.8), "1 µs", "0.9 µs"), at_most("fast-too", 3.0, None, "3 s", "1 s")]


def _slow(stage: Stage) -> list[Figure]:
    """One beyond its bound."""
    return [at_most("slow", 2.0, stage.bound(1.5), "2 s", "1 s")]


def _broken(stage: Stage) -> list[Figure]:
    """Its client fails."""
    raise ChildFailed("the client fell over")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command with three benchmarks that take no time: the exit code and what it printed."""
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"fast": _fast, "slow": _slow, "broken": _broken})
    app = typer.Typer()
    app.command()(bench)

    def call(*words: str) -> tuple[int, str]:
        result = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["--cache", str(tmp_path), *words])
        return result.exit_code, result.stdout

    return call


def test_the_benchmarks_are_listed(run: Run) -> None:
    """With what each of them measures."""
    code, told = run("--list")
    assert code == 0
    assert [line.split(maxsplit=1) for line in told.splitlines()] == [
        ["fast", "Two figures, one of them without a bound."],
        ["slow", "One beyond its bound."],
        ["broken", "Its client fails."],
    ]


def test_the_table_has_ratio_bound_measure_and_floor(run: Run) -> None:
    code, told = run("--only", "fast")
    assert code == 0
    assert "fast-too" in told
    assert [line.split() for line in told.splitlines()][1] == ["fast", "0.9", "≥", "0.8", "1", "µs", "0.9", "µs"]


def test_a_broken_bound_is_exit_1(run: Run) -> None:
    """Unless the chains are too short for it."""
    code, told = run("--only", "slow,fast")
    assert code == 1
    assert "≤ 1.5 BROKEN" in told
    assert run("--only", "slow", "--quick")[0] == 0


def test_lines_are_objects_and_the_last_one_sums_up(run: Run) -> None:
    code, told = run("--only", "slow", "--json")
    figure, summary = map(json.loads, told.splitlines())
    assert (code, figure["event"], figure["name"], figure["ratio"], figure["kept"]) == (1, "figure", "slow", 2.0, False)
    assert (summary["event"], summary["kept"], summary["worse"]) == ("summary", False, [])


def test_unknown_names_and_missing_baselines_are_refused(run: Run, tmp_path: Path) -> None:
    """Before anything is measured."""
    assert run("--only", "nonsense")[0] == 2
    assert run("--against", str(tmp_path / "none"))[0] == 2


def test_settings_are_told_with_the_patience_they_leave(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a table and as lines."""
    tried = [Setting("filters", 1000, 8, 16, 40_000.0, True), Setting("filters", 100, 8, 16, 4_000.0, False)]
    monkeypatch.setattr(benchmarks, "settings", lambda _: iter(tried))
    code, told = run("--tune")
    assert code == 0
    assert told.splitlines()[1].split() == ["filters", "1000", "8", "16", "40,000", "*", "0.20", "s", "50", "answers"]
    one, _ = map(json.loads, run("--tune", "--json")[1].splitlines())
    assert (one["event"], one["rate"], one["answer"], one["patience"]) == ("setting", 40_000.0, 0.2, 50.0)


def test_a_failed_client_is_told_after_what_was_measured(run: Run) -> None:
    code, told = run("--only", "fast,broken")
    assert code == 1
    assert "fast-too" in told


def test_a_run_is_held_against_a_recorded_one(run: Run, tmp_path: Path) -> None:
    """The same figures pass, worse ones are told and are exit 1; one of other sizes is refused."""
    file = tmp_path / "baseline.json"
    assert run("--only", "fast", "--record", str(file))[0] == 0
    assert run("--only", "fast", "--against", str(file))[0] == 0
    file.write_text(json.dumps({"quick": False, "ratios": {"fast": 2.0, "fast-too": 3.0}}))
    code, told = run("--only", "fast", "--against", str(file))
    assert code == 1
    assert told.splitlines()[-1] == "fast: 0.900, worse than the baseline 2.000"
    assert run("--only", "fast", "--quick", "--against", str(file))[0] == 2


def test_what_was_only_disturbed_is_measured_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure is worse when it is so three times in a row; only its benchmark is run again."""
    told, fast = [0.9], list[str]()

    def shaky(stage: Stage) -> list[Figure]:
        return [at_least("shaky-one", told.pop(0), None, "1 µs", "1 µs", guarded=True)]

    def counted(stage: Stage) -> list[Figure]:
        fast.append("run")
        return _fast(stage)

    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"fast": counted, "shaky": shaky})
    file = tmp_path / "baseline.json"
    assert run("--record", str(file))[0] == 0
    told[:], fast[:] = [0.1, 0.1, 0.9], []
    assert (run("--against", str(file))[0], told, fast) == (0, [], ["run"])
    told[:] = [0.1, 0.1, 0.1, 0.9]
    assert (run("--against", str(file))[0], told) == (1, [0.9])
