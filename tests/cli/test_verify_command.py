"""`phasegate verify` as a command."""

from __future__ import annotations

import json
import re
from itertools import islice

import pytest
import typer
from typer.testing import CliRunner, Result

from phasegate.cli.verify import verify
from phasegate.statecharts import mutate
from phasegate.statecharts.anatomy import build, read
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.policy import ALWAYS, POLICY, Reason, Rule, Strategy
from phasegate.statecharts.policy_check import verify_policy


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(verify)
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer chart with its guard left out."""
    peer = CHARTS["peer"]
    mutant = next(islice(mutate.without_guard(read(peer.chart)), 1))
    monkeypatch.setitem(verify.__globals__, "CHARTS", {"peer": Ruled(build(mutant.anatomy), peer.law)})


def test_kept_laws_are_exit_0_with_counts() -> None:
    """Counts and zero violations are printed."""
    result = run("--only", "chart")
    assert result.exit_code == 0
    assert "sync chart: 15 configurations" in result.stdout
    assert re.search(r"^policy: \d+ nodes, \d+ edges, 0 violations$", result.stdout, re.MULTILINE)
    assert "0 violations" in result.stdout.splitlines()[-1]


def test_json_lines_carry_event_and_time() -> None:
    """One line for each chart, one for the recovery policy, and a summary last."""
    lines = [json.loads(line) for line in run("--json").stdout.splitlines()]
    assert [line["event"] for line in lines] == ["verified", "verified", "verified", "summary"]
    assert all(isinstance(line["time"], float) for line in lines)
    assert [line.get("chart") for line in lines] == ["sync", "peer", None, None]
    assert [line.get("table") for line in lines] == [None, None, "policy", None]
    assert [line["violations"] for line in lines] == [0, 0, 0, 0]
    assert (lines[2]["failures"], lines[2]["steps"]) == (67, 6)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that retries a full disk for ever."""
    policy = tuple(rule for rule in POLICY if rule.reason is not Reason.DISK)
    endless = Rule("*", Reason.DISK, ALWAYS, Strategy.RETRY, "for ever")
    monkeypatch.setitem(verify.__globals__, "verify_policy", lambda: verify_policy(policy=(*policy, endless)))


@pytest.mark.usefixtures("endless")
def test_a_wrong_policy_is_exit_1_with_a_story() -> None:
    """The way into the endless recovery is told, step by step, instead of the bounds that do not hold."""
    result = run("--only", "chart")
    assert result.exit_code == 1
    assert "disk-failed may strike headers for ever, and the client is never degraded" in result.stdout
    assert "    2. headers: fail [disk-failed, failure 1 in a row: retry] -> backoff\n" in result.stdout
    assert "at most" not in result.stdout


@pytest.mark.usefixtures("endless")
def test_a_wrong_policy_is_told_in_json_too() -> None:
    """A violation of the table is a line of its own, with its story."""
    lines = [json.loads(line) for line in run("--json").stdout.splitlines()]
    told = [line for line in lines if line["event"] == "violation"]
    assert {line["table"] for line in told} == {"policy"}
    assert any("backoff: recover -> headers" in line["story"] for line in told)
    assert lines[-1]["violations"] == len(told)


@pytest.mark.usefixtures("broken")
def test_a_broken_chart_is_exit_1_with_a_story() -> None:
    """The violation is told with the way that leads there."""
    result = run("--only", "chart")
    assert result.exit_code == 1
    assert "ready is entered without a yes from acceptable" in result.stdout
    assert "    1. connecting: connected -> handshaking" in result.stdout


@pytest.mark.usefixtures("broken")
def test_a_broken_chart_is_told_in_json_too() -> None:
    """Each violation is a line of its own before the outcome."""
    result = run("--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert lines[0]["event"] == "violation"
    assert lines[0]["story"].splitlines()[0] == "1. connecting: connected -> handshaking"
    assert lines[-1]["violations"] > 0


def test_an_unknown_part_is_a_usage_error() -> None:
    """What cannot be verified is refused with exit 2."""
    assert run("--only", "everything").exit_code == 2
