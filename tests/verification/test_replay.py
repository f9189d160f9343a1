"""A journal run again: a true one keeps the law, and whatever is changed in it is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest

from phasegate.cli.output import journal_line
from phasegate.statecharts.anatomy import build, read
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.fingerprint import fingerprint
from phasegate.statecharts.law_sync import SYNC
from phasegate.statecharts.sync import SyncChart
from phasegate.store import JournalRow
from phasegate.verification.recorded import Recorded
from phasegate.verification.replay import Article, Replay
from phasegate.verification.replay import replay as run_again

RULED = CHARTS["sync"]
Rows = tuple[Recorded, ...]
Change = Callable[[Rows], Rows]


@pytest.fixture(scope="session")
def rows(lived: tuple[JournalRow, ...]) -> Rows:
    """The journal of `conftest`, all of it."""
    return tuple(map(Recorded.from_row, lived))


def replay(rows: Sequence[Recorded], ruled: Ruled = RULED, **options: Any) -> Replay:
    return run_again(rows, ruled, **options)


def broken(outcome: Replay) -> set[tuple[int, str]]:
    """Row and article of each breach, the article by its name."""
    return {(breach.row_id, breach.law.value) for breach in outcome.breaches}


# -- what can be done to a journal ----------------------------------------------------------------------------------


def row(at: int, **changes: Any) -> Change:
    """The row with id `at` otherwise; names of facts change those."""
    own = {name: value for name, value in changes.items() if name in attrs.fields_dict(Recorded)}
    facts = {name: value for name, value in changes.items() if name not in own}

    def change(rows: Rows) -> Rows:
        old = rows[at - 1]
        return (*rows[: at - 1], attrs.evolve(old, facts={**old.facts, **facts}, **own), *rows[at:])

    return change


def answering(at: int, *no: str, yes: Sequence[str] = ()) -> Change:
    """The row `at` with other answers of its guards."""
    return lambda rows: row(at, holding=sorted({*rows[at - 1].facts["holding"], *yes} - {*no}))(rows)


def without(first: int, last: int) -> Change:
    """These rows gone, and nobody says so."""
    return lambda rows: (*rows[: first - 1], *rows[last:])


def seamless(first: int, last: int) -> Change:
    """These rows gone, and the ids of those behind closed up."""
    gone = last - first + 1

    def change(rows: Rows) -> Rows:
        return (*rows[: first - 1], *[attrs.evolve(r, row_id=r.row_id - gone) for r in rows[last:]])

    return change


def all_of(*changes: Change) -> Change:
    def change(rows: Rows) -> Rows:
        for one in changes:
            rows = one(rows)
        return rows

    return change


def old(rows: Rows) -> Rows:
    """As an earlier version wrote them: without the answers of the guards and the floor of masternode lists."""
    kept = [{key: value for key, value in r.facts.items() if key not in ("holding", "mn_floor")} for r in rows]
    return tuple(attrs.evolve(r, facts=facts) for r, facts in zip(rows, kept, strict=True))


# -- the true journal -----------------------------------------------------------------------------------------------


def test_a_true_journal_keeps_the_law(rows: Rows) -> None:
    """With new blocks, a reorganisation, recovery, pause, restarts, a kill and other settings in it."""
    outcome = replay(rows)
    assert outcome.breaches == ()
    assert (outcome.rows, outcome.restarts, outcome.walks, outcome.completed) == (52, 3, 9, 7)
    assert (outcome.gaps, outcome.missing, outcome.unstored, outcome.clock_back, outcome.unjudged) == (0, 0, 0, 0, 0)
    assert {r.event for r in rows} == {"start", "advance", "rewalk", "fail", "recover", "pause", "resume", "stop"}
    assert {r.target for r in rows} >= {"waiting", "paused", "degraded", "stopped", "synced"}
    assert (rows[41].target, rows[42].source) == ("cfheaders", "idle")  # killed


def test_lines_and_rows_are_the_same(lived: tuple[JournalRow, ...], rows: Rows) -> None:
    """What `history --json` prints is read as what the store holds."""
    for stored, expected in zip(lived, rows, strict=True):
        line = json.dumps({"event": "transition", "time": stored.time, **journal_line(stored)})
        assert Recorded.from_line(line) == Recorded.from_line(line.encode()) == expected


def test_rows_without_answers_are_judged_by_all_that_is_possible(rows: Rows) -> None:
    """An old journal keeps the law, the order of its phases too; a step that no answers allow does not."""
    outcome = replay(old(rows))
    assert (outcome.breaches, outcome.unjudged) == ((), 0)
    wrong = all_of(old, row(6, source="filters"), row(5, target="filters", source="cfheaders", event="advance"))
    assert (5, "continuity") in broken(replay(wrong(rows)))
    assert broken(replay(all_of(old, row(39, event="pause"))(rows))) == {(39, "chart"), (39, "response")}


def test_an_old_journal_that_skips_a_phase_is_found(rows: Rows) -> None:
    """From headers to filter headers there is a way, but only for whom masternode lists are off."""
    skipped = all_of(old, row(8, target="cfheaders"), seamless(9, 9))
    assert broken(replay(skipped(rows))) == {(8, "enabling"), (13, "enabling")}  # off, and on again in the next walk


# -- each article broken by a change of the journal ------------------------------------------------------------------

CASES: Mapping[str, tuple[Change, set[tuple[int, str]]]] = {
    "a row lost": (without(10, 10), {(11, "continuity")}),
    "the first row lost": (without(1, 1), {(2, "continuity")}),
    "several lost, with a restart": (without(38, 40), {(41, "continuity")}),
    "a row twice": (lambda rows: (*rows[:10], *rows[9:]), {(10, "continuity")}),
    "a hole closed up": (seamless(9, 9), {(9, "continuity")}),
    "a step after the end": (seamless(40, 40), {(40, "continuity")}),
    "a step out of the end": (
        row(40, source="stopped"),
        {(40, "continuity"), (40, "chart"), (40, "response")},
    ),
    "a beginning in the middle": (
        all_of(without(1, 1), lambda rows: tuple(attrs.evolve(r, row_id=r.row_id - 1) for r in rows)),
        {(1, "continuity")},
    ),
    "not complete, left all the same": (
        answering(2, "headers_complete"),
        {(2, "chart"), (2, "response"), (2, "ordering")},
    ),
    "another leaf entered": (
        row(4, target="blocks"),
        {(4, "chart"), (4, "response"), (4, "ordering"), (5, "continuity")},
    ),
    "another event": (row(32, event="stop"), {(32, "chart"), (32, "response")}),
    "an event of no chart": (row(32, event="sleep"), {(32, "chart")}),
    "a leaf of no chart": (row(32, target="asleep"), {(32, "chart"), (33, "continuity")}),
    "a switch turned": (answering(3, "mn_enabled"), {(3, "enabling"), (4, "enabling")}),
    "a phase that is off": (
        all_of(*[answering(at, "filters_enabled") for at in range(1, 40)]),
        {(at, law) for at in (3, 9, 15, 21, 28, 35) for law in ("enabling", "chart", "response")}
        | {(at + i, "enabling") for at in (3, 9, 15, 21, 28, 35) for i in (1, 2)},
    ),
    "unsound, synced all the same": (
        answering(6, "sound"),
        {(6, "chart"), (6, "response"), (6, "guarded"), (6, "evidence")},
    ),
    "requests under way": (row(2, outstanding=1), {(2, "evidence")}),
    "nobody asked": (row(2, agreed=False), {(2, "evidence")}),
    "a list of another height": (row(3, masternodes=99), {(3, "evidence")}),
    "a fall of what is stored": (row(10, filters=5000), {(11, "evidence")}),
    "a target that moves": (row(10, tip_hash="00" * 32), {(10, "evidence"), (11, "evidence")}),
    "an answer against the facts": (answering(1, yes=["filters_complete"]), {(1, "evidence")}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_changed_is_found_and_named(rows: Rows, name: str) -> None:
    """The row and the articles, and nothing else is blamed; each text is one line."""
    change, expected = CASES[name]
    outcome = replay(change(rows))
    assert broken(outcome) == expected
    assert all(breach.text and len(breach.text.splitlines()) == 1 for breach in outcome.breaches)


def test_every_article_is_broken_by_some_change() -> None:
    """None of the seven is there for nothing."""
    assert {law for _, found in CASES.values() for _, law in found} == set(Article) == set(map(str, Article))


def test_the_text_says_what_is_wrong(rows: Rows) -> None:
    """In words that somebody who reads a bug report can act on."""
    texts = [breach.text for name in ("a row lost", "not complete, left all the same") for breach in
             replay(CASES[name][0](rows)).breaches]  # fmt: skip
    assert texts == [
        "row 10 is lost",
        "advance in headers [!headers_complete] is refused, it does not lead to mnlist",
        "by the law advance in headers [!headers_complete] is refused, not to mnlist",
        "mnlist is entered before headers is proven complete",
    ]


def test_no_row_can_be_lost_unnoticed(rows: Rows) -> None:
    """Each row but the last, taken out alone, is missed by the one behind it."""
    for at in range(1, len(rows)):
        found = broken(replay(without(at, at)(rows)))
        assert (at + 1, "continuity") in found


def test_no_target_can_be_another_leaf(rows: Rows) -> None:
    """Each row led to each other leaf is refused by the chart."""
    for at, r in enumerate(rows, 1):
        for leaf in SYNC.leaves - {r.target}:
            assert (at, "chart") in broken(replay(row(at, target=leaf)(rows)))


def test_no_answer_that_was_asked_can_be_another(rows: Rows) -> None:
    """Each guard that the chart asked, answered the other way round, leads elsewhere."""
    lines = {(line.leaf, line.event, line.target, line.answers) for line in SYNC.responses}
    flipped = 0
    for at, r in enumerate(rows, 1):
        holding = r.holding or frozenset()
        for leaf, event, target, answers in lines:
            fits = (leaf, event, target) == (r.source, r.event, r.target)
            if fits and all((name in holding) is answer for name, answer in answers):
                for name, answer in answers:
                    change = answering(at, name) if answer else answering(at, yes=[name])
                    assert (at, "chart") in broken(replay(change(rows)))
                    flipped += 1
    assert flipped > 70


# -- chart and law, one against the other ----------------------------------------------------------------------------


def test_the_chart_itself_is_asked(rows: Rows) -> None:
    """A chart that goes elsewhere than the journal breaks `chart`; the law has nothing against the journal."""
    anatomy = read(SyncChart)
    place = next(i for i, arrow in enumerate(anatomy.arrows) if (arrow.source, arrow.event) == ("paused", "resume"))
    led = attrs.evolve(anatomy.arrows[place], target="waiting")
    wronged = build(attrs.evolve(anatomy, arrows=(*anatomy.arrows[:place], led, *anatomy.arrows[place + 1 :])))
    assert broken(replay(rows, Ruled(wronged, SYNC))) == {(33, "chart")}


def test_the_law_itself_is_asked(rows: Rows) -> None:
    """A law that says otherwise than the journal is broken, though the chart goes there."""
    silent = attrs.evolve(SYNC, responses=tuple(line for line in SYNC.responses if line.event != "resume"))
    (breach,) = replay(rows, Ruled(SyncChart, silent)).breaches
    assert (breach.row_id, breach.law, breach.text) == (33, "response", "no line of the law allows resume in paused")
    strict = attrs.evolve(SYNC, requires={**SYNC.requires, "mnlist": ("headers", "blocks")})
    entered = {(r.row_id, "ordering") for r in rows if r.target == "mnlist" and "filters_enabled" in r.facts["holding"]}
    assert broken(replay(rows, Ruled(SyncChart, strict))) == entered
    wary = attrs.evolve(SYNC, guarded={"paused": ("peer_ready",)})
    assert broken(replay(rows, Ruled(SyncChart, wary))) == {(32, "guarded")}


def test_a_chart_without_facts_is_judged_without_evidence() -> None:
    """The peer chart, whose law has no phases: its steps, its guard, its end."""
    steps = [("connecting", "handshaking", "connected"), ("handshaking", "ready", "greeted"),
             ("ready", "closing", "lost"), ("closing", "closed", "done")]  # fmt: skip
    made = [
        Recorded(at, at, source, target, event, "", {"holding": ["acceptable"]})
        for at, (source, target, event) in enumerate(steps, 1)
    ]
    outcome = replay(made, CHARTS["peer"])
    assert (outcome.breaches, outcome.completed, outcome.unjudged) == ((), 1, 0)
    made[1] = attrs.evolve(made[1], facts={"holding": []})
    assert broken(replay(made, CHARTS["peer"])) == {(2, "chart"), (2, "response"), (2, "guarded")}


# -- what cannot be known --------------------------------------------------------------------------------------------


def test_a_trimmed_journal_is_judged_from_its_first_walk_on(rows: Rows) -> None:
    """Until then proofs are unknown: rows are counted, not blamed; a journal said to be complete is."""
    trimmed = rows[8:]
    outcome = replay(trimmed, complete=False)
    assert (outcome.breaches, outcome.rows, outcome.unjudged) == ((), 44, 4)
    assert broken(replay(trimmed)) == {(9, "continuity")}
    assert broken(replay(trimmed, complete=False, first_row=7)) == {(9, "continuity")}
    later = replay(answering(14, "headers_complete")(rows)[8:], complete=False)
    assert (14, "ordering") in broken(later)


def test_a_gap_that_the_journal_tells_of_is_no_breach(rows: Rows) -> None:
    """It may go on anywhere, and proofs are unknown until the next walk."""
    gone = seamless(9, 10)(rows)
    told = row(9, reason="why (2 transitions before it were not stored)")(gone)
    assert (9, "continuity") in broken(replay(gone))
    outcome = replay(told)
    assert (outcome.breaches, outcome.gaps, outcome.missing, outcome.unjudged) == ((), 1, 2, 2)


def test_rows_that_a_slow_log_dropped_are_no_breach(rows: Rows) -> None:
    """Whoever wrote the log said that it lagged; if no row is missing after all, nothing is unknown."""
    outcome = replay(row(9, lagged=True)(rows))
    assert (outcome.breaches, outcome.gaps, outcome.unjudged) == ((), 0, 0)
    lagging = all_of(row(11, lagged=True), without(9, 10))
    outcome = replay(lagging(rows))
    assert (outcome.breaches, outcome.gaps, outcome.missing, outcome.unjudged) == ((), 1, 2, 2)


def test_ids_are_used_again_when_a_restart_found_rows_not_stored(rows: Rows) -> None:
    """A log has rows that were told before a power cut and never stored; elsewhere an id never goes back."""
    again = (*rows[:42], *[attrs.evolve(r, row_id=r.row_id - 2) for r in rows[42:]])
    outcome = replay(again)
    assert (outcome.breaches, outcome.unstored, outcome.restarts) == ((), 2, 3)
    again = (*rows[:20], *[attrs.evolve(r, row_id=r.row_id - 2) for r in rows[20:]])
    assert broken(replay(again)) == {(19, "continuity")}


def test_a_clock_that_goes_back_is_counted(rows: Rows) -> None:
    """Clocks are set; that breaks no law."""
    outcome = replay(row(20, time=0.0)(rows))
    assert (outcome.breaches, outcome.clock_back) == ((), 1)


def test_facts_that_were_not_recorded_are_counted(rows: Rows) -> None:
    """A row without a height cannot be held against it."""
    lacking = {key: value for key, value in rows[2].facts.items() if key != "masternodes"}
    outcome = replay((*rows[:2], attrs.evolve(rows[2], facts=lacking), *rows[3:]))
    assert (outcome.breaches, outcome.unjudged) == ((), 1)


def test_another_chart_is_told_and_judged_all_the_same(rows: Rows) -> None:
    """By the fingerprint; who does not know it says nothing of it."""
    assert replay(rows, fingerprint=fingerprint(SyncChart)).foreign is False
    assert replay(rows).foreign is None
    outcome = replay(without(10, 10)(rows), fingerprint="00" * 32)
    assert (outcome.foreign, broken(outcome)) == (True, {(11, "continuity")})


def test_nothing_recorded_is_a_journal_too() -> None:
    """Of a store that has never run."""
    assert replay([]) == Replay(0, 0, 0, 0, 0, 0, 0, 0, 0, None, ())


def test_the_chart_is_asked_once_whatever_the_number_of_journals(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second replay sends no event at all to the chart, so thousands of short journals cost little."""
    before = replay(rows)
    monkeypatch.setattr(SyncChart, "send", None)
    assert replay(rows) == before
