"""Activities that do as they are told, for any chart: they return, fail, crash, hang, cling, and speak too late.

`Troupe` binds one such activity to each entry action of a chart. It notes what runs when, and holds the engine to its
promises while it does: activities never overlap, a transition is reported while nothing runs, and who moves the chart
is either somebody outside or the one activity that runs in the state that is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import attrs
import trio
from statemachine import State

from phasegate.engine.interpreter import Bindings, Post, Step, activity
from phasegate.statecharts.anatomy import read
from phasegate.statecharts.catalogue import Ruled
from phasegate.statecharts.law import Beside
from phasegate.statecharts.places import leaves_of

OVERLAP, OUTLIVED, STALE, MISHEARD, VANISHED, IDLE, FELL = (
    "no two phases overlap",
    "no activity outlives its state",
    "stale events never move the chart",
    "a failure is no completion",
    "errors never vanish",
    "every state runs its activity",
    "the engine falls by no error of its own",
)
"""The promises of the engine, as they are named when one is broken."""
CLING = 3.0
"""Virtual seconds for which a clinging activity cleans up."""
VAIN = 4
"""Vain returns in a row after which the troupe fails instead."""


class Order(StrEnum):
    """What an activity that runs can be told to do."""

    RETURN = "return"
    FAIL = "fail"
    CRASH = "crash"
    TWICE = "return, and say so twice"


class Manner(StrEnum):
    """How an activity takes being cancelled."""

    LEAVE = "leaves"
    CLING = "cleans up for a while"
    LATE = "cleans up for a while and returns as if nothing had been"
    LATE_FAILURE = "fails while it is cancelled"
    LATE_CRASH = "crashes while it is cancelled"


class ScriptedFailure(Exception):
    """What the chart takes as a failure."""


class ScriptedBug(Exception):
    """What nobody expects."""


class BrokenPromise(AssertionError):
    """The engine did what it must never do; the message begins with the name of the promise."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(promise, text)  # as they came: so it survives the way from one process to another

    def __str__(self) -> str:
        return ": ".join(self.args)


@attrs.define(eq=False)
class Act:
    """One activity that was started: whose, what it is told, and how it ended."""

    number: int
    state: str
    order: Order | None = None
    told: trio.Event = attrs.field(factory=trio.Event, repr=False)
    cancelled: bool = False
    ended: bool = False

    def tell(self, order: Order) -> None:
        """Have it do something; only the first order counts."""
        if not self.told.is_set():
            self.order = order
            self.told.set()


class Guards:
    """The model: answers by name, and the snapshot that the last step saw."""

    def __init__(self, answers: Mapping[str, bool]) -> None:
        self.answers = dict(answers)
        self.seen = dict(answers)


