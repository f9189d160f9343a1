"""What one event does in one configuration, computed from a chart's tables: the library's semantics in a hundred lines.

The exploration and above all the mutants need the answer to this question tens of thousands of times, and the library
takes its time over each. So the tables of a chart are read once, and their steps computed here:

- for each active leaf the innermost state is asked first, then those around it; in each the transitions on that event
  in document order; the first whose guards all answer as they should is taken, and no guard after a wrong answer is
  asked. Where regions are active every leaf is gone through so, whatever another one has found;
- of transitions that would leave the same state that of the inner source wins, else the one found first;
- a transition leaves every active state inside the nearest state that holds both its ends (and is neither of them, nor
  holds regions), innermost first, and enters the states down to its target, outermost first, and on to the target's
  first leaf; of regions all are entered.

That this is what the library does is no belief: `disagreements` compares both, step by step, with what was asked, left,
entered and begun, in which order. No exploration counts unless it says that there are none. Where regions are active
the library has no order between them that means anything; there both are brought into document order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.law import Answers
from phasegate.statecharts.relation import Configuration, Relation, Step

Candidates = tuple[tuple[Arrow, ...], ...]
"""For each active leaf the transitions that are asked, in order."""
Asked = tuple[Configuration, str, Candidates]
"""A configuration, an event, and the transitions that are asked."""
_Move = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Configuration]
"""What is left, entered and begun, and the configuration then."""


class Steps(Protocol):
    """A transition relation under one setting of the switches."""

    anatomy: Anatomy
    initial: Configuration
    begins_with: tuple[str, ...]

    def steps(self, source: Configuration) -> tuple[Step, ...]:
        """Every event, under every valuation of the guards that it asks."""

    def groups(self, source: Configuration) -> tuple[tuple[Step, ...], ...]:
        """The same, event by event."""


class Table:
    """The transition relation of a chart's tables under one setting of the switches.

    Args:
        anatomy: the tables.
        switches: the configuration guards with their answer.
        shared: what was computed before, for tables with the same states under the same setting: where the same
            transitions are asked, the same happens.
    """

    def __init__(
        self, anatomy: Anatomy, switches: Mapping[str, bool], shared: dict[Asked, tuple[Step, ...]] | None = None
    ) -> None:
        self.anatomy = anatomy
        self.switches = switches
        self._shared = {} if shared is None else shared
        self._boxes = {box.id: box for box in anatomy.walk()}
        self._paths = {name: anatomy.path(name) for name in self._boxes}
        self._arrows: dict[tuple[str, str], list[Arrow]] = {}
        for arrow in anatomy.arrows:
            self._arrows.setdefault((arrow.source, arrow.event), []).append(arrow)
        self._events = anatomy.events
        self._order = {name: place for place, name in enumerate(self._boxes)}
        self._known: dict[Configuration, tuple[tuple[Step, ...], ...]] = {}
        self._moves: dict[tuple[Configuration, tuple[Arrow, ...]], _Move] = {}
        first = next((box for box in anatomy.boxes if box.initial), anatomy.boxes[0])
        begun = self._down_from(first)
        self.initial: Configuration = frozenset(begun)
        self.begins_with = self._canonical([name for state in begun for name in self._boxes[state].entry])

    def steps(self, source: Configuration) -> tuple[Step, ...]:
        """Every event of the chart, under every valuation of the guards that it asks."""
        return tuple(step for group in self.groups(source) for step in group)

    def groups(self, source: Configuration) -> tuple[tuple[Step, ...], ...]:
        """The same, event by event."""
        if source not in self._known:
            self._known[source] = tuple(self._group(source, event) for event in self._events)
        return self._known[source]

    def _group(self, source: Configuration, event: str) -> tuple[Step, ...]:
        leaves = self._leaves(source)
        candidates = tuple(
            tuple(arrow for state in reversed(self._paths[leaf]) for arrow in self._arrows.get((state, event), ()))
            for leaf in leaves
        )
        key = source, event, candidates
        if key not in self._shared:
            self._shared[key] = tuple(self._valuations(source, event, leaves, candidates))
        return self._shared[key]

    def _leaves(self, source: Configuration) -> list[str]:
        """The active leaves in document order."""
        return [state for state in sorted(source, key=self._order.__getitem__) if not self._boxes[state].inside]

    def _valuations(
        self, source: Configuration, event: str, leaves: list[str], candidates: Candidates
    ) -> Iterator[Step]:
        if any(self._boxes[state].final and len(self._paths[state]) == 1 for state in leaves):
            yield Step(source, event, (), source, (), ())  # a chart at its end takes nothing any more
            return
        for answers, found in self._asked(candidates, {}, (), 0, 0):
            left, entered, actions, target = self._moved(source, found)
            yield Step(source, event, answers, target, left, entered, actions)

    def _asked(
        self, lines: Candidates, known: dict[str, bool], found: tuple[Arrow, ...], place: int, at: int
    ) -> Iterator[tuple[Answers, tuple[Arrow, ...]]]:
        """Every way that asking the guards of `lines`, one after the other, can go on, from guard `at` of `place`."""
        while lines:
            if place == len(lines[0]):
                lines, place, at = lines[1:], 0, 0
                continue
            arrow = lines[0][place]
            if at == len(arrow.guards):
                lines, found, place, at = lines[1:], (*found, arrow), 0, 0
                continue
            guard = arrow.guards[at]
            if guard.name not in known and guard.name not in self.switches:
                for answer in (False, True):
                    yield from self._asked(lines, {**known, guard.name: answer}, found, place, at)
                return
            answer = known.setdefault(guard.name, self.switches.get(guard.name, False))
            place, at = (place, at + 1) if answer == guard.wanted else (place + 1, 0)
        yield tuple(known.items()), tuple(dict.fromkeys(found))

    # -- what a step does ----------------------------------------------------------------------------------------

    def _moved(self, source: Configuration, found: tuple[Arrow, ...]) -> _Move:
        """What taking those of the transitions `found` that do not conflict leaves, enters and begins, and where."""
        if not found:
            return (), (), (), source
        key = source, found
        if key not in self._moves:
            arrows = self._without_conflicts(source, found)
            gone = frozenset[str]().union(*(self._exits(source, arrow) for arrow in arrows))
            left = sorted(gone, key=self._order.__getitem__, reverse=True)
            entered = sorted(self._entries(arrows), key=self._order.__getitem__)
            exits = [name for state in left for name in self._boxes[state].exit]
            middle = [name for arrow in arrows for name in arrow.actions]
            entries = [name for state in entered for name in self._boxes[state].entry]
            self._moves[key] = (
                tuple(left),
                tuple(entered),
                self._canonical([*exits, *middle, *entries]),
                (source - gone).union(entered),
            )
        return self._moves[key]

    def _without_conflicts(self, source: Configuration, found: tuple[Arrow, ...]) -> list[Arrow]:
        if len(found) == 1:
            return [found[0]]
        kept: list[Arrow] = []
        for arrow in found:
            rivals = [other for other in kept if self._exits(source, arrow) & self._exits(source, other)]
            if all(other.source in self._paths[arrow.source][:-1] for other in rivals):
                kept = [*[other for other in kept if other not in rivals], arrow]
        return kept

    def _exits(self, source: Configuration, arrow: Arrow) -> frozenset[str]:
        kept = self._kept(arrow)
        return frozenset(state for state in source if self._paths[state][: len(kept)] == kept != self._paths[state])

    def _kept(self, arrow: Arrow) -> tuple[str, ...]:
        """The path of the nearest state that holds both ends, is neither of them, and does not hold regions."""
        tail, head = self._paths[arrow.source][:-1], self._paths[arrow.target][:-1]
        kept = 0
        while kept < min(len(tail), len(head)) and tail[kept] == head[kept]:
            kept += 1
        while kept and self._boxes[tail[kept - 1]].parallel:
            kept -= 1
        return tail[:kept]

    def _entries(self, arrows: list[Arrow]) -> list[str]:
        entered: dict[str, None] = {}
        for arrow in arrows:
            self._enter_down(self._boxes[arrow.target], entered)
            for state in reversed(self._paths[arrow.target][len(self._kept(arrow)) : -1]):
                entered.setdefault(state)
                if self._boxes[state].parallel:
                    self._enter_regions(self._boxes[state], entered)
        return list(entered)

    def _enter_down(self, box: Box, entered: dict[str, None]) -> None:
        """Enter that state and what is first inside it, down to leaves."""
        entered.setdefault(box.id)
        if box.parallel:
            self._enter_regions(box, entered)
        elif box.inside:
            self._enter_down(next((inner for inner in box.inside if inner.initial), box.inside[0]), entered)

    def _enter_regions(self, box: Box, entered: dict[str, None]) -> None:
        """Enter each region into which no other way leads."""
        for region in box.inside:
            if not any(region.id in self._paths[state][:-1] for state in entered):
                self._enter_down(region, entered)

    def _down_from(self, box: Box) -> tuple[str, ...]:
        """That state and the first states inside it, down to leaves."""
        entered: dict[str, None] = {}
        self._enter_down(box, entered)
        return tuple(sorted(entered, key=self._order.__getitem__))

    def _canonical(self, actions: list[str]) -> tuple[str, ...]:
        return tuple(sorted(actions) if self.anatomy.parallel else actions)


def taken(anatomy: Anatomy, step: Step) -> tuple[Arrow, ...]:
    """The transitions that a step took, one of each region that moved; none if it was refused."""
    asked = dict(step.answers)
    found: dict[Arrow, None] = {}
    for leaf in [leaf for leaf in anatomy.leaves if step.moved and leaf in step.source]:
        candidates = [
            arrow
            for state in reversed(anatomy.path(leaf))
            for arrow in anatomy.arrows
            if (arrow.source, arrow.event) == (state, step.event)
        ]
        fitting = [a for a in candidates if all(asked.get(guard.name) is guard.wanted for guard in a.guards)]
        found.update(dict.fromkeys(fitting[:1]))
    inner = [a for a in found if not any(a.source in anatomy.path(other.source)[:-1] for other in found)]
    return tuple(inner)


@lru_cache(maxsize=16)
def _library(chart: type[Chart[Any]], switches: tuple[tuple[str, bool], ...]) -> Relation:
    """The library's own steps, kept for a while: they cost by far the most."""
    return Relation(chart, dict(switches))


def disagreements(chart: type[Chart[Any]], table: Table, reached: list[Configuration]) -> Iterator[str]:
    """Where the library and the table differ, in the configurations `reached`; and where a restart does not begin anew.

    Args:
        chart: the class that the tables were read from.
        table: of that class.
        reached: every configuration that counts.
    """
    library = _library(chart, tuple(table.switches.items()))
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
