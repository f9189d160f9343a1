"""Journals of strangers: what is read is checked, what is refused is named, and nothing else ever happens."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.statecharts.catalogue import CHARTS
from phasegate.store import JournalRow
from phasegate.verification.journals import Journal
from phasegate.verification.recorded import LONGEST_LINE, MOST_NAMES, NotAJournal, Recorded
from phasegate.verification.replay import replay

FACTS = {
    "tip": 3, "tip_hash": "ab" * 32, "masternodes": None, "filter_headers": -1, "filters": -1, "matched": -1,
    "pending_blocks": 0, "ready_peers": 1, "agreed": True, "outstanding": 0, "tip_hint": False, "misgiving": "",
    "advice": None, "mn_floor": 2, "holding": ["peer_ready"],
}  # fmt: skip
LINE: dict[str, Any] = {
    "event": "transition", "time": 5.5, "row_id": 1, "from": "idle", "to": "headers", "trigger": "start", "reason": "",
    "facts": FACTS,
}  # fmt: skip
HEADER: dict[str, Any] = {
    "event": "journal", "time": 5, "chart": "sync", "fingerprint": "00" * 32, "version": "0.1", "network": "simnet",
    "first_row": 1,
}  # fmt: skip


def journal(*lines: Any) -> Journal:
    """A journal of these lines; bytes stand as they are."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
    return Journal(io.BytesIO(b"".join(raw)))


def refusal(*lines: Any) -> str:
    with pytest.raises(NotAJournal) as caught:
        list(journal(*lines).rows())
    return str(caught.value)


def changed(**changes: Any) -> dict[str, Any]:
    return {**LINE, **changes}


def facts(**changes: Any) -> dict[str, Any]:
    return changed(facts={**FACTS, **changes})


def lacking(key: str) -> dict[str, Any]:
    return {name: value for name, value in LINE.items() if name != key}


def test_a_line_is_read_as_it_stands() -> None:
    """Every key of it; keys that are not known are let pass."""
    row = Recorded.from_line(json.dumps(facts(weather="fine") | {"mood": [1, {}]}))
    assert (row.row_id, row.time, row.source, row.target, row.event) == (1, 5.5, "idle", "headers", "start")
    assert (row.holding, row.missing, row.facts["weather"]) == (frozenset({"peer_ready"}), 0, "fine")


