"""What one event does in one configuration, for every answer the guards may give: asked of the library itself.

A `World` stands for model and listener at once. Its guards are answered from a tape; a guard beyond the end of the tape
is answered no and remembered, and every remembered no is then tried as a yes. So exactly those guards branch that were
really asked, each is answered once an event (facts are frozen for an event), and no valuation is left out. Switches,
the guards of the configuration, keep one answer for a whole run.

The library is slow at this, so nothing but `phasegate.statecharts.table` is driven by it: there the same steps are
computed from the chart's tables, and proved equal to the steps found here, edge by edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs
from statemachine import State
from statemachine.exceptions import TransitionNotAllowed
from statemachine.orderedset import OrderedSet

from phasegate.statecharts.anatomy import Anatomy, read
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.law import Answers

Configuration = frozenset[str]


@attrs.frozen(cache_hash=True)
class Step:
    """One event taken (or refused) in one configuration, with what was asked, left, entered and begun on the way."""

    source: Configuration
    event: str
    answers: Answers
    target: Configuration
    left: tuple[str, ...]
    entered: tuple[str, ...]
    actions: tuple[str, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether anything was left or entered, be it the same state again."""
        return bool(self.left or self.entered) or self.source != self.target


class World:
    """Model and listener of the explored chart: guards ask the tape, actions and all that happens are only noted."""

    def __init__(self, switches: Mapping[str, bool]) -> None:
        self.switches = switches
        self.rewind(())

    def rewind(self, tape: tuple[bool, ...]) -> None:
        """Begin an event with these answers for the first free guards asked."""
        self.tape = tape
        self.answers: dict[str, bool] = {}
        self.left: list[str] = []
        self.entered: list[str] = []
        self.actions: list[str] = []

    @property
    def free(self) -> tuple[bool, ...]:
        """The answers given so far to guards that are no switches, in the order in which they were asked."""
        return tuple(answer for name, answer in self.answers.items() if name not in self.switches)

    def ask(self, guard: str) -> bool:
        """The answer for this event."""
        if guard not in self.answers:
            asked = len(self.free)
            taped = self.tape[asked] if asked < len(self.tape) else False
            self.answers[guard] = self.switches.get(guard, taped)
        return self.answers[guard]

    def on_enter_state(self, target: State) -> None:
        """Called by the library for each state entered."""
        self.entered.append(target.id)

    def on_exit_state(self, source: State) -> None:
        """Called by the library for each state left."""
        self.left.append(source.id)


class Relation:
    """The transition relation of one chart under one setting of the switches.

    Args:
        chart: the chart class.
        switches: the configuration guards with their answer.

    Raises:
        ValueError: if the chart uses what no chart here uses.
    """

    def __init__(self, chart: type[Chart[Any]], switches: Mapping[str, bool]) -> None:
        self._chart = chart
        self.anatomy = read(chart)
        self._order = [box.id for box in self.anatomy.walk()]
        self._world = _world_for(self.anatomy, switches)
        self._machine = chart(self._world)
        self._known: dict[Configuration, tuple[Step, ...]] = {}
        self.initial: Configuration = frozenset(self._machine.configuration_values)
        self.begins_with = self._canonical([], [], self._world.actions)[2]

    def steps(self, source: Configuration) -> tuple[Step, ...]:
        """Every event of the chart, under every valuation of the guards that it asks."""
        if source not in self._known:
            events = self.anatomy.events
            self._known[source] = tuple(step for event in events for step in self._valuations(source, event))
        return self._known[source]

    def _valuations(self, source: Configuration, event: str) -> Iterator[Step]:
        tapes: list[tuple[bool, ...]] = [()]
        while tapes:
            tape = tapes.pop()
            yield self._send(source, event, tape)
            free = self._world.free
            tapes += [(*free[:place], True) for place in range(len(tape), len(free))]

    def restarted(self, source: Configuration) -> tuple[Configuration, tuple[str, ...]]:
        """Where a chart made anew begins while another one is in `source`, and the actions that it asks for then."""
        self._send(source, self.anatomy.events[0], ())
        world = type(self._world)(self._world.switches)
        return frozenset(self._chart(world).configuration_values), self._canonical([], [], world.actions)[2]

    def _send(self, source: Configuration, event: str, tape: tuple[bool, ...]) -> Step:
        world = self._world
        if self._machine.is_terminated:
            self._machine = self._chart(world)
        self._machine.current_state_value = OrderedSet(state for state in self._order if state in source)
        world.rewind(tape)
        with suppress(TransitionNotAllowed):  # a refusal is an answer: the step shows whether it changed anything
            self._machine.send(event)
        target, answers = frozenset(self._machine.configuration_values), tuple(world.answers.items())
        return Step(source, event, answers, target, *self._canonical(world.left, world.entered, world.actions))

    def _canonical(
        self, left: list[str], entered: list[str], actions: list[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """As they came; in a chart with regions, between which there is no order that means anything, in order."""
        if self.anatomy.parallel:
            left = sorted(left, key=self._order.index, reverse=True)
            entered, actions = sorted(entered, key=self._order.index), sorted(actions)
        return tuple(left), tuple(entered), tuple(actions)


def _world_for(anatomy: Anatomy, switches: Mapping[str, bool]) -> World:
    members: dict[str, object] = {guard: _guard(guard) for guard in anatomy.guards}
    members |= {name: _action(name) for name in anatomy.actions}
    world: World = type(f"{anatomy.name}World", (World,), members)(switches)
    return world


def _guard(name: str) -> property:
    return property(lambda world: world.ask(name))


def _action(name: str) -> Callable[[World], None]:
    """Somebody to be asked for an activity, who only notes it."""

    def note(world: World) -> None:
        world.actions.append(name)

    return note
