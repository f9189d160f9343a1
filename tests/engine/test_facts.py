"""What the guards answer: each completion predicate is false as soon as one item of it is missing."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given

from phasegate.engine.facts import GUARDS, Facts, FactsModel, strategy_of
from phasegate.engine.recovery import Strategy
from phasegate.statecharts.sync import SyncChart, SyncFacts
from phasegate.store import Watermarks
from tests.sample_facts import DONE, STORED, any_facts

COMPLETIONS = ("headers_complete", "mnlist_complete", "cfheaders_complete", "filters_complete", "blocks_complete")
MARKS = tuple(field.name for field in attrs.fields(Watermarks))


def changed(**changes: Any) -> Facts:
    """The facts of a finished sync with some things otherwise."""
    marks = {name: value for name, value in changes.items() if name in MARKS}
    facts = {name: value for name, value in changes.items() if name not in MARKS}
    return attrs.evolve(DONE, marks=attrs.evolve(STORED, **marks), **facts)


def false_guards(facts: Facts) -> set[str]:
    """Those of the completion predicates that do not hold."""
    return {name for name in (*COMPLETIONS, "all_enabled_complete") if not getattr(facts, name)}


def protocol_names() -> set[str]:
    return {name for name in dir(SyncFacts) if isinstance(getattr(SyncFacts, name), property)}


def test_the_guards_are_those_of_the_chart() -> None:
    """The table, the protocol and what the chart's transitions name are one and the same set."""
    named = {str(cond) for state in SyncChart.states_map.values() for t in state.transitions for cond in t.cond}
    assert set(GUARDS) == protocol_names() == {name.removeprefix("not ").removeprefix("!") for name in named}
    assert len(GUARDS) == len(set(GUARDS))


@pytest.mark.parametrize("guard", GUARDS)
def test_each_guard_is_answered_from_the_snapshot_of_the_step(guard: str) -> None:
    """On the class, where the library looks for it; a new snapshot changes the answer, nothing else does."""
    assert isinstance(vars(FactsModel)[guard], property)
    model = FactsModel(DONE)
    for facts in (DONE, changed(mn_enabled=False, filters_enabled=False, ready_peers=0, tip=101)):
        model.facts = facts
        assert getattr(model, guard) is getattr(facts, guard)
        assert isinstance(getattr(model, guard), bool)


def test_a_finished_sync_has_every_phase_complete() -> None:
    """The facts that the truth tables below start from."""
    assert false_guards(DONE) == set()
    assert not DONE.work_left


ALL = {*COMPLETIONS, "all_enabled_complete"}
NOT_FILTERS = {"filters_complete", "blocks_complete", "all_enabled_complete"}
NOT_CFHEADERS = {"cfheaders_complete", *NOT_FILTERS}
NOT_MNLIST = {"mnlist_complete", "all_enabled_complete"}


def label(value: dict[str, Any] | set[str]) -> str:
    """A name for a row of the table that is the same in every run, as the order of a set is not."""
    if isinstance(value, dict):
        return ",".join(
            [f"{name}={mark.hex()[:4] if isinstance(mark, bytes) else mark}" for name, mark in value.items()]
        )
    return "+".join(sorted(value))


@pytest.mark.parametrize(
    ("change", "incomplete"),
    [
        ({"outstanding": 1}, ALL),
        ({"ready_peers": 0}, {"headers_complete"}),
        ({"agreed": False}, {"headers_complete"}),
        ({"work": 999}, {"headers_complete", "all_enabled_complete"}),
        ({"tip": 101}, ALL - {"headers_complete"}),
        ({"tip": 99}, ALL - {"headers_complete"}),
        ({"masternodes": None, "masternodes_hash": b""}, NOT_MNLIST),
        ({"masternodes": 99}, NOT_MNLIST),
        ({"masternodes_hash": bytes(32)}, NOT_MNLIST),
        ({"quorums": 9, "quorums_unjudged": 1}, NOT_MNLIST),
        ({"filter_headers": 99}, NOT_CFHEADERS),
        ({"filter_headers": -1, "filters": -1, "matched": -1}, NOT_CFHEADERS),
        ({"filters": 99, "matched": 99}, NOT_FILTERS),
        ({"matched": 99}, NOT_FILTERS),
        ({"matched": -1}, NOT_FILTERS),
        ({"pending_blocks": 1}, {"blocks_complete", "all_enabled_complete"}),
    ],
    ids=label,
)
def test_one_missing_item_is_enough(change: dict[str, Any], incomplete: set[str]) -> None:
    """Exactly the phases that need the item are incomplete, and with them the whole; then work is left."""
    facts = changed(**change)
    assert false_guards(facts) == incomplete
    assert facts.work_left == ("all_enabled_complete" in incomplete)


