"""The exploration: the charts keep their laws, and what breaks a law is told as a shortest story."""

from __future__ import annotations

from math import prod
from time import process_time
from typing import Any

import attrs
import pytest
from statemachine import State

from phasegate.statecharts.anatomy import Anatomy, Arrow, Guard, build, read
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.explore import Report, verify
from phasegate.statecharts.law import Law, Response, respond
from phasegate.statecharts.law_peer import PEER
from phasegate.statecharts.law_sync import SYNC
from phasegate.statecharts.sync import SyncChart
from phasegate.statecharts.table import Table
from phasegate.statecharts.walk import Walk


class Door(Chart[Any]):
    """A user's own chart: a door that opens only with a key."""

    shut = State(initial=True)
    wide = State()
    gone = State(final=True)

    turn = shut.to(wide, cond="has_key") | wide.to(shut)
    burn = shut.to(gone) | wide.to(gone)


DOOR = Law(
    name="door",
    initial="shut",
    ends=frozenset({"gone"}),
    leaves=frozenset({"shut", "wide", "gone"}),
    goal="wide",
    guarded={"wide": ("has_key",)},
    responses=(
        *respond("shut", "turn", "has_key -> wide", "!has_key -> stay"),
        *respond("wide", "turn", "-> shut"),
        *respond("shut wide", "burn", "-> gone"),
    ),
)


def changed(tables: Anatomy, source: str, old_target: str, **changes: Any) -> Anatomy:
    """The tables with the first arrow from `source` to `old_target` changed."""
    place = next(i for i, arrow in enumerate(tables.arrows) if (arrow.source, arrow.target) == (source, old_target))
    arrow = attrs.evolve(tables.arrows[place], **changes)
    return attrs.evolve(tables, arrows=(*tables.arrows[:place], arrow, *tables.arrows[place + 1 :]))


def texts(report: Report) -> list[str]:
    return [violation.text for violation in report.violations]


def test_every_chart_keeps_its_law(ruled: Ruled) -> None:
    """Zero violations in every reachable configuration, and every leaf of the law is among them."""
    report = verify(ruled.chart, ruled.law)
    assert report.violations == ()
    beside = ruled.law.beside
    together = 0 if beside is None else prod(map(len, beside.regions)) - len(beside.leaves)
    assert report.configurations == len(ruled.law.leaves) + together
    assert report.edges > report.nodes


def test_all_charts_together_take_less_than_ten_seconds() -> None:
    """The proof is cheap enough to be run at every start of a day."""
    began = process_time()
    for ruled in CHARTS.values():
        verify(ruled.chart, ruled.law)
    assert process_time() - began < 10


def test_a_chart_of_a_user_has_its_own_law() -> None:
    """Law and exploration know nothing of synchronisation."""
    assert verify(Door, DOOR).violations == ()


def test_a_missing_guard_is_told_as_a_shortest_story() -> None:
    """The first story told has the fewest steps, with settings, answers and refusals in words."""
    wrong = build(changed(read(Door), "shut", "wide", guards=()))
    violation = next(
        v for v in verify(wrong, DOOR).violations if v.text == "wide is entered without a yes from has_key"
    )
    assert violation.story == "1. shut: turn -> wide"


def test_a_phase_that_is_off_is_never_entered() -> None:
    """Leaving out the filter switch shows filter headers being entered although filters are off."""
    guards = (Guard("mnlist_complete"),)
    report = verify(build(changed(read(SyncChart), "mnlist", "cfheaders", guards=guards)), SYNC)
    violation = next(v for v in report.violations if v.text == "cfheaders is entered although filters_enabled is off")
    assert violation.story.splitlines() == [
        "with filters_enabled off",
        "with mn_enabled on",
        "1. idle: start -> headers",
        "2. headers: advance [headers_complete, mn_enabled] -> mnlist",
        "3. mnlist: advance [mnlist_complete] -> cfheaders",
    ]


def test_a_phase_left_without_proof_does_not_count_as_complete() -> None:
    """Without its completion guard a phase is never proven, and each later phase is entered too early."""
    report = verify(build(changed(read(SyncChart), "filters", "blocks", guards=())), SYNC)
    assert "blocks is entered before filters is proven complete" in texts(report)
    assert "synced is entered before filters is proven complete" in texts(report)


def test_an_unasked_completion_guard_proves_nothing() -> None:
    """Another guard that says yes does not prove the phase that is left."""
    guards = (Guard("blocks_complete"),)
    report = verify(build(changed(read(SyncChart), "cfheaders", "filters", guards=guards)), SYNC)
    assert "filters is entered before cfheaders is proven complete" in texts(report)


def test_a_new_walk_proves_everything_again() -> None:
    """A recovery that jumps into the middle of the walk finds nothing proven."""
    report = verify(build(changed(read(SyncChart), "backoff", "headers", target="filters")), SYNC)
    assert {f"filters is entered before {phase} is proven complete" for phase in ("headers", "mnlist")} <= set(
        texts(report)
    )


def test_synced_needs_a_yes_that_all_is_complete() -> None:
    """Completion of the last phase alone does not lead to synced."""
    guards = (Guard("blocks_complete"),)
    report = verify(build(changed(read(SyncChart), "blocks", "synced", guards=guards)), SYNC)
    assert "synced is entered without a yes from all_enabled_complete" in texts(report)


