"""The audit of a request log finds what it is there to find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.soak.audit import Findings, Run, audit
from tests.soak.standing import Standing

BEFORE = Standing(
    tip=4000,
    masternodes=4000,
    lists=frozenset({4000}),
    filter_headers=2000,
    filters=999,
    recorded=frozenset({7, 9}),
    pending=2,
)
KILLED = Standing(4000, 4000, 4000, 1999, frozenset({7, 9, 11}), 1, began=100.0)


def audited(place: Path, *lines: dict[str, Any], after: Standing = KILLED, killed: bool = True) -> Findings:
    """The findings about one run from BEFORE to `after`, of which `lines` are the log."""
    log = place / "log"
    log.write_text("".join(json.dumps({"time": 101.0, "peer": "p", "served": 1, **line}) + "\n" for line in lines))
    return audit(log, [Run(0, 1, killed, BEFORE, after)])


FRESH = (
    {"command": "getheaders", "from": 4001, "to": 4000},
    {"command": "getcfcheckpt", "to": 4000},
    {"command": "getcfheaders", "from": 2001, "to": 4000},
    {"command": "getcfilters", "from": 1000, "to": 1999},
    {"command": "getcfilters", "from": 2000, "to": 2999},
    {"command": "getdata", "heights": [11]},
    {"command": "getdata", "heights": [13]},
)


def test_what_was_missing_may_be_asked_for(tmp_path: Path) -> None:
    """Requests above what was stored are in order, and those in flight at the kill are counted."""
    findings = audited(tmp_path, *FRESH)
    assert not findings.violations
    assert dict(findings.asked) == {"headers": 1, "cfheaders": 1, "filters": 2, "blocks": 2}
    assert dict(findings.lost) == {"filters": 1, "blocks": 1}


@pytest.mark.parametrize(
    "line",
    [
        {"command": "getheaders", "from": 4000, "to": 4000},
        {"command": "getheaders2", "from": 1, "to": 2000},
        {"command": "getmnlistd", "base": 0, "block": 4000},
        {"command": "getcfheaders", "from": 2000, "to": 3999},
        {"command": "getcfilters", "from": 999, "to": 1998},
        {"command": "getdata", "heights": [11, 9]},
    ],
)
def test_what_was_stored_may_not_be_asked_for(tmp_path: Path, line: dict[str, Any]) -> None:
    """One stored height in a request is a violation."""
    violations = audited(tmp_path, line).violations
    assert any("stored before the run began" in violation for violation in violations)


def test_nothing_may_be_asked_for_twice_in_one_run(tmp_path: Path) -> None:
    """A height that comes in two requests of a run is a violation."""
    (violation,) = audited(tmp_path, FRESH[3], FRESH[3]).violations
    assert violation == "directory 0, run 1: filters from 1000 (1000 heights): asked twice in one run"


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    """A request of which a part is stored at the end is a violation."""
    (violation,) = audited(tmp_path, {"command": "getcfilters", "from": 1500, "to": 2499}).violations
    assert violation.endswith("half stored at its end")


def test_only_a_kill_may_lose_answers_and_only_those_in_flight(tmp_path: Path) -> None:
    """Answers that a run had and did not store are violations if it was not killed, or if they are too many."""
    assert audited(tmp_path, FRESH[4], killed=False).violations
    heap = [{"command": "getdata", "heights": [height]} for height in range(100, 133)]
    assert audited(tmp_path, *heap).violations == ["directory 0, run 1: 33 requests of blocks were lost"]


def test_a_command_that_no_phase_sends_is_an_error(tmp_path: Path) -> None:
    """The audit does not look away from what it does not know."""
    with pytest.raises(KeyError):
        audited(tmp_path, {"command": "getblocks", "from": 1, "to": 500})


def test_a_late_answer_belongs_to_the_run_that_asked(tmp_path: Path) -> None:
    """A line from before a run's first transition is the killed run's, one from before all runs nobody's."""
    log = tmp_path / "log"
    line = {"peer": "p", "command": "getheaders", "from": 1, "to": 2000, "served": 0}
    log.write_text("".join(json.dumps({"time": time, **line}) + "\n" for time in (1.0, 10.5, 20.5)))
    idle, first, second = Standing(), Standing(began=10.0), Standing(tip=2000, began=20.0)
    findings = audit(log, [Run(0, 0, True, idle, first), Run(0, 1, True, first, idle), Run(0, 2, True, idle, second)])
    assert not findings.violations
    assert (findings.asked["headers"], findings.lost["headers"], findings.again["headers"]) == (2, 1, 1)
