"""What the chart does, looked up: the same as the law says, for every leaf, event and answer."""

from __future__ import annotations

import pytest

from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.lines import Lines
from phasegate.statecharts.places import place
from phasegate.verification.moves import Move, heard_in_all, moves_of


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_each_line_of_the_law_is_a_move(name: str) -> None:
    """Taken with its answers it leads where the law says; what has no line is refused."""
    ruled = CHARTS[name]
    moves = moves_of(ruled.chart)
    assert moves is moves_of(ruled.chart)
    regions = frozenset() if ruled.law.beside is None else ruled.law.beside.leaves | {ruled.law.beside.state}
    for line in ruled.law.responses:
        if line.leaf not in regions:
            move = moves.taken(line.leaf, line.event, frozenset(guard for guard, answer in line.answers if answer))
            assert move.answers == line.answers
            entered = Lines(ruled.law).about([line.leaf], line.event, line.answers).entered
            assert move.target == (place(entered) if line.target else None)
    answered = {(line.leaf, line.event) for line in ruled.law.responses}
    for leaf in moves.leaves - regions:
        for event in moves.events:
            if (leaf, event) not in answered:
                assert moves.taken(leaf, event, frozenset()) == Move((), None, {})


@pytest.mark.parametrize(
    ("working", "holding", "target"),
    [
        ("", {"mn_enabled"}, "mnlist+cfheaders_rest+filters_rest+blocks_rest"),
        ("mnlist cfheaders", {"mnlist_complete", "filters_fed"}, "mnlist_rest+cfheaders+filters_rest+blocks_rest"),
        ("mnlist", {"filters_enabled", "filters_fed"}, "mnlist+cfheaders+filters+blocks_rest"),
        ("filters", {"regions_complete", "all_enabled_complete", "filters_fed", "sound"}, "synced"),
        ("filters", {"regions_complete", "all_enabled_complete", "filters_fed"}, "degraded"),
        ("filters blocks", {"regions_complete", "all_enabled_complete", "sound"}, ""),
    ],
)
def test_a_place_of_regions_is_looked_up_as_one(working: str, holding: set[str], target: str) -> None:
    """Each region moves by its own guards; all are left only if none has anything to do for itself."""
    law = CHARTS["interleaved"].law
    assert law.beside is not None
    leaves = [next((leaf for leaf in region if leaf in working.split()), region[0]) for region in law.beside.regions]
    move = moves_of(CHARTS["interleaved"].chart).taken(place(leaves), "advance", frozenset(holding))
    said = Lines(law).about(leaves, "advance", move.answers)
    wanted = target or place([*leaves[:2], "filters_rest", "blocks_rest"])
    assert move.target == wanted
    after = law.after(leaves, said.entered)
    assert after is not None
    assert place(after) == wanted


def test_what_is_heard_in_all_is_what_none_contradicts() -> None:
    """Also when a third agrees with the first against the second."""
    yes, no = [Move((("a", answer), ("b", True)), "x", {"a": answer, "b": True}) for answer in (True, False)]
    bare = Move((), "x", {})
    assert heard_in_all([yes]) == {"a": True, "b": True}
    assert heard_in_all([yes, no, yes]) == {"b": True}
    assert heard_in_all([yes, bare, yes]) == heard_in_all([]) == {}
