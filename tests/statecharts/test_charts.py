"""The charts as they run: ids, names, activities, and what they do with guards and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from statemachine import State
from statemachine.exceptions import InvalidDefinition, TransitionNotAllowed

from phasegate.statecharts.anatomy import Anatomy, read
from phasegate.statecharts.catalogue import Ruled
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.interleaved import InterleavedActivities, InterleavedChart, InterleavedFacts
from phasegate.statecharts.peer import PeerActivities, PeerChart, PeerFacts
from phasegate.statecharts.sync import SyncActivities, SyncChart, SyncFacts

SHOWN = {
    "idle": "Idle",
    "headers": "Downloading headers",
    "mnlist": "Downloading masternode lists",
    "cfheaders": "Downloading filter headers",
    "filters": "Downloading filters",
    "blocks": "Downloading blocks",
    "backoff": "Backing off",
    "restarting": "Restarting phase",
    "switching": "Switching peer",
    "waiting": "Waiting for network",
    "synced": "Fully synced",
    "degraded": "Degraded",
    "paused": "Paused",
    "failed": "Failed",
    "stopped": "Stopped",
}


Notes = list[str]


def answering(chart: type[Chart[Any]], holding: Iterable[str], **members: object) -> Any:
    """A model that answers each guard of the chart by whether it is among those `holding`."""
    answers: dict[str, object] = {guard: guard in holding for guard in read(chart).guards}
    return type("Answers", (), answers | members)()


def noting(chart: type[Chart[Any]], notes: Notes) -> object:
    """A listener that notes which activities are asked for and which states are left."""

    def left(_self: object, source: State) -> None:
        notes.append(f"left {source.id}")

    requests = {name: requesting(name, notes) for name in read(chart).actions}
    return type(f"{chart.__name__}Notes", (), {"on_exit_state": left, **requests})()


def requesting(name: str, notes: Notes) -> Callable[[object, State], None]:
    """The entry action of that name."""

    def request(_self: object, target: State) -> None:
        notes.append(f"{name} in {target.id}")

    return request


def begin(chart: type[Chart[Any]], *holding: str, **members: object) -> tuple[Chart[Any], Notes]:
    """The chart at its start, with the guards that hold, and its notes."""
    notes: Notes = []
    return chart(answering(chart, holding, **members), listeners=[noting(chart, notes)]), notes


def active(chart: Chart[Any]) -> str:
    return str(list(chart.configuration_values)[-1])


def test_sync_states_have_the_names_that_users_see() -> None:
    """Every leaf of the sync chart has its fixed id and shown name."""
    assert {leaf.id: leaf.name for box in read(SyncChart).boxes for leaf in box.leaves} == SHOWN


@pytest.mark.parametrize(
    ("chart", "facts", "activities"),
    [
        (SyncChart, SyncFacts, SyncActivities),
        (InterleavedChart, InterleavedFacts, InterleavedActivities),
        (PeerChart, PeerFacts, PeerActivities),
    ],
)
def test_guards_and_activities_are_declared(chart: type[Chart[Any]], facts: type, activities: type) -> None:
    """The protocols beside a chart name exactly the guards and activities that it uses."""
    tables = read(chart)
    assert declared(facts) == tables.guards
    assert declared(activities) == tables.actions


def declared(protocol: type) -> set[str]:
    """The names that a protocol declares, with those of the protocols that it is made of."""
    own = [part for part in protocol.__mro__ if part.__module__.startswith("phasegate.")]
    return {name for part in own for name in vars(part) if not name.startswith("_")}


def test_charts_share_parts_of_their_definition_and_no_object() -> None:
    """What both charts have from one place is a state or a transition of its own in each."""
    shared = [set(map(id, states_and_transitions(chart))) for chart in (SyncChart, InterleavedChart)]
    assert len(shared[0]) > 50
    assert not shared[0] & shared[1]


def states_and_transitions(chart: type[Chart[Any]]) -> Iterator[object]:
    """Every state of the chart, and every transition out of it."""
    waiting = list(chart.states)
    while waiting:
        state = waiting.pop()
        waiting += state.states
        yield from (state, *state.transitions)


def test_charts_are_strict(ruled: Ruled) -> None:
    """No chart swallows an error or ignores an event."""
    assert not ruled.chart.catch_errors_as_events
    assert not ruled.chart.allow_event_without_transition


def test_charts_act_by_name_only(anatomy: Anatomy, ruled: Ruled) -> None:
    """A chart class brings no callback of its own that could do more than name an activity."""
    assert not (anatomy.guards | anatomy.actions) & set(dir(ruled.chart))
    assert not [name for name in dir(ruled.chart) if name.startswith(("on_enter_", "on_exit_", "on_"))]


def test_every_leaf_that_does_something_asks_for_one_activity() -> None:
    """Resting states ask for nothing, all others for exactly one activity."""
    resting = {"idle", "paused", "failed", "stopped", "closed"}
    for chart in (SyncChart, InterleavedChart, PeerChart):
        for leaf in (leaf for box in read(chart).boxes for leaf in box.leaves):
            assert len(leaf.entry) == (0 if leaf.id in resting else 1), leaf.id


def test_a_full_sync_visits_each_phase_once() -> None:
    """With everything enabled and complete, five advances lead through all phases to synced."""
    everything = read(SyncChart).guards
    chart, notes = begin(SyncChart, *everything)
    chart.send("start")
    for _ in range(5):
        chart.send("advance")
    assert [line for line in notes if " in " in line] == [
        "download_headers in headers",
        "download_masternodes in mnlist",
        "download_filter_headers in cfheaders",
        "download_filters in filters",
        "download_blocks in blocks",
        "follow_tip in synced",
    ]


def test_what_both_sync_charts_have_in_common_has_the_same_name() -> None:
    """A user who changes the strategy meets the same states, but for those in which a region rests."""
    names = {leaf.id: leaf.name for box in read(InterleavedChart).boxes for leaf in box.leaves}
    assert {leaf: name for leaf, name in names.items() if leaf in SHOWN} == SHOWN
    resting = {"mnlist_waiting", "mnlist_rest", "cfheaders_rest", "filters_rest", "blocks_rest"}
    assert names.keys() - SHOWN.keys() == resting


def test_regions_work_beside_each_other() -> None:
    """Once the headers are complete every region begins that has something to do, whatever the others do."""
    chart, notes = begin(InterleavedChart, "headers_complete", "mn_enabled", "filters_enabled", "blocks_fed")
    chart.send("start")
    chart.send("advance")
    notes.clear()
    chart.send("advance")
    assert sorted(line for line in notes if " in " in line) == [
        "download_blocks in blocks",
        "download_filter_headers in cfheaders",
        "download_masternodes in mnlist",
    ]
    assert {"mnlist", "cfheaders", "filters_rest", "blocks"} <= set(chart.configuration_values)


def test_a_failure_of_one_region_leaves_all() -> None:
    """Recovery begins when nothing runs any more."""
    chart, notes = begin(InterleavedChart, "headers_complete", "mn_enabled", "filters_enabled", "retry_advised")
    for event in ("start", "advance", "advance"):
        chart.send(event)
    notes.clear()
    chart.send("fail")
    assert active(chart) == "backoff"
    assert {"left mnlist", "left cfheaders", "left filters_rest", "left blocks_rest"} <= set(notes)


def test_nothing_complete_means_no_way_forward() -> None:
    """An advance without completeness is refused, and nothing has been left or entered."""
    chart, notes = begin(SyncChart, "mn_enabled", "filters_enabled")
    chart.send("start")
    before = list(notes)
    with pytest.raises(TransitionNotAllowed):
        chart.send("advance")
    assert active(chart) == "headers"
    assert notes == before


def test_rewalk_in_headers_restarts_the_activity() -> None:
    """A rewalk while headers are downloaded leaves the state and enters it again."""
    chart, notes = begin(SyncChart)
    chart.send("start")
    notes.clear()
    chart.send("rewalk")
    assert notes == ["left headers", "left syncing", "download_headers in headers"]


def test_resume_enters_headers_whatever_was_paused() -> None:
    """A pause forgets the phase: stored watermarks, not the chart, know how far it came."""
    chart, _ = begin(SyncChart, "headers_complete", "filters_enabled", "cfheaders_complete")
    for event in ("start", "advance", "advance"):
        chart.send(event)
    assert active(chart) == "filters"
    chart.send("pause")
    assert active(chart) == "paused"
    chart.send("resume")
    assert active(chart) == "headers"


def test_a_guard_that_raises_is_heard() -> None:
    """An error in a guard reaches the caller and leaves the chart where it was."""

    def broken(_self: object) -> bool:
        raise ZeroDivisionError

    chart, _ = begin(SyncChart, headers_complete=broken)
    chart.send("start")
    with pytest.raises(ZeroDivisionError):
        chart.send("advance")
    assert active(chart) == "headers"


def test_a_model_without_a_guard_is_refused() -> None:
    """A chart whose model lacks a guard does not begin."""
    with pytest.raises(InvalidDefinition, match="Did not found name 'wait_advised'"):
        SyncChart(object(), listeners=[noting(SyncChart, [])])  # type: ignore[arg-type]


def test_a_listener_without_an_activity_is_refused() -> None:
    """A chart whose listener lacks an activity does not begin."""
    with pytest.raises(InvalidDefinition, match="download_headers"):
        SyncChart(answering(SyncChart, ()), listeners=[])


def test_a_peer_that_is_not_acceptable_is_closed() -> None:
    """A finished handshake leads to ready only if the peer is acceptable."""
    for holding, expected in ((("acceptable",), "ready"), ((), "closing")):
        chart, _ = begin(PeerChart, *holding)
        chart.send("connected")
        chart.send("greeted")
        assert active(chart) == expected


def test_a_closed_connection_is_over() -> None:
    """Closing ends in closed, where the chart has terminated."""
    chart, _ = begin(PeerChart)
    chart.send("lost")
    assert active(chart) == "closing"
    chart.send("done")
    assert chart.is_terminated
