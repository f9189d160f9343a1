"""`phasegate policy` as a command: the table that the engine follows, for people and for programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from phasegate.statecharts.policy import ALWAYS, POLICY, REMEDIES, Reason, advise

Run = Callable[..., Any]


def test_people_see_every_row_and_every_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reason, phase, which failures in a row, strategy and why, in the order of the table; then what ends it."""
    monkeypatch.setenv("COLUMNS", "160")
    outcome = run("policy")
    lines = [line.rstrip() for line in outcome.out.splitlines()]
    assert (outcome.code, outcome.err) == (0, "")
    assert lines[0].split() == ["reason", "phase", "failures", "strategy", "because"]
    for rule, line in zip(POLICY, lines[1:], strict=False):
        words = line.split()
        assert words[:2] == [rule.reason.value, rule.phase]
        assert f" {rule.strategy.value} " in line
        assert line.endswith(rule.why)
    for reason, line in zip(Reason, lines[-len(Reason) :], strict=True):
        assert line.split(maxsplit=1) == [reason.value, REMEDIES[reason]]
    shown = {line.split("  ")[0]: line for line in lines if " retry " in line}
    assert " 1-5 " in shown["disk-failed"]
    assert any("disk-failed" in line and " 6 on " in line for line in lines)


def test_a_narrow_terminal_loses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long reasons are folded, not cut."""
    monkeypatch.setenv("COLUMNS", "72")
    words = run("policy").out.split()
    for said in (*(rule.why for rule in POLICY), *REMEDIES.values()):
        assert set(said.split()) <= set(words)


def test_programs_get_a_line_for_each_row_and_remedy(run: Run) -> None:
    """The rows tell exactly what the engine is advised, for every failure of every phase."""
    outcome = run("policy", "--json")
    rules, remedies = outcome.events("rule"), outcome.events("remedy")
    assert len(outcome.lines) == len(rules) + len(remedies)
    assert {line["reason"]: line["until"] for line in remedies} == {r.value: REMEDIES[r] for r in Reason}
    assert all(isinstance(line["time"], float) and line["why"] for line in outcome.lines if line["event"] == "rule")
    for phase in ("headers", "blocks", "synced"):
        for reason in Reason:
            for attempt in (*range(1, 30), ALWAYS):
                assert told(rules, phase, reason.value, attempt) == advise(phase, reason, attempt).value


def told(rules: list[dict[str, Any]], phase: str, reason: str, attempt: int) -> str:
    """The strategy that the lines have for a failure, read as the text below the table says."""
    fitting = [
        line
        for line in rules
        if line["reason"] == reason
        and line["from_attempt"] <= attempt
        and (line["to_attempt"] is None or attempt <= line["to_attempt"])
    ]
    named = [line for line in fitting if line["phase"] == phase]
    (line,) = named or [line for line in fitting if line["phase"] == "*"]
    return str(line["strategy"])


@pytest.mark.parametrize("words", [["policy"], ["policy", "--json"]])
def test_no_colour_goes_into_a_pipe(words: list[str]) -> None:
    """Without a terminal there is no escape sequence in it."""
    shown = subprocess.run([sys.executable, "-m", "phasegate", *words], capture_output=True, check=True)
    assert b"\x1b" not in shown.stdout
    assert shown.stderr == b""