def test_a_row_of_the_store_is_checked_too() -> None:
    """Facts that are damaged are named by the row."""
    good = JournalRow(7, 1.0, "idle", "headers", "start", "x (3 transitions before it were not stored)", "{}")
    assert (Recorded.from_row(good).row_id, Recorded.from_row(good).missing) == (7, 3)
    assert Recorded.from_row(good).holding is None
    with pytest.raises(NotAJournal, match="row 7: facts is no JSON"):
        Recorded.from_row(JournalRow(7, 1.0, "idle", "headers", "start", "", "{"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (lacking("row_id"), "has no row_id"),
        (lacking("facts"), "has no facts"),
        (changed(row_id=0), "row_id is not an integer from 1 on"),
        (changed(row_id=True), "row_id is not an integer from 1 on"),
        (changed(row_id=1 << 63), "row_id is not an integer from 1 on"),
        (changed(time=-1), "time is not a time"),
        (changed(time=1e300), "time is not a time"),
        (changed(time="now"), "time is not a time"),
        ({**changed(), "from": "a b"}, "from is not a name"),
        ({**changed(), "to": "x" * 65}, "to is not a name"),
        (changed(trigger="start\n"), "trigger is not a name"),
        (changed(reason=None), "reason is not a text"),
        (changed(facts=[]), "facts is not an object"),
        (changed(facts={f"{i}": i for i in range(MOST_NAMES + 1)}), "facts is not an object"),
        (facts(tip=1.5), "facts: tip is not an integer"),
        (facts(tip_hash="AB" * 32), "facts: tip_hash is not a hash"),
        (facts(masternodes="3"), "facts: masternodes is not an integer or null"),
        (facts(outstanding=-1), "facts: outstanding is not an integer from 0 on"),
        (facts(agreed=1), "facts: agreed is not true or false"),
        (facts(misgiving=None), "facts: misgiving is not a text"),
        (facts(advice=3), "facts: advice is not a text or null"),
        (facts(holding="sound"), "facts: holding is not a list of names"),
        (facts(holding=["sound", 3]), "facts: holding is not a list of names"),
        (facts(holding=["a"] * (MOST_NAMES + 1)), "facts: holding is not a list of names"),
        ([1], "is no JSON object"),
        (b"\n", "is no JSON"),
        (b'{"event": "transition"\n', "is no JSON"),
        (b"\xff\xfe\n", "is no JSON"),
        (b"[" * 100_000 + b"\n", "is no JSON"),
        (b'{"time": NaN}\n', "NaN is no number"),
        (b'{"time": 1, "time": 2}\n', "a key stands there twice"),
        (b'{"n": ' + b"9" * 5000 + b"}\n", "is no JSON"),
        (b'{"event": "transition", "reason": "' + b"x" * LONGEST_LINE, f"is longer than {LONGEST_LINE} bytes"),
        ({**HEADER, "first_row": 0}, "first_row is not an integer from 1 on"),
        ({**HEADER, "fingerprint": "0"}, "fingerprint is not a hash"),
        ({**HEADER, "network": "mainnet"}, "begins another journal"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_with_its_line(line: Any, said: str) -> None:
    """The third line of a journal, in one line of text."""
    text = refusal(HEADER, LINE, line)
    assert text.startswith("line 3")
    assert said in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("lines", [(), ({"event": "summary", "time": 1},), ({},)])
def test_without_any_transition_it_is_no_journal(lines: tuple[Any, ...]) -> None:
    """Unless it says that it is one."""
    assert refusal(*lines) == "there is no transition in it"
    assert list(journal(HEADER, *lines).rows()) == []


def test_a_last_line_that_is_cut_off_is_not_read() -> None:
    """Wherever it was cut; but only the last line, and not the only one."""
    whole = json.dumps(changed(row_id=2)).encode()
    for end in range(1, len(whole)):
        read = journal(LINE, whole[:end])
        assert [row.row_id for row in read.rows()] == [1]
        assert read.cut == 2
    read = journal(LINE, whole)
    assert [row.row_id for row in read.rows()] == [1, 2]
    assert read.cut is None
    assert refusal(LINE, whole[:-1] + b"\n").startswith("line 2 is no JSON")
    assert refusal(whole[:-1]).startswith("line 1 is no JSON")


def test_other_lines_are_passed_over() -> None:
    """However long the summary is; a warning of lag is kept with the transition that follows."""
    lag = {"event": "warning", "time": 1, "code": "lagged", "message": "3 events"}
    summary = b'{"event": "summary", "found": [' + b"1," * LONGEST_LINE + b"1]}\n"
    read = journal({"event": "progress"}, LINE, summary, lag, changed(row_id=2), HEADER, changed(row_id=3))
    rows = list(read.rows())
    assert [row.row_id for row in rows] == [1, 2, 3]
    assert [row.lagged for row in rows] == [False, True, False]
    assert len(read.headers) == 1


def test_where_a_journal_begins() -> None:
    """As it says itself, else with its first row."""
    assert journal(HEADER, changed(row_id=4)).begins == 1
    assert journal(changed(row_id=4), {**HEADER, "first_row": 5}).begins == 4
    assert journal(HEADER).begins == 1


def told_of(*lines: bytes) -> list[str]:
    """What is said of such a journal: breaches, or why it is none."""
    try:
        read = journal(*lines)
        outcome = replay(read.rows(), CHARTS["sync"], complete=False, first_row=read.begins)
    except NotAJournal as refused:
        return [str(refused)]
    return [breach.text for breach in outcome.breaches]


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
junk = (
    st.binary(max_size=60).map(lambda raw: raw + b"\n")
    | values.map(lambda value: json.dumps(value).encode() + b"\n")
    | st.tuples(st.sampled_from([*LINE]), values).map(
        lambda change: json.dumps({**LINE, change[0]: change[1]}).encode()
    )
    | st.tuples(st.sampled_from([*FACTS]), values).map(
        lambda change: json.dumps(facts(**{change[0]: change[1]})).encode()
    )
    | st.tuples(st.sampled_from([*HEADER]), values).map(lambda c: json.dumps({**HEADER, c[0]: c[1]}).encode())
    | st.just(json.dumps(LINE).encode() + b"\n")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(junk, max_size=4))
def test_junk_is_refused_or_replayed_and_nothing_else(lines: list[bytes]) -> None:
    """Whatever stands in the file: an outcome, or one line that says what is wrong."""
    assert all(len(text.splitlines()) == 1 for text in told_of(*lines))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_byte_changed_is_refused_or_replayed(data: st.DataObject) -> None:
    """A true line with one byte of it another."""
    raw = bytearray(json.dumps(LINE).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert all(len(text.splitlines()) == 1 for text in told_of(bytes(raw)))
