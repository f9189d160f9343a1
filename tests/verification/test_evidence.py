"""The table of what recorded facts must say, held against the guards that it shares no code with."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.engine.facts import GUARDS, Facts
from phasegate.statecharts.law import Beside
from phasegate.statecharts.law_interleaved import INTERLEAVED
from phasegate.statecharts.law_sync import SYNC
from phasegate.statecharts.places import place
from phasegate.verification import evidence
from phasegate.verification.evidence import ENTERING, LEAVING, WATERMARKS, examine, moved_back
from tests.sample_facts import DONE, any_facts

BOTH = frozenset({"mn_enabled", "filters_enabled"})


def against(source: str, target: str, facts: dict[str, Any], event: str = "advance") -> tuple[str, ...]:
    """What speaks against a step of a journal that has no answers of the guards."""
    told = {key: value for key, value in facts.items() if key != "holding"}
    return examine(source, event, target, told, None, BOTH).against


@given(any_facts)
def test_what_the_engine_answers_is_never_contradicted(facts: Facts) -> None:
    """Whatever the facts are, the table finds nothing against the guards' own answers."""
    written = json.loads(json.dumps(facts.as_dict()))
    finding = examine("idle", "start", "headers", written, frozenset(written["holding"]), frozenset())
    assert (finding.against, finding.whole) == ((), True)


@given(any_facts)
def test_no_step_that_the_law_allows_is_contradicted(facts: Facts) -> None:
    """Each line of the law whose answers are those of the facts, whatever they are."""
    written, holding = facts.as_dict(), frozenset(facts.as_dict()["holding"])
    enabled = holding & BOTH
    for line in SYNC.responses:
        if line.target is not None and all((name in holding) is answer for name, answer in line.answers):
            assert examine(line.leaf, line.event, line.target, written, holding, enabled).against == ()


def beside(facts: Facts) -> Facts:
    """The same where phases run beside each other, and what is asked for is asked by one of them."""
    return attrs.evolve(facts, under_way={"filters": facts.outstanding} if facts.outstanding else {})


def whereabouts(leaf: str, regions: Beside) -> tuple[str, ...]:
    """The leaves of a place in which `leaf` is active, and all other regions have just been entered."""
    if leaf not in regions.leaves:
        return regions.begin if leaf == regions.state else (leaf,)
    return tuple(leaf if leaf in region else region[0] for region in regions.regions)


@given(any_facts.map(beside))
def test_nor_is_what_it_answers_for_regions(facts: Facts) -> None:
    """Whatever the facts are; nor any step that the law of the interleaved chart allows a region, or all of them."""
    written = json.loads(json.dumps(facts.as_dict()))
    holding = frozenset(written["holding"])
    finding = examine("idle", "start", "headers", written, holding, frozenset())
    assert (finding.against, finding.whole) == ((), True)
    regions = INTERLEAVED.beside
    assert regions is not None
    for line in INTERLEAVED.responses:
        if line.target is not None and all((name in holding) is answer for name, answer in line.answers):
            source, target = whereabouts(line.leaf, regions), whereabouts(line.target, regions)
            assert examine(place(source), line.event, place(target), written, holding, holding & BOTH).against == ()


@pytest.mark.parametrize(
    ("source", "target", "change"),
    [
        ("mnlist", "mnlist_rest", {"masternodes": 99}),
        ("mnlist", "mnlist_rest", {"under_way": {"mnlist": 1}}),
        ("cfheaders", "cfheaders_rest", {"filter_headers": 99}),
        ("cfheaders", "cfheaders_rest", {"under_way": {"cfheaders": 1}}),
        ("filters", "filters_rest", {"filters": 99, "matched": 99}),
        ("blocks", "blocks_rest", {"pending_blocks": 1}),
    ],
)
def test_a_region_is_left_only_when_the_facts_say_so(source: str, target: str, change: dict[str, Any]) -> None:
    """What another region still does is none of its business."""
    facts = {**beside(DONE).as_dict(), "outstanding": 1, "under_way": {"others": 1}}
    ways = f"{source}+rest", f"{target}+rest"
    assert against(*ways, facts) == ()
    assert len(against(*ways, {**facts, **change})) == 1
    assert against(*ways, {**facts, **change}, event="fail") == ()


@given(any_facts, st.sampled_from(("filters_complete", "blocks_complete", "sound", "peer_ready", "wait_advised",
                                   "retry_advised", "restart_advised", "switch_advised")))  # fmt: skip
def test_an_answer_that_the_facts_decide_cannot_be_another(facts: Facts, guard: str) -> None:
    """Turned round, in either direction, it is contradicted."""
    written = facts.as_dict()
    turned = frozenset(written["holding"]) ^ {guard}
    assert examine("idle", "start", "headers", written, turned, frozenset()).against


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("headers", {"agreed": False}),
        ("headers", {"ready_peers": 0}),
        ("headers", {"outstanding": 1}),
        ("mnlist", {"masternodes": 99}),
        ("mnlist", {"masternodes": None}),
        ("mnlist", {"outstanding": 1}),
        ("cfheaders", {"filter_headers": 99}),
        ("cfheaders", {"filter_headers": 101}),
        ("cfheaders", {"outstanding": 1}),
        ("filters", {"filter_headers": 99}),
        ("filters", {"filters": 99}),
        ("filters", {"matched": 99}),
        ("filters", {"outstanding": 1}),
        ("blocks", {"filter_headers": 99}),
        ("blocks", {"filters": 99}),
        ("blocks", {"matched": 99}),
        ("blocks", {"pending_blocks": 1}),
        ("blocks", {"outstanding": 1}),
    ],
)
def test_a_phase_is_left_only_when_the_facts_say_so(source: str, change: dict[str, Any]) -> None:
    """Each single thing that is missing speaks against the step, and against no step but `advance`."""
    facts = DONE.as_dict()
    assert against(source, "headers", facts) == ()
    (found,) = against(source, "headers", {**facts, **change})  # wherever it leads
    assert found.startswith(f"{source} is left, but not: ")
    assert against(source, "paused", {**facts, **change}, event="pause") == ()


