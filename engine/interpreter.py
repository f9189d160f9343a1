"""The Trio engine that executes a chart.

The chart is sans-IO: a step of it is one synchronous `send()` that takes no checkpoint, so nothing can interleave
with it. What a state *does* is an activity, an `async def` bound to the state by the name of its entry action. During
a step the library calls that name on the `Bindings` listener, which only records "start this"; leaving a state records
"stop that". After the step the interpreter performs the record:

1. every activity whose state was left is cancelled, and awaited until it has really finished, clean-up and hand-overs
   to the store included, so that two phases of one region never overlap (most charts have but one);
2. the step is reported (journalled) while nothing of what was left or is entered runs;
3. the activities of the states entered are started, each in a cancel scope that belongs to this one stay.

A stay's identity is its epoch. What an activity emits reaches the chart only while its stay is live; later it is
dropped and counted. When an activity returns, the event declared for it (`then`) is posted. If no guard lets that
event through, the chart stays where it is and the activity starts again; `Bindings.refused` decides when that has
happened too often; so it does where other regions took the event. An exception is turned into an event by
`Bindings.classify` or it takes the engine down: none is swallowed.

python-statemachine's own `invoke`, delayed events and `async def` callbacks assume asyncio or block the loop; none is
used. If a step raises, the library rolls its configuration back, and the record of that step is thrown away with it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio
from statemachine import State
from statemachine.exceptions import TransitionNotAllowed

from phasegate.engine.errors import LocalProtocolError
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.places import order, place

M = TypeVar("M")
B = TypeVar("B", bound="Bindings")


@attrs.frozen
class Post:
    """An event for the chart: its name, why it is sent, and the stay that sent it (None: from outside).

    `cause` is set where the event stands for an error that must not vanish: no state takes it, it is raised.
    """

    event: str
    reason: str = ""
    origin: Stay | None = None
    cause: Exception | None = None


@attrs.frozen(eq=False)
class Stay:
    """One stay in one state. Identity is the epoch: the next stay in the same state is another object."""

    state: str
    epoch: int
    cancel: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)
    finished: trio.Event = attrs.field(factory=trio.Event, repr=False)


@attrs.frozen
class Step:
    """A transition that was taken: place to place, on which event, for which reason.

    A place is the active leaf, or with parallel regions the leaves of all (`phasegate.statecharts.places`); `left` and
    `entered` are the leaves in which something changed.
    """

    source: str
    target: str
    event: str
    reason: str
    left: tuple[str, ...] = attrs.field(default=(), eq=False)
    entered: tuple[str, ...] = attrs.field(default=(), eq=False)


@attrs.frozen
class _Start:
    state: str
    run: Callable[[], Awaitable[None]]
    then: str | None


@attrs.frozen
class _Stop:
    state: str


class Bindings:
    """Base of the listener that binds activities to states; its methods are what `@activity` made of them."""

    def __init__(self) -> None:
        self.effects: deque[_Start | _Stop] = deque()

    def on_exit_state(self, source: State) -> None:
        """Called by the library on every exit: whatever runs for that state has to stop."""
        self.effects.append(_Stop(source.id))

    def refresh(self) -> None:
        """Called before each step: take the snapshot of facts that the guards of this step will read."""

    async def report(self, step: Step) -> None:
        """Called after each transition, when nothing of the old state runs and nothing of the new one does."""

    def classify(self, state: str, error: Exception) -> Post | None:
        """The event that stands for an activity's `error`; None lets the error take the engine down."""

    def refused(self, state: str, event: str, times: int) -> Post | None:
        """The activity of `state` returned for the `times`-th time and its event was refused: None starts it again."""


def activity(then: str | None = None) -> Callable[[Callable[[B], Awaitable[None]]], Callable[[B, State], None]]:
    """Make an `async def` method the activity of the states that name it as entry action.

    Args:
        then: the event posted when the activity returns; None if its return means nothing.
    """

    def decorate(fn: Callable[[B], Awaitable[None]]) -> Callable[[B, State], None]:
        @wraps(fn)
        def record(self: B, target: State) -> None:
            self.effects.append(_Start(target.id, lambda: fn(self), then))

        del record.__wrapped__  # else the library binds by the coroutine's signature
        return record

    return decorate


