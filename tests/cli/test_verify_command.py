"""`phasegate verify` as a command."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import typer
from typer.testing import CliRunner, Result

from phasegate.cli.verify import verify
from phasegate.statecharts import mutate
from phasegate.statecharts.anatomy import build, read
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.policy import ALWAYS, POLICY, Reason, Rule, Strategy
from phasegate.statecharts.policy_check import verify_policy
from phasegate.statecharts.violation import Violation
from phasegate.verification import runner, units
from phasegate.verification.part import Part
from phasegate.verification.report import Outcome, Report
from phasegate.verification.runner import Progress, Wanted
from phasegate.verification.units import Unit, perform
from tests.documents.printed import Block, printed, some

SIMULATED = Outcome(
    Part.SIMULATION,
    "seeds 7 to 8",
    Counter({"seeds": 2, "run twice": 1, "virtual seconds": 80, "stalls": 0, "fault cut": 3, "fault disk kill": 1}),
    {"peers": 5},
)
DRIVEN = Outcome(Part.ENGINE, "sync, seed 7", Counter({"examples": 25, "transitions": 300}))


MADE_FROM = {"charts": ["CHARTS"], "policies": ["verify_policy", "verify_interleaved"]}
"""What tests put others in the place of."""


@cache
def performed(unit: Unit, *_: object) -> Outcome:
    """A piece of work, done once for all tests that want it done of the same things."""
    return perform(unit)


def outcome_of(unit: Unit) -> Outcome:
    """Charts and mutants are really tried, in this process; the rest is told as it might be."""
    told = {Part.ENGINE: DRIVEN, Part.SIMULATION: SIMULATED}.get(unit.part)
    source = MADE_FROM["policies" if unit.name in units.POLICIES else "charts"]
    return told or performed(unit, *[id(getattr(units, name)) for name in source])


def command(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(verify)
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Wanted]:
    """Runs are done by `outcome_of`. What was wanted."""
    wishes: list[Wanted] = []

    def run(wanted: Wanted, progress: Progress) -> Report:
        wishes.append(wanted)
        outcomes = [outcome_of(unit) for unit in units.units(wanted.parts, wanted.seed, 1, 1)]
        progress(None, 0, 1)
        for outcome in outcomes:
            progress(outcome, 1, 1)
        return Report(tuple(outcomes), 1.5)

    monkeypatch.setattr(runner, "run", run)
    return wishes


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer chart with its guard left out."""
    peer = CHARTS["peer"]
    mutant = next(islice(mutate.without_guard(read(peer.chart)), 1))
    for module in ("phasegate.verification.units", "phasegate.cli.proof"):
        monkeypatch.setattr(f"{module}.CHARTS", {"peer": Ruled(build(mutant.anatomy), peer.law)})


def test_what_is_said_of_all_four_parts(asked: list[Wanted]) -> None:
    """Configurations, transitions, mutants, examples, seeds, and faults by kind."""
    result = command("--seed", "7")
    assert result.exit_code == 0
    assert "sync chart: 15 configurations, 42 transitions; " in result.stdout
    assert "interleaved chart: 35 configurations, 46 transitions; " in result.stdout
    assert re.search(r"^policy: \d+ nodes, \d+ edges, 0 violations$", result.stdout, re.MULTILINE)
    assert re.search(r"^sync mutants: 743/743 caught \(100 %\), 8\d\.\d+ % by ordering", result.stdout, re.MULTILINE)
    assert re.search(r"^interleaved mutants: 1032/1032 caught \(100 %\), 8\d", result.stdout, re.MULTILINE)
    assert result.stdout.count("equivalent: ") == 12
    assert re.search(r"^engine: \d+ examples, \d+ transitions, 0 violations$", result.stdout, re.MULTILINE)
    assert "simulation: 2 seeds (1 run twice), 80 virtual seconds, 0 stalls, 0 violations" in result.stdout
    assert "    faults: cut 3, disk kill 1\n" in result.stdout
    assert result.stdout.splitlines()[-1] == "0 violations in 1.5 s"
    assert asked == [Wanted(seed=7)]