@pytest.mark.parametrize("change", [{"masternodes": 99}, {"filters": 99}, {"pending_blocks": 1}, {"misgiving": "old"}])
def test_synced_means_everything_that_is_enabled(change: dict[str, Any]) -> None:
    """Whichever phase was the last one, and what is not enabled is not missed."""
    facts = DONE.as_dict()
    assert against("headers", "synced", facts) == ()
    assert against("headers", "synced", {**facts, **change}) != ()
    off = examine("headers", "advance", "synced", {**facts, **change}, None, frozenset()).against
    assert (off == ()) == ("misgiving" not in change)


def test_degraded_by_advance_has_a_misgiving() -> None:
    """Where nothing speaks against the tip, the client is synced."""
    facts = DONE.as_dict()
    assert against("blocks", "degraded", facts) != ()
    assert against("blocks", "degraded", {**facts, "misgiving": "stale tip"}) == ()
    assert against("blocks", "degraded", facts, event="fail") == ()


@pytest.mark.parametrize(("tip", "fits"), [(1, True), (2, False)])
def test_below_dip3_there_is_no_list_to_have(tip: int, fits: bool) -> None:
    """The recorded floor says where; a journal without it is believed only if it has no list at all."""
    facts = {**DONE.as_dict(), "tip": tip, "masternodes": None}
    assert (against("mnlist", "cfheaders", facts) == ()) == fits
    del facts["mn_floor"]
    assert against("mnlist", "cfheaders", facts) == ()
    assert against("mnlist", "cfheaders", {**facts, "masternodes": 0}) != ()


@pytest.mark.parametrize("change", [{"masternodes": 99}, {"matched": 99}, {"pending_blocks": 1}, {"outstanding": 1}])
def test_complete_as_a_whole_is_held_against_every_enabled_part(change: dict[str, Any]) -> None:
    """As far as the switches, which are answers too, are on."""
    facts = {**DONE.as_dict(), **change}
    for switches in (BOTH, frozenset[str]()):
        holding = switches | {"all_enabled_complete", "sound", "peer_ready"}
        found = [text for text in examine("paused", "resume", "headers", facts, holding, switches).against
                 if text.startswith("all_enabled_complete said yes, but not: ")]  # fmt: skip
        assert len(found) == (1 if switches or "outstanding" in change else 0)


def test_nothing_is_left_to_do_only_when_all_is_complete() -> None:
    """`work_left` says yes as soon as anything is not."""
    facts, holding = DONE.as_dict(), frozenset(DONE.as_dict()["holding"])
    assert examine("synced", "pause", "paused", facts, holding - {"all_enabled_complete"}, BOTH).against != ()
    hinted = {**facts, "tip_hint": True}
    assert examine("synced", "pause", "paused", hinted, holding, BOTH).against != ()
    assert examine("synced", "pause", "paused", hinted, holding | {"work_left"}, BOTH).against == ()


MAY_FALL = {
    ("headers", "tip"), ("headers", "masternodes"), ("headers", "filter_headers"), ("headers", "filters"),
    ("cfheaders", "filter_headers"), ("cfheaders", "filters"), ("blocks", "filters"),
}  # fmt: skip


@pytest.mark.parametrize("mark", WATERMARKS)
@pytest.mark.parametrize("source", [*LEAVING, "synced"])
def test_no_watermark_falls_within_a_walk(mark: str, source: str) -> None:
    """But in the headers phase, where the walk's target is chosen, and filter headers where they are settled."""
    before = DONE.as_dict()
    fell = moved_back(source, "advance", before, {**before, mark: 99})
    assert fell == (() if (source, mark) in MAY_FALL else (f"{mark} fell from 100 to 99 in {source}",))
    assert moved_back(source, "rewind", before, {**before, mark: 99}) == ()
    assert moved_back(source, "advance", before, {**before, mark: 101}) == ()
    assert moved_back(source, "advance", before, {}) == moved_back(source, "advance", {}, before) == ()


def test_the_target_of_a_walk_stays() -> None:
    """Another tip of the same height is another target."""
    before = DONE.as_dict()
    other = attrs.evolve(DONE, marks=attrs.evolve(DONE.marks, tip_hash=bytes(32))).as_dict()
    assert moved_back("filters", "advance", before, other) == ("the tip changed in filters",)
    assert moved_back("headers", "advance", before, other) == ()


def test_the_table_knows_the_words_of_chart_and_law() -> None:
    """Phases, leaves and guards in it are such, and each guard is in it or cannot be contradicted."""
    assert set(LEAVING) == set(SYNC.completed_by)
    assert set(ENTERING) <= SYNC.leaves
    named = {*evidence.ANSWERED_YES, *evidence.ANSWERED_NO, *evidence.ENABLED}
    assert named == set(GUARDS)
    assert set(evidence.DECIDED) <= set(evidence.ANSWERED_YES)


def test_no_two_claims_say_the_same() -> None:
    """Each is known by its words."""
    tables = (LEAVING, ENTERING, evidence.ENABLED, evidence.ANSWERED_YES, evidence.ANSWERED_NO)
    claims = {id(claim): claim.text for table in tables for row in table.values() for claim in row}
    assert len(set(claims.values())) == len(claims)