def test_what_is_not_wanted_is_not_missed() -> None:
    """Without masternode lists and filters the headers alone make it complete."""
    nothing = {"masternodes": None, "masternodes_hash": b"", "filter_headers": -1, "filters": -1, "matched": -1}
    assert changed(**nothing, mn_enabled=False, filters_enabled=False).all_enabled_complete
    assert not changed(**nothing, mn_enabled=False).all_enabled_complete
    assert not changed(**nothing, filters_enabled=False).all_enabled_complete


def test_a_pending_block_counts_only_with_filters() -> None:
    """A watch item of an earlier run does not hold up a client that wants no filters now."""
    assert changed(pending_blocks=3, filters_enabled=False).all_enabled_complete


@pytest.mark.parametrize(("tip", "complete"), [(1, True), (2, False), (3, False)])
def test_below_dip3_there_is_no_list_to_have(tip: int, complete: bool) -> None:
    """The first height with a masternode root is the floor itself."""
    marks = {"tip": tip, "filter_headers": tip, "filters": tip, "matched": tip}
    facts = changed(**marks, mn_floor=2, masternodes=None, masternodes_hash=b"")
    assert facts.mnlist_complete == facts.all_enabled_complete == complete


def test_a_list_of_the_same_height_on_another_branch_does_not_count() -> None:
    """Height alone proves nothing after a reorganisation."""
    assert not changed(tip_hash=bytes(32)).mnlist_complete


def test_a_hint_is_work_left_even_when_all_is_complete() -> None:
    """The walk it leads to finds out whether there was something to it."""
    facts = changed(tip_hint=True)
    assert facts.all_enabled_complete
    assert facts.work_left


@pytest.mark.parametrize("advice", [*Strategy, None], ids=str)
def test_at_most_one_advice_holds(advice: Strategy | None) -> None:
    """The policy's word is one guard; degrading is the chart's last, unguarded branch."""
    facts = changed(advice=advice)
    holding = {name.removesuffix("_advised") for name in GUARDS if name.endswith("_advised") and getattr(facts, name)}
    assert holding == ({advice.value} if advice and advice is not Strategy.DEGRADE else set())


settled_facts = any_facts.map(partial(attrs.evolve, lists_open=False, claims_open=False))
"""What a phase still wants beside what is stored to the tip keeps that phase open, and nothing else."""


@given(settled_facts)
def test_complete_as_a_whole_means_complete_in_every_enabled_part(facts: Facts) -> None:
    """And the other way round, but for what only the peers of the moment can say of the headers."""
    parts = [facts.enough_work, facts.outstanding == 0]
    parts += [facts.mnlist_complete] * facts.mn_enabled
    parts += [facts.cfheaders_complete, facts.filters_complete, facts.blocks_complete] * facts.filters_enabled
    assert facts.all_enabled_complete == all(parts)


@given(settled_facts)
def test_a_later_phase_is_never_complete_before_an_earlier_one_that_it_stands_on(facts: Facts) -> None:
    """Blocks stand on filters, filters on filter headers."""
    assert facts.blocks_complete <= facts.filters_complete <= facts.cfheaders_complete


@given(any_facts)
def test_headers_are_never_complete_without_a_peer_that_says_so(facts: Facts) -> None:
    """Nobody there, or nobody asked: the tip may be old."""
    assert facts.headers_complete <= (facts.ready_peers > 0 and facts.agreed and facts.outstanding == 0)


def test_the_journal_gets_plain_values() -> None:
    """They survive JSON as they are, the tip's hash in display order."""
    written = changed(advice=Strategy.WAIT, masternodes=None).as_dict()
    assert json.loads(json.dumps(written)) == written
    assert (written["tip_hash"][:4], written["advice"], written["masternodes"]) == ("1f1e", "wait", None)
    assert written["mn_floor"] == 2
    assert [strategy_of(facts.as_dict()) for facts in (DONE, changed(under_way={}))] == ["sequential", "interleaved"]


@given(any_facts)
def test_the_journal_gets_every_answer(facts: Facts) -> None:
    """The guards that say yes, sorted; whoever is not named says no."""
    holding = facts.as_dict()["holding"]
    assert holding == sorted(holding)
    assert {guard: guard in holding for guard in GUARDS} == {guard: getattr(facts, guard) for guard in GUARDS}


def test_facts_cannot_be_changed() -> None:
    """A snapshot is a snapshot."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        DONE.outstanding = 3  # type: ignore[misc]
