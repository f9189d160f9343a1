"""What the real chart does, looked up by what a journal says: place, event, and the guards that said yes.

The library itself is asked, once for each place, under every valuation of the guards (`statecharts.relation`); the
answers are kept as long as the chart is in use. So a row of a journal costs a look-up, and what it is held against is
still the very object that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import attrs

from phasegate.statecharts.anatomy import Anatomy, read
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.fingerprint import fingerprint
from phasegate.statecharts.law import Answers
from phasegate.statecharts.places import leaves_of, place
from phasegate.statecharts.relation import Relation, Step


@attrs.frozen
class Move:
    """What an event does in a place after these answers: it leads to the place `target`, or is refused if None."""

    answers: Answers
    target: str | None
    heard: Mapping[str, bool]

    def agrees(self, holding: frozenset[str]) -> bool:
        """Whether the guards were answered so, if `holding` are all that said yes."""
        return all((name in holding) is answer for name, answer in self.answers)


class Moves:
    """All moves of one chart.

    Args:
        chart: the chart class.

    Raises:
        ValueError: if the chart uses what no chart here uses.
    """

    def __init__(self, chart: type[Chart[Any]]) -> None:
        self._anatomy: Anatomy = read(chart)
        self._relation = Relation(chart, {})  # no switches: every guard is answered both ways
        self.fingerprint = fingerprint(chart)
        self.leaves = frozenset(self._anatomy.leaves)
        self.events = frozenset(self._anatomy.events)
        self._known: dict[str, dict[str, tuple[Move, ...]]] = {}

    def taken(self, source: str, event: str, holding: frozenset[str]) -> Move:
        """The move on `event` in the place `source` when exactly the guards in `holding` say yes."""
        return next(move for move in self._of(source)[event] if move.agrees(holding))

    def leading(self, source: str, event: str, target: str) -> tuple[Move, ...]:
        """The moves on `event` that lead from the place `source` to the place `target`, whatever the guards say."""
        return tuple(move for move in self._of(source)[event] if move.target == target)

    def _of(self, source: str) -> dict[str, tuple[Move, ...]]:
        if source not in self._known:
            found: dict[str, list[Move]] = {event: [] for event in self.events}
            for step in self._relation.steps(self._anatomy.configuration(leaves_of(source))):
                found[step.event].append(self._move(step))
            self._known[source] = {event: tuple(moves) for event, moves in found.items()}
        return self._known[source]

    def _move(self, step: Step) -> Move:
        active = [leaf for leaf in self._anatomy.leaves if leaf in step.target]
        target = place(active) if step.moved else None
        return Move(step.answers, target, dict(step.answers))


@lru_cache(maxsize=8)
def moves_of(chart: type[Chart[Any]]) -> Moves:
    """The moves of a chart class, the same object for as long as the chart is in use."""
    return Moves(chart)


def heard_in_all(moves: Iterable[Move]) -> dict[str, bool]:
    """The answers that all of these moves have in common."""
    common: Mapping[str, bool] | None = None
    for move in moves:
        known = move.heard if common is None else common
        common = {name: answer for name, answer in known.items() if move.heard.get(name) is answer}
    return dict(common or {})