class _ChartFactory(Protocol[M]):
    def __call__(self, model: M, *, listeners: list[Any]) -> Chart[M]: ...


class Interpreter(Generic[M]):
    """Executes one chart: `await nursery.start(interpreter.run)`.

    Args:
        chart: the chart's class.
        model: the object whose attributes are the guards.
        bindings: the listener that binds activities.
    """

    def __init__(self, chart: _ChartFactory[M], model: M, bindings: Bindings) -> None:
        self._bindings = bindings
        self.chart = chart(model, listeners=[bindings])
        self._order = order(self.chart.states)
        self._known = frozenset(str(event) for event in self.chart.events)
        self._live: dict[str, Stay] = {}
        self._running: dict[Stay, _Start] = {}
        self._vain: dict[Stay, int] = {}
        self._epochs = itertools.count(1)
        self._send, self._receive = trio.open_memory_channel[Post](64)
        self.stale = self.refusals = 0
        self.ended = trio.Event()
        """Set when the chart has reached a final state and nothing of it runs any more."""

    @property
    def leaf(self) -> str:
        """The place: the id of the active atomic state, or of regions those of all, joined by `+`."""
        return place(self.leaves)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The ids of the active atomic states, in document order."""
        active = self.chart.configuration_values
        return tuple(leaf for leaf in self._order if leaf in active)

    @property
    def waiting(self) -> int:
        """How many events wait to be taken."""
        return self._receive.statistics().current_buffer_used

    async def post(self, event: str, reason: str = "", *, cause: Exception | None = None) -> None:
        """Send an event from outside.

        Raises:
            LocalProtocolError: the chart has no such event.
            trio.BrokenResourceError: the chart has ended.
        """
        self._check(event)
        await self._send.send(Post(event, reason, cause=cause))

    def post_nowait(self, event: str, reason: str = "") -> bool:
        """Send an event from outside unless the mailbox is full or the chart has ended; True when it was taken in."""
        self._check(event)
        try:
            self._send.send_nowait(Post(event, reason))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def _check(self, event: str) -> None:
        if event not in self._known:
            raise LocalProtocolError(f"{event!r} is not an event of {type(self.chart).__name__}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until the chart reaches a final state."""
        with self._receive:  # closing must not be a checkpoint: when all is cancelled that would hide an error
            async with trio.open_nursery() as last:
                try:
                    await self._run(task_status)
                finally:
                    for error in self._unheard():
                        last.start_soon(_fly, error)  # beside whatever flies already
        self.ended.set()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            await self._perform(nursery, None)
            task_status.started()
            while not self.chart.is_terminated:
                await self._take(nursery, await self._receive.receive())
            nursery.cancel_scope.cancel()

    def _unheard(self) -> list[Exception]:
        """The errors that wait in the mailbox of a chart that takes nothing any more: they must not vanish."""
        unheard: list[Exception] = []
        with suppress(trio.WouldBlock):
            while True:
                post = self._receive.receive_nowait()
                unheard += [post.cause] if post.cause is not None else []
        return unheard

    async def _take(self, nursery: trio.Nursery, post: Post) -> bool:
        """Take an event out of the mailbox; True when it moved the chart."""
        if post.origin is not None and self._live.get(post.origin.state) is not post.origin:
            self.stale += 1  # its state has been left since: not this stay's business any more
            if post.cause is not None:
                raise post.cause  # but an error that stands for no failure is everybody's
            return False
        self._check(post.event)
        source = self.leaves
        if moved := self._dispatch(post):
            await self._perform(nursery, self._step(source, post))
        if post.origin is not None and self._live.get(post.origin.state) is post.origin:
            await self._again(nursery, post.origin, post)
        return moved

    def _dispatch(self, post: Post) -> bool:
        """One step of the chart; False when no transition took the event."""
        self._bindings.refresh()
        mark = len(self._bindings.effects)
        try:
            self.chart.send(post.event)
        except TransitionNotAllowed:
            self.refusals += 1
            if post.cause is not None:
                raise post.cause from None  # an error that no state takes must not vanish
            return False
        except BaseException:
            while len(self._bindings.effects) > mark:  # the library rolled the configuration back: so do we
                self._bindings.effects.pop()
            raise
        return True

    async def _again(self, nursery: trio.Nursery, stay: Stay, post: Post) -> None:
        """The activity of a live stay returned, and its state was not left: start it again, unless that is in vain."""
        times = self._vain.pop(stay, 0) + 1
        instead = self._bindings.refused(stay.state, post.event, times)
        if instead is not None and await self._take(nursery, instead):
            return  # it has no origin, so what it moves is the whole chart
        start = self._running.pop(stay)
        await stay.finished.wait()
        self._vain[self._begin(nursery, start)] = times

    def _step(self, source: tuple[str, ...], post: Post) -> Step:
        """What the chart has just done, as far as it is told by what it recorded."""
        left = {effect.state for effect in self._bindings.effects if isinstance(effect, _Stop)}
        now, gone = self.leaves, tuple(leaf for leaf in source if leaf in left)
        entered = tuple(leaf for leaf in now if leaf in left or leaf not in source)
        return Step(place(source), place(now), post.event, post.reason, gone, entered)

    async def _perform(self, nursery: trio.Nursery, step: Step | None) -> None:
        """Carry out what the step recorded: stop fully, report, then start."""
        starts, stops = self._net_effects()
        for stay in stops:
            stay.cancel.cancel()
        for stay in stops:
            await stay.finished.wait()
            self._running.pop(stay, None)
            self._vain.pop(stay, None)
        if step is not None:
            await self._bindings.report(step)
        for start in starts:
            self._begin(nursery, start)

    def _net_effects(self) -> tuple[list[_Start], list[Stay]]:
        """The recorded effects with entries and exits of the same step netted out."""
        starts, stops = dict[str, _Start](), list[Stay]()
        while self._bindings.effects:
            effect = self._bindings.effects.popleft()
            if isinstance(effect, _Start):
                starts[effect.state] = effect
            elif starts.pop(effect.state, None) is None and (stay := self._live.pop(effect.state, None)):
                stops.append(stay)
        return list(starts.values()), stops

    def _begin(self, nursery: trio.Nursery, start: _Start) -> Stay:
        stay = self._live[start.state] = Stay(start.state, next(self._epochs))
        self._running[stay] = start
        nursery.start_soon(self._supervise, stay, start, name=f"{stay.state}#{stay.epoch}")
        return stay

    async def _supervise(self, stay: Stay, start: _Start) -> None:
        try:
            with stay.cancel:
                outcome = await self._outcome(stay, start)
        finally:
            stay.finished.set()
        if not stay.cancel.cancelled_caught and outcome is not None and self._live.get(stay.state) is stay:
            try:
                await self._send.send(outcome)
            except trio.Cancelled:
                if outcome.cause is None:
                    raise
                raise outcome.cause from None  # everything ends, and nobody would hear of it

    async def _outcome(self, stay: Stay, start: _Start) -> Post | None:
        try:
            await start.run()
        except Exception as error:  # the one door: an activity's error becomes an event, or flies
            post, flies = self._judged(stay, error)
            if flies:
                raise
            return post
        except BaseExceptionGroup as group:  # it failed while it was being cancelled: both have to be dealt with
            cancelled, errors = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(errors, ExceptionGroup) or self._judged(stay, errors)[1]:
                raise
            raise cancelled from None
        return None if start.then is None else Post(start.then, origin=stay)

    def _judged(self, stay: Stay, error: Exception) -> tuple[Post | None, bool]:
        """The event that stands for an activity's error, if its stay is live; whether the error has to fly instead."""
        post = self._bindings.classify(stay.state, error)
        late = self._live.get(stay.state) is not stay
        if post is None or (late and post.cause is not None):
            return None, True
        return None if late else attrs.evolve(post, origin=stay), False


async def _fly(error: Exception) -> None:
    raise error
