"""What one event does in one configuration, computed from a chart's tables: the library's semantics in forty lines.

The exploration and above all the mutants need the answer to this question tens of thousands of times, and the library
takes its time over each. So the tables of a chart are read once, and their steps computed here:

- of the active states the innermost is asked first, then those around it; in each the transitions on that event in
  document order; the first whose guards all answer as they should is taken, and no guard after a wrong answer is asked;
- a transition leaves every active state inside the nearest state that holds both its ends (and is neither of them),
  innermost first, and enters the states down to its target, outermost first, and on to the target's first leaf.

That this is what the library does is no belief: `disagreements` compares both, step by step, with what was asked, left,
entered and begun, in which order. No exploration counts unless it says that there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.law import Answers
from phasegate.statecharts.relation import Configuration, Relation, Step


class Steps(Protocol):
    """A transition relation under one setting of the switches."""

    anatomy: Anatomy
    initial: Configuration
    begins_with: tuple[str, ...]

    def steps(self, source: Configuration) -> tuple[Step, ...]:
        """Every event, under every valuation of the guards that it asks."""


class Table:
    """The transition relation of a chart's tables under one setting of the switches.

    Args:
        anatomy: the tables.
        switches: the configuration guards with their answer.
    """

    def __init__(self, anatomy: Anatomy, switches: Mapping[str, bool]) -> None:
        self.anatomy = anatomy
        self.switches = switches
        self._boxes = {box.id: box for box in anatomy.walk()}
        self._paths = {name: anatomy.path(name) for name in self._boxes}
        self._arrows: dict[tuple[str, str], list[Arrow]] = {}
        for arrow in anatomy.arrows:
            self._arrows.setdefault((arrow.source, arrow.event), []).append(arrow)
        self._events = anatomy.events
        self._known: dict[Configuration, tuple[Step, ...]] = {}
        first = next((box for box in anatomy.boxes if box.initial), anatomy.boxes[0])
        begun = self._down_from(first)
        self.initial: Configuration = frozenset(begun)
        self.begins_with = tuple(name for state in begun for name in self._boxes[state].entry)

    def steps(self, source: Configuration) -> tuple[Step, ...]:
        """Every event of the chart, under every valuation of the guards that it asks."""
        if source not in self._known:
            self._known[source] = tuple(step for event in self._events for step in self._valuations(source, event))
        return self._known[source]

    def _valuations(self, source: Configuration, event: str) -> Iterator[Step]:
        active = max((self._paths[state] for state in source), key=len)
        if self._boxes[active[-1]].final and len(active) == 1:  # a chart at its end takes nothing any more
            yield Step(source, event, (), source, (), ())
            return
        candidates = [arrow for state in reversed(active) for arrow in self._arrows.get((state, event), ())]
        for answers, taken in self._asked(candidates, {}, 0, 0):
            yield self._taken(source, active, event, answers, taken)

    def _asked(
        self, arrows: list[Arrow], known: dict[str, bool], place: int, at: int
    ) -> Iterator[tuple[Answers, Arrow | None]]:
        """Every way that asking the guards of `arrows` can go on, from guard `at` of arrow `place`."""
        while place < len(arrows):
            arrow = arrows[place]
            if at == len(arrow.guards):
                yield tuple(known.items()), arrow
                return
            guard = arrow.guards[at]
            if guard.name not in known and guard.name not in self.switches:
                for answer in (False, True):
                    yield from self._asked(arrows, {**known, guard.name: answer}, place, at)
                return
            answer = known.setdefault(guard.name, self.switches.get(guard.name, False))
            place, at = (place, at + 1) if answer == guard.wanted else (place + 1, 0)
        yield tuple(known.items()), None

    def _taken(
        self, source: Configuration, active: tuple[str, ...], event: str, answers: Answers, arrow: Arrow | None
    ) -> Step:
        if arrow is None:
            return Step(source, event, answers, source, (), ())
        tail, head = self._paths[arrow.source][:-1], self._paths[arrow.target]
        kept = 0
        while kept < min(len(tail), len(head) - 1) and tail[kept] == head[kept]:
            kept += 1
        left = tuple(reversed(active[kept:]))
        entered = (*head[kept:-1], *self._down_from(self._boxes[arrow.target]))
        exits = (name for state in left for name in self._boxes[state].exit)
        entries = (name for state in entered for name in self._boxes[state].entry)
        return Step(
            source, event, answers, frozenset((*active[:kept], *entered)), left, entered,
            (*exits, *arrow.actions, *entries),
        )  # fmt: skip

    def _down_from(self, box: Box) -> tuple[str, ...]:
        """That state and the first states inside it, down to a leaf."""
        if not box.inside:
            return (box.id,)
        first = next((inner for inner in box.inside if inner.initial), box.inside[0])
        return (box.id, *self._down_from(first))


def taken(anatomy: Anatomy, step: Step) -> Arrow | None:
    """The transition that a step took; None if it was refused."""
    asked, active = dict(step.answers), max((anatomy.path(state) for state in step.source), key=len)
    if not step.moved:
        return None
    for state in reversed(active):
        for arrow in anatomy.arrows:
            if (arrow.source, arrow.event) == (state, step.event) and all(
                asked.get(guard.name) is guard.wanted for guard in arrow.guards
            ):
                return arrow
    return None


def disagreements(chart: type[Chart[Any]], table: Table, reached: list[Configuration]) -> Iterator[str]:
    """Where the library and the table differ, in the configurations `reached`; and where a restart does not begin anew.

    Args:
        chart: the class that the tables were read from.
        table: of that class.
        reached: every configuration that counts.
    """
    library = Relation(chart, table.switches)
    if (library.initial, library.begins_with) != (table.initial, table.begins_with):
        yield f"the library begins in {sorted(library.initial)}, the table in {sorted(table.initial)}"
    for source in reached:
        known, told = set(table.steps(source)), set(library.steps(source))
        for step in sorted(known ^ told, key=str):
            who = "the library" if step in told else "the table"
            case = f"{step.event} in {sorted(source)} with {dict(step.answers)}"
            yield f"only {who} says: {case} -> {sorted(step.target)}"
        if library.restarted(source) != (library.initial, library.begins_with):
            yield f"a restart in {sorted(source)} does not begin in {sorted(library.initial)}"