@printed(some("docs/verification.md", "text", "$ phasegate verify\n"))
def test_what_the_documents_show_of_charts_and_mutants_is_said(blocks: tuple[Block, ...], asked: list[Wanted]) -> None:
    """Line by line; `...` stands for what is left out. Engine and simulation are told by their first words alone."""
    said = command().stdout.splitlines()
    for line in blocks[0].text.splitlines()[1:-1]:
        if line.startswith(("engine: ", "simulation: ", "    faults: ", "    at most: ")):
            shown = line.partition(":")[0] + ":"
        else:
            shown = line.removesuffix("...").rstrip()
        assert any(one.startswith(shown) for one in said), line


def test_options_say_how_much(asked: list[Wanted]) -> None:
    """Parts, sizes, processes and time are what the options say."""
    words = "--only engine --only chart --seed 3 --examples 9 --seeds 11 --minutes 0.5 --jobs 4 --fail-fast"
    assert command(*words.split()).exit_code == 0
    assert asked == [Wanted((Part.ENGINE, Part.CHART), 3, 9, 11, 0.5, 4, fail_fast=True)]


def test_json_lines_carry_event_and_time(asked: list[Wanted]) -> None:
    """One line for each piece of work, and a summary last."""
    lines = [
        json.loads(line) for line in command("--only", "chart", "--only", "simulation", "--json").stdout.splitlines()
    ]
    assert [line["event"] for line in lines] == ["verified"] * 6 + ["summary"]
    assert all(isinstance(line["time"], float) for line in lines)
    charts = {"sync", "interleaved", "peer", "policy", "policy, interleaved"}
    assert {line["name"] for line in lines[:-1]} == {*charts, "seeds 7 to 8"}
    assert lines[-1]["violations"] == 0
    assert lines[-1]["parts"]["simulation"]["figures"]["fault cut"] == 3


