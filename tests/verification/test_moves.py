"""What the chart does, looked up: the same as the law says, for every leaf, event and answer."""

from __future__ import annotations

import pytest

from phasegate.statecharts.catalogue import CHARTS
from phasegate.verification.moves import Move, heard_in_all, moves_of


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_each_line_of_the_law_is_a_move(name: str) -> None:
    """Taken with its answers it leads where the law says; what has no line is refused."""
    ruled = CHARTS[name]
    moves = moves_of(ruled.chart)
    assert moves is moves_of(ruled.chart)
    for line in ruled.law.responses:
        holding = frozenset(guard for guard, answer in line.answers if answer)
        assert moves.taken(line.leaf, line.event, holding).answers == line.answers
        assert moves.taken(line.leaf, line.event, holding).target == line.target
    answered = {(line.leaf, line.event) for line in ruled.law.responses}
    for leaf in moves.leaves:
        for event in moves.events:
            if (leaf, event) not in answered:
                assert moves.taken(leaf, event, frozenset()) == Move((), None, {})


def test_what_is_heard_in_all_is_what_none_contradicts() -> None:
    """Also when a third agrees with the first against the second."""
    yes, no = [Move((("a", answer), ("b", True)), "x", {"a": answer, "b": True}) for answer in (True, False)]
    bare = Move((), "x", {})
    assert heard_in_all([yes]) == {"a": True, "b": True}
    assert heard_in_all([yes, no, yes]) == {"b": True}
    assert heard_in_all([yes, bare, yes]) == heard_in_all([]) == {}
