"""How a configuration of a chart is called: by its active leaves, in document order, joined by `+`.

Of most charts one leaf is active at a time, and the place is that leaf. Where parallel regions are active there is one
leaf of each, and a journal names them all.
"""

from __future__ import annotations

from collections.abc import Iterable

from statemachine import State

JOINT = "+"


def place(leaves: Iterable[str]) -> str:
    """The name of the place in which these leaves, given in document order, are active."""
    return JOINT.join(leaves)


def leaves_of(named: str) -> tuple[str, ...]:
    """The leaves that are active in a place of that name."""
    return tuple(named.split(JOINT))


def order(states: Iterable[State]) -> tuple[str, ...]:
    """The ids of all leaves among these states and inside them, in document order."""
    return tuple(leaf for state in states for leaf in (order(state.states) if state.states else (state.id,)))