def test_each_json_line_of_all_four_parts_is_described(
    asked: list[Wanted], check_line: Callable[[dict[str, Any]], None]
) -> None:
    """Every line keeps the published schema, and one without its reason or number does not."""
    result = command("--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert {line["event"] for line in lines} == {"verified", "summary"}
    assert {line["part"] for line in lines if line["event"] == "verified"} == {part.value for part in Part}
    for line in lines:
        check_line(line)
        with pytest.raises(jsonschema.ValidationError):
            check_line({key: value for key, value in line.items() if key != "violations"})


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that retries a full disk for ever."""
    policy = tuple(rule for rule in POLICY if rule.reason is not Reason.DISK)
    endless = Rule("*", Reason.DISK, ALWAYS, Strategy.RETRY, "for ever")
    for name in ("verify_policy", "verify_interleaved"):
        monkeypatch.setattr(units, name, lambda: verify_policy(policy=(*policy, endless)))


@pytest.mark.usefixtures("endless")
def test_a_wrong_policy_is_exit_1_with_a_story(asked: list[Wanted]) -> None:
    """The way into the endless recovery is told, step by step, instead of the bounds that do not hold."""
    result = command("--only", "chart")
    assert result.exit_code == 1
    told = "[never in silence] disk-failed may strike headers for ever, and the client is never degraded"
    assert told in result.stdout
    assert "    2. headers: fail [disk-failed, failure 1 in a row: retry] -> backoff\n" in result.stdout
    assert "at most" not in result.stdout


@pytest.mark.usefixtures("broken")
def test_a_broken_chart_is_exit_1_with_a_story(asked: list[Wanted]) -> None:
    """The violation is told with the law that it breaks and the way that leads there."""
    result = command("--only", "chart")
    assert result.exit_code == 1
    assert "[guarded] ready is entered without a yes from acceptable" in result.stdout
    assert "    1. connecting: connected -> handshaking" in result.stdout


@pytest.mark.usefixtures("broken")
def test_a_broken_chart_is_told_in_json_too(asked: list[Wanted]) -> None:
    """Each violation is a line of its own before the outcome."""
    result = command("--only", "chart", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert (lines[0]["event"], lines[0]["law"]) == ("violation", "guarded")
    assert lines[0]["story"].splitlines()[0] == "1. connecting: connected -> handshaking"
    assert lines[-1]["violations"] > 0


@pytest.mark.usefixtures("broken")
def test_counterexamples_are_drawn_and_reported_to_ci(asked: list[Wanted], tmp_path: Path) -> None:
    """Each with its steps numbered on the arrows of the chart, and as JUnit XML."""
    xml, pictures = tmp_path / "report.xml", tmp_path / "pictures"
    result = command("--only", "chart", "--junit", str(xml), "--diagrams", str(pictures))
    assert result.exit_code == 1
    drawing = (pictures / "peer-1.mmd").read_text()
    assert drawing.startswith("%% [guarded] ready is entered without a yes from acceptable\nstateDiagram-v2\n")
    assert "connecting --> handshaking : (1) connected" in drawing
    assert "class ready active" in drawing
    root = ElementTree.fromstring(xml.read_bytes())  # noqa: S314 - of our own making
    assert root.find(".//failure[@type='guarded']") is not None


def test_a_file_that_cannot_be_written_is_one_line(asked: list[Wanted], tmp_path: Path) -> None:
    """It is noticed before the work."""
    result = command("--only", "chart", "--junit", str(tmp_path / "nowhere" / "x.xml"))
    assert result.exit_code == 2
    assert result.stderr == f"phasegate verify: cannot write {tmp_path}/nowhere/x.xml: No such file or directory\n"
    assert asked == []


@pytest.mark.parametrize("words", [(), ("--scenarios",)])
def test_being_terminated_ends_the_run_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """So that its processes are ended too, and not left behind; afterwards the signal means what it meant."""
    before = signal.getsignal(signal.SIGTERM)

    def terminated(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runner, "run", terminated)
    monkeypatch.setattr("phasegate.cli.verify.show_scenarios", terminated)
    assert command(*words).exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_options_that_do_not_go_together_are_refused(asked: list[Wanted], tmp_path: Path) -> None:
    """Nothing that was asked for is left out in silence."""
    both = command("--scenarios", "--junit", str(tmp_path / "x.xml"))
    assert (both.exit_code, both.stderr) == (2, "phasegate verify: --scenarios goes with --tests and --json only\n")
    lone = command("--tests", str(tmp_path))
    assert (lone.exit_code, lone.stderr) == (2, "phasegate verify: --tests goes with --scenarios only\n")


def test_the_sizes_in_the_help_are_those_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the machinery for a page of help would cost a second."""
    monkeypatch.setenv("COLUMNS", "300")
    told = " ".join(command("--help").stdout.split())
    assert f"for each chart; default: {runner.EXAMPLES}." in told
    assert f"whole client; default: {runner.SEEDS}." in told


def test_violations_tell_how_to_see_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed that shows it stands with its command."""
    stuck = Violation("one seed, one run", "seed 9", "the plan", (), "phasegate verify --seed 9")
    report = Report((Outcome(Part.SIMULATION, "seeds 9 to 9", violations=(stuck,)),), 1.0)
    monkeypatch.setattr(runner, "run", lambda *_: report)
    result = command("--only", "simulation")
    assert result.exit_code == 1
    assert "[one seed, one run] seed 9\n    again: phasegate verify --seed 9\n    the plan\n" in result.stdout


@pytest.mark.parametrize("words", [("--only", "everything"), ("--seeds", "0"), ("--jobs", "0"), ("--seed", "-1")])
def test_what_cannot_be_is_a_usage_error(words: tuple[str, str]) -> None:
    """What cannot be verified is refused with exit 2."""
    assert command(*words).exit_code == 2
