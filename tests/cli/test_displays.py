"""Every event has a JSON line that fits the schema, and something to say to a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.cli.ending import Ending
from phasegate.cli.live import STATES, Bars, Lines, told
from phasegate.cli.output import JsonLines
from phasegate.cli.refusal import Code, one_line
from phasegate.cli.summary import Holdings, Summary, dash
from phasegate.engine import events
from phasegate.engine.config import Config
from phasegate.statecharts.sync import SyncChart
from phasegate.store import Watermarks

FACTS = {"tip": 0, "tip_hash": "00" * 32, "ready_peers": 0}
EVENTS: list[events.Event] = [
    events.Transition(1, 1000.5, "filters", "waiting", "fail", "no-peer: gone", FACTS),
    events.Progress(1000.5, "blocks", 3, 10, 30.0, 12.345, None, 55.556),
    events.TransactionFound(7, 1000.5, b"\x01" + bytes(31), 9, (b"\x51",), 0, 150_000_000),
    events.TransactionLost(3, 1000.5, b"\x01" + bytes(31), 9, (b"\x51",), 0, 150_000_000),
    events.TransactionReturned(1000.5, b"\x01" + bytes(31), 11, 9),
    events.TransactionConflicted(1000.5, b"\x01" + bytes(31), b"\x02" + bytes(31)),
    events.TransactionSeen(1000.5, b"\x01" + bytes(31), (b"\x51",), 5, 0, True),
    events.TransactionDropped(1000.5, b"\x01" + bytes(31), "expired"),
    events.Rewound(1000.5, 20, 18),
    events.Warned(1000.5, "bad-filter", "peer [::1]:9999 banned"),
    events.Lagged(3),
]
MARKS = Watermarks(0, 5, bytes(32), 6, None, b"", -1, b"", -1, -1, 0, 0, 0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.create("simnet", datadir=tmp_path)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_is_a_line_of_the_schema(
    event: events.Event, check_line: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Event, time and the promised keys, in display order and rounded."""
    JsonLines().show(event)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    check_line(line)
    if isinstance(event, events.TransactionFound):
        assert line["txid"] == "00" * 31 + "01"
    if isinstance(event, events.Progress):
        assert (line["rate"], line["eta"], line["overall"]) == (12.3, None, 55.56)
    if isinstance(event, events.Lagged):
        assert line["code"] == "lagged"


def test_a_person_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything but progress is a line of its own."""
    for event in EVENTS:
        Lines().show(event)
    said = capsys.readouterr().out
    assert len(said.splitlines()) == len(EVENTS) - 1
    for words in ("Waiting for network: no-peer: gone", "at 9: -1.50000000 DASH", "from 20 to 18", "peer [::1]:9999"):
        assert words in said


def test_bars_move_and_stay(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar for each phase, lines for what matters above them, and the summary below."""
    bars = Bars(config)
    for event in EVENTS:
        bars.show(event)
    bars.show(events.Progress(1000.5, "headers", 100, 100, 100.0, 0.0, 0.0, 60.0))
    bars.close()
    bars.sum_up(_summary(config, Holdings(MARKS)))
    said = capsys.readouterr().out
    for words in ("Masternode lists", "3 of 10", "100 of 100", "peer [::1]:9999", "degraded: why"):
        assert words in said


def test_phases_left_out_have_no_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not wanted is not shown."""
    bars = Bars(Config.create("simnet", datadir=tmp_path, filters=False))
    bars.close()
    assert "Filters" not in capsys.readouterr().out


def test_every_state_has_a_name_for_people() -> None:
    """They are the names in the chart, but for the phases that are named in full."""
    leaves = {state.id: state.name for state in SyncChart.states_map.values() if not state.states}
    assert STATES.keys() == leaves.keys()
    assert told(events.Transition(1, 0.0, "a", "synced", "e", "", {})) == leaves["synced"] == "Fully synced"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("mnlist+cfheaders+filters_rest+blocks_rest", "Downloading masternode lists, filter headers"),
        ("mnlist_rest+cfheaders_rest+filters_rest+blocks_rest", ""),
    ],
)
def test_of_phases_beside_each_other_those_at_work_are_told(place: str, line: str) -> None:
    """While all are at rest there is nothing to say: they are about to begin, or have come to their end."""
    assert told(events.Transition(1, 0.0, "headers", place, "advance", "", {})) == line


def test_an_unreadable_store_is_summed_up_by_its_marks(config: Config, check_line: Callable[[Any], None]) -> None:
    """What was found is null, not empty, when nobody could look."""
    line = {"event": "summary", "time": 0.0, **_summary(config, Holdings(MARKS)).as_dict()}
    check_line(line)
    assert (line["height"], line["transactions"], line["balances"]) == (5, None, None)


def _summary(config: Config, held: Holdings) -> Summary:
    return Summary(config, Ending("degraded", "why\nnot", Code.DEGRADED), held, 1.0, {"headers": (5, 0.5)})


def test_what_peers_say_stays_on_one_line() -> None:
    """Line breaks and control characters cannot forge output."""
    assert one_line("a\nb\x1b[31mc") == "a b?[31mc"


def test_amounts_are_in_dash() -> None:
    """Eight places, exactly."""
    assert [dash(1), dash(-150_000_000), dash(5, sign="+")] == [
        "0.00000001 DASH",
        "-1.50000000 DASH",
        "+0.00000005 DASH",
    ]
