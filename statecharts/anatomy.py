"""A chart read into plain frozen tables, and a chart built from such tables.

The drawings, the exploration and the mutants all start here, so they see the very object that runs. What the house
does not use cannot be read: history states, eventless transitions, `invoke`, guards that are not a plain name or
`!name`. A chart with one of these is refused, not half understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from types import new_class
from typing import Any, cast

import attrs
from statemachine import State
from statemachine.transition import Transition

from phasegate.statecharts.chart import Chart


@attrs.frozen(cache_hash=True)
class Guard:
    """One name that the model answers, and the answer that lets the transition pass."""

    name: str
    wanted: bool = True

    def __str__(self) -> str:
        return self.name if self.wanted else f"!{self.name}"


@attrs.frozen(cache_hash=True)
class Arrow:
    """One transition on one event. Equal sources keep document order, which is their priority."""

    source: str
    event: str
    target: str
    guards: tuple[Guard, ...] = ()
    actions: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`event [guard, !guard] / action`, as drawn."""
        guards = f" [{', '.join(map(str, self.guards))}]" if self.guards else ""
        return f"{self.event}{guards}" + "".join(f" / {action}" for action in self.actions)


@attrs.frozen
class Box:
    """One state with the states inside it; with `parallel` these are regions, all active together."""

    id: str
    name: str
    initial: bool = False
    final: bool = False
    entry: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()
    inside: tuple[Box, ...] = ()
    parallel: bool = False

    def walk(self) -> Iterator[Box]:
        """This state and all inside it, in document order."""
        yield self
        for box in self.inside:
            yield from box.walk()

    @property
    def first(self) -> Box:
        """The leaf that is active after entering this state, of several the first."""
        return self.begin[0]

    @property
    def begin(self) -> tuple[Box, ...]:
        """The leaves that are active after entering this state: one, or one of each region."""
        if not self.inside:
            return (self,)
        if self.parallel:
            return tuple(leaf for region in self.inside for leaf in region.begin)
        return next((b for b in self.inside if b.initial), self.inside[0]).begin

    @property
    def leaves(self) -> tuple[Box, ...]:
        """The states without states inside them."""
        return tuple(box for box in self.walk() if not box.inside)


@attrs.frozen
class Anatomy:
    """A whole chart: its states as a tree, its transitions as a list in document order."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def walk(self) -> Iterator[Box]:
        """Every state, in document order."""
        for box in self.boxes:
            yield from box.walk()

    def box(self, state: str) -> Box:
        """The state of that id. Raises `KeyError` if there is none."""
        return {box.id: box for box in self.walk()}[state]

    def path(self, state: str) -> tuple[str, ...]:
        """Ids from the outermost state down to `state`; none if there is no such state."""
        return self._paths.get(state, ())

    @cached_property
    def _paths(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}

        def note(box: Box, around: tuple[str, ...]) -> None:
            found[box.id] = (*around, box.id)
            for inner in box.inside:
                note(inner, found[box.id])

        for box in self.boxes:
            note(box, ())
        return found

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The ids of all states without states inside them, in document order."""
        return tuple(leaf.id for box in self.boxes for leaf in box.leaves)

    @cached_property
    def parallel(self) -> bool:
        """Whether several leaves can be active together."""
        return any(box.parallel for box in self.walk())

    def configuration(self, leaves: Iterable[str]) -> frozenset[str]:
        """These leaves with all that is around them."""
        return frozenset(state for leaf in leaves for state in self.path(leaf))

    @property
    def events(self) -> tuple[str, ...]:
        """Event names, sorted."""
        return tuple(sorted({arrow.event for arrow in self.arrows}))

    @property
    def guards(self) -> frozenset[str]:
        """Every name that the model must answer."""
        return frozenset(guard.name for arrow in self.arrows for guard in arrow.guards)

    @property
    def actions(self) -> frozenset[str]:
        """Every name that a listener must provide."""
        named = (name for box in self.walk() for name in box.entry + box.exit)
        return frozenset(named) | {name for arrow in self.arrows for name in arrow.actions}


def read(chart: type[Chart[Any]]) -> Anatomy:
    """The tables of a chart class.

    Raises:
        ValueError: if the chart uses what the house does not (see the top of this file).
    """
    boxes = tuple(map(_box, chart.states))
    arrows = (arrow for state in _walk(chart.states) for move in state.transitions for arrow in _arrows(move))
    return Anatomy(chart.__name__, boxes, tuple(arrows))


def build(anatomy: Anatomy) -> type[Chart[Any]]:
    """A new chart class with these tables, sharing nothing with the class they were read from.

    Raises:
        statemachine.exceptions.InvalidDefinition: if the library finds the chart ill-formed.
    """
    states: dict[str, State] = {}
    namespace: dict[str, Any] = {box.id: _state(box, states) for box in anatomy.boxes}
    for arrow in anatomy.arrows:
        conditions = [str(guard) for guard in arrow.guards]
        move = states[arrow.source].to(states[arrow.target], cond=conditions, on=list(arrow.actions))
        namespace[arrow.event] = namespace[arrow.event] | move if arrow.event in namespace else move
    built: type[Chart[Any]] = new_class(anatomy.name, (Chart,), exec_body=lambda body: body.update(namespace))
    return built


def _walk(states: Iterable[State]) -> Iterator[State]:
    for state in states:
        yield state
        yield from _walk(state.states)


def _box(state: State) -> Box:
    if state.history or any(_names(state.invoke)):
        raise ValueError(f"state {state.id!r} has history or invoke, which no chart here uses")
    return Box(
        id=state.id,
        name=str(state.name),
        initial=bool(state.initial) and not (state.parent is not None and state.parent.parallel),
        final=bool(state.final),
        entry=tuple(_names(state.enter)),
        exit=tuple(_names(state.exit)),
        inside=tuple(map(_box, state.states)),
        parallel=bool(state.parallel),
    )


def _arrows(move: Transition) -> Iterator[Arrow]:
    if move.initial:
        return
    if move.is_eventless or move.internal or move.target is None or len(move.targets) != 1:
        raise ValueError(f"{move!r} is eventless, internal, or has not one target, which no chart here uses")
    guards = tuple(_guard(spec.func, spec.expected_value is not False) for spec in move.cond)
    actions = tuple(_names(group) for group in (move.before, move.on, move.after))
    for event in move.events:
        yield Arrow(move.source.id, str(event), move.target.id, guards, tuple(n for names in actions for n in names))


def _names(group: Iterable[Any]) -> Iterator[str]:
    for spec in group:
        if not spec.is_convention:
            if not isinstance(spec.func, str):
                raise ValueError(f"{spec.func!r} is not a name; actions are names on a listener")
            yield spec.func


def _guard(text: object, wanted: bool) -> Guard:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a name; guards are names on the model")
    name = text.removeprefix("!")
    if not name.isidentifier():
        raise ValueError(f"guard {text!r} is not a plain name or !name")
    return Guard(name, wanted is (name == text))


def _state(box: Box, states: dict[str, State]) -> State:
    if box.inside:
        inner = {child.id: _state(child, states) for child in box.inside}
        options = {"name": box.name, "initial": box.initial, "enter": list(box.entry), "exit": list(box.exit)}
        kind = State.Parallel if box.parallel else State.Compound
        made = cast(State, new_class(box.id, (kind,), options, lambda body: body.update(inner)))
    else:
        made = State(box.name, initial=box.initial, final=box.final, enter=list(box.entry), exit=list(box.exit))
    states[box.id] = made
    return made