def test_branches_that_may_hold_together_are_found() -> None:
    """A chart whose picture needs an order of reading is refused for exclusive events."""
    guards = (Guard("headers_complete"), Guard("filters_enabled"))
    report = verify(build(changed(read(SyncChart), "headers", "cfheaders", guards=guards)), SYNC)
    assert "advance in headers: the ways to mnlist and cfheaders may both hold" in texts(report)


def test_a_dead_end_is_found() -> None:
    """A state from which the goal cannot be reached is named."""
    tables = read(SyncChart)
    arrows = tuple(arrow for arrow in tables.arrows if arrow.event != "resume")
    stuck = verify(build(attrs.evolve(tables, arrows=arrows)), SYNC)
    assert "from paused there is no way to synced" in texts(stuck)


def test_an_event_unknown_to_the_law_must_not_move() -> None:
    """A transition that the law does not allow is named with its event."""
    tables = read(SyncChart)
    arrows = (*tables.arrows, Arrow("synced", "forget", "idle"))
    report = verify(build(attrs.evolve(tables, arrows=arrows)), SYNC)
    assert "forget moves synced, and no line of the law allows it" in texts(report)


def test_a_law_that_expects_too_much_is_found() -> None:
    """A line of the law that never happens is a violation, so the law cannot go stale."""
    law = attrs.evolve(PEER, responses=(*PEER.responses, Response("closed", "connected", (), "ready")))
    assert "connected in closed never happens, though the law has it" in texts(verify(CHARTS["peer"].chart, law))


def test_ends_of_chart_and_law_are_the_same() -> None:
    """A leaf that the law calls an end, and the chart does not, is found."""
    law = attrs.evolve(DOOR, ends=frozenset({"gone", "wide"}))
    assert "wide is no end, against the law" in texts(verify(Door, law))


def test_a_chart_that_begins_elsewhere_is_found() -> None:
    """The law names where the chart begins."""
    assert "the chart begins in shut, not in wide" in texts(verify(Door, attrs.evolve(DOOR, initial="wide")))


def test_states_that_the_law_does_not_name_are_found() -> None:
    """A leaf that is missing in the law makes its configuration ill-formed."""
    law = attrs.evolve(DOOR, leaves=frozenset({"shut", "gone"}))
    assert any("ill-formed ['wide']" in text for text in texts(verify(Door, law)))


def test_only_guards_that_are_asked_branch() -> None:
    """Every valuation of the guards asked is tried once, and no other."""
    switches = {"mn_enabled": True, "filters_enabled": True}
    walk = Walk(Table(read(SyncChart), switches), SYNC, switches)
    assert len(list(walk.explore())) == len(walk.edges)
    phase = next(node for node in walk.nodes if "blocks" in node.configuration)
    tried = [edge.step.answers for edge in walk.edges if edge.source == phase and edge.step.event == "fail"]
    advice = ("wait_advised", "retry_advised", "restart_advised", "switch_advised")
    ladder = [tuple((name, i == at) for i, name in enumerate(advice[: at + 1])) for at in range(4)]
    assert sorted(tried) == sorted([*ladder, tuple((name, False) for name in advice)])


def test_a_line_of_the_law_without_target_is_refused() -> None:
    """A mistyped line does not become a rule."""
    for line in ("guard", "guard -> one two", "guard ->"):
        with pytest.raises(ValueError, match="does not read"):
            respond("leaf", "event", line)


def test_laws_answer_each_question_once(ruled: Ruled) -> None:
    """No two lines of a law give answers to the same leaf, event and guards, and all name known leaves."""
    cases = [(line.leaf, line.event, line.answers) for line in ruled.law.responses]
    assert len(cases) == len(set(cases))
    named = {line.leaf for line in ruled.law.responses} | {line.target for line in ruled.law.responses if line.target}
    assert named <= ruled.law.leaves | ({ruled.law.beside.state} if ruled.law.beside else set())


def test_a_law_that_names_what_is_not_there_is_found(ruled: Ruled) -> None:
    """A misspelt name would switch its clause off; each part of a law that has names is looked at."""
    law = ruled.law
    odd: dict[str, Any] = {
        "goal": "nowhere",
        "requires": {"nowhere": ()},
        "completed_by": {"nowhere": "nothing"},
        "guarded": {law.goal: ("nothing",)},
        "leads": {"never": frozenset({"nowhere"})},
        "everywhere": frozenset({"never"}),
        "exclusive": frozenset({"never"}),
        "runs": {law.initial: "nothing"},
        "returns": {"nothing": "never"},
        "onward": frozenset({"never"}),
        "bad_news": frozenset({"nothing"}),
    }
    assert [v for v in verify(ruled.chart, law).violations if v.law == "names"] == []
    for part, value in odd.items():
        told = [v.text for v in verify(ruled.chart, attrs.evolve(law, **{part: value})).violations if v.law == "names"]
        assert told, part


def test_a_goal_that_is_left_though_nothing_is_wrong_is_found() -> None:
    """Going round in a circle through the goal is no end: what makes `synced` be left has to be called bad news."""
    report = verify(SyncChart, attrs.evolve(SYNC, bad_news=frozenset()))
    assert "synced is left, though nothing is wrong" in texts(report)