class Troupe(Bindings):
    """The listener of a chart whose activities are scripted; made by `troupe`.

    Args:
        guards: answers the chart's guards.
        failure: the event that a failure stands for; None: the engine goes down.
        bug: the event that any other error stands for, its cause kept; None: the engine goes down.
        beside: the regions of the chart, if it has any.
    """

    def __init__(self, guards: Guards, failure: str | None, bug: str | None, beside: Beside | None = None) -> None:
        super().__init__()
        self._beside = beside
        self.guards = guards
        self.entering: dict[str, str] = {}
        self.acts: list[Act] = []
        self.running: list[Act] = []
        self.steps: list[tuple[Step, tuple[str, ...]]] = []
        self.bugs: set[str] = set()
        self.manner = Manner.LEAVE
        self.broken: list[BrokenPromise] = []
        self.say: Callable[[str, str], object] = lambda _event, _reason: None
        self._failure = failure
        self._bug = bug

    async def perform(self, state: str, then: str | None) -> None:
        """One stay's activity."""
        act = Act(len(self.acts) + 1, state)
        self.acts.append(act)
        for other in self.running:
            if not self._may_run_beside(other.state, state):
                self._break(OVERLAP, f"{state} starts while {other.state} runs")
        self.running.append(act)
        try:
            await self._play(act, then)
        finally:
            act.ended = True
            self.running.remove(act)

    async def _play(self, act: Act, then: str | None) -> None:
        try:
            await act.told.wait()
        except trio.Cancelled:
            act.cancelled = True
            if self.manner is Manner.LEAVE or not await self._swallow(act):
                raise
            return
        match act.order:
            case Order.FAIL:
                raise ScriptedFailure(f"act {act.number}")
            case Order.CRASH:
                raise self._new_bug(act)
            case Order.TWICE if then is not None:
                self.say(then, "outside, by an activity")

    async def _swallow(self, act: Act) -> bool:
        """Take one's time over being cancelled; True if the cancellation is then ignored."""
        manner = self.manner
        with trio.CancelScope(shield=True):
            await trio.sleep(CLING)
        if manner is Manner.LATE_FAILURE:
            raise ScriptedFailure(f"act {act.number}")
        if manner is Manner.LATE_CRASH:
            raise self._new_bug(act)
        return manner is Manner.LATE

    def _new_bug(self, act: Act) -> ScriptedBug:
        self.bugs.add(f"act {act.number}")
        return ScriptedBug(f"act {act.number}")

    # -- what the engine calls -----------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Freeze the answers for the step that follows."""
        self.guards.seen = dict(self.guards.answers)

    async def report(self, step: Step) -> None:
        """Note a transition, and look at who caused it."""
        for act in self.running:
            if act.state in (*step.left, *step.entered) or act.state not in leaves_of(step.target):
                self._break(OUTLIVED, f"{act.state} still runs when {step.event} led to {step.target}")
        if not step.reason.startswith("outside"):
            self._look_at_cause(step)
        self.steps.append((step, tuple(sorted(name for name, yes in self.guards.seen.items() if yes))))

    def _look_at_cause(self, step: Step) -> None:
        """Whoever moves the chart from within is the newest act, of a state that was active, and was not cancelled."""
        own = [act for act in self._newest(step.source) if act.ended and not act.cancelled]
        named = [act for act in own if not step.reason or step.reason == f"act {act.number}"]
        if named and not step.reason and all(act.order is Order.FAIL for act in named):
            self._break(MISHEARD, f"the failure of act {named[0].number} became {step.event}, as if it had returned")
        if not named:
            self._break(STALE, f"{step.event} ({step.reason or 'a return'}) of an earlier stay leaves {step.source}")

    def _newest(self, place: str) -> list[Act]:
        """The newest act of each leaf; where one leaf is active alone it has to be the newest of all."""
        leaves = leaves_of(place)
        if len(leaves) == 1:
            return [act for act in self.acts[-1:] if act.state == place]
        found = {act.state: act for act in self.acts if act.state in leaves}
        return list(found.values())

    def _may_run_beside(self, one: str, other: str) -> bool:
        """Whether these are leaves of two regions."""
        regions = [] if self._beside is None else [{one, other}.intersection(r) for r in self._beside.regions]
        return sum(map(len, regions)) == 2 and all(len(found) < 2 for found in regions)

    def classify(self, state: str, error: Exception) -> Post | None:  # noqa: ARG002 - the signature is the base class's
        """Failures and bugs are what the chart calls them; a broken promise takes the engine down."""
        if isinstance(error, ScriptedFailure) and self._failure is not None:
            return Post(self._failure, str(error))
        if isinstance(error, ScriptedBug) and self._bug is not None:
            return Post(self._bug, str(error), cause=error)
        return None

    def refused(self, state: str, event: str, times: int) -> Post | None:  # noqa: ARG002 - the signature is the base class's
        """After some vain returns the activity counts as failed."""
        if times < VAIN or self._failure is None:
            return None
        return Post(self._failure, f"act {next(act.number for act in reversed(self.acts) if act.state == state)}")

    def _break(self, promise: str, text: str) -> None:
        self.broken.append(BrokenPromise(promise, text))


def troupe(ruled: Ruled, guards: Guards, failure: str | None, bug: str | None) -> Troupe:
    """The troupe for a chart: an activity for each entry action, whose return stands for what the law says."""
    members = {name: _scripted(name, ruled.law.returns.get(name)) for name in read(ruled.chart).actions}
    made: Troupe = type(f"{ruled.chart.__name__}Troupe", (Troupe,), members)(guards, failure, bug, ruled.law.beside)
    return made


def model(ruled: Ruled, guards: Guards) -> Any:
    """The model of a chart whose guards answer as `guards` does."""
    members = {name: _answered(name, guards) for name in read(ruled.chart).guards}
    return type(f"{ruled.chart.__name__}Guards", (), members)()


def _answered(name: str, guards: Guards) -> property:
    return property(lambda _: guards.seen[name])


def _scripted(name: str, then: str | None) -> Any:
    async def run(self: Troupe) -> None:
        await self.perform(self.entering[name], then)

    request = activity(then)(run)

    def record(self: Troupe, target: State) -> None:
        self.entering[name] = target.id
        request(self, target)

    return record
