"""The engine under fire: a Hypothesis state machine that runs any chart with scripted activities.

Subclass it with your own chart and law, and run its `TestCase`:

    class MyMachine(EngineMachine):
        ruled = Ruled(MyChart, MY_LAW)

    TestMine = MyMachine.TestCase

Hypothesis decides what happens: guards change their answers, events come from outside, activities return, fail, crash,
take their time over being cancelled and speak when their state has long been left; things happen one at a time, or
several before the engine gets to run, or while the program is started anew. After each, what the engine promises is
looked at (`phasegate.verification.scripted` names it), and at the end the recorded journal is replayed against the law.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from phasegate.engine.interpreter import Interpreter
from phasegate.statecharts.anatomy import read
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.lines import Lines
from phasegate.verification.recorded import Recorded
from phasegate.verification.replay import Article, replay
from phasegate.verification.scripted import (
    FELL,
    IDLE,
    OUTLIVED,
    VANISHED,
    BrokenPromise,
    Guards,
    Manner,
    Order,
    ScriptedBug,
    ScriptedFailure,
    Troupe,
    model,
    troupe,
)
from phasegate.verification.stage import Stage

DRAWN = st.data()
BEGUN = (0, 1, 2, 3, 4, 5, 6, 7)
"""How many steps an example may be into its story when it begins."""


class EngineMachine(RuleBasedStateMachine):
    """Drives one chart's engine; every example is a run of several programs one after the other.

    Class attributes, to be set by who subclasses it:
        ruled: the chart and its law.
        failure: the event that an activity's failure stands for; None if it takes the engine down.
        bug: the event that any other error of an activity stands for; None if it takes the engine down.
        tally: counts what happened, over all examples.
    """

    ruled: ClassVar[Ruled] = CHARTS["sync"]
    failure: ClassVar[str | None] = "fail"
    bug: ClassVar[str | None] = "crash"
    tally: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        anatomy = read(self.ruled.chart)
        for event in {self.failure, self.bug} - {None, *anatomy.events}:
            raise ValueError(f"{event!r} is no event of {anatomy.name}: `failure` and `bug` name one, or are None")
        self._gentle = tuple(event for event in anatomy.events if event not in self.ruled.law.everywhere)
        self._names = sorted(anatomy.guards - set(self.ruled.law.switches))
        self._guards = Guards(dict.fromkeys(anatomy.guards, False))
        self._stage = Stage()
        self._stage.begin()
        self._journal: list[Recorded] = []
        self._outside = 0
        self._troupe: Troupe
        self._engine: Interpreter[Any]
        self._scope: trio.CancelScope
        self._fell: list[BaseException] = []
        self._reported = self._stale = self._activities = 0

    # -- what happens --------------------------------------------------------------------------------------------

    @initialize(data=DRAWN)
    def begin(self, data: st.DataObject) -> None:
        """The program is started under some configuration."""
        for switch in self.ruled.law.switches:
            self._guards.answers[switch] = data.draw(st.booleans(), label=switch)
        self._start()
        for _ in range(data.draw(st.sampled_from(BEGUN), label="steps that are gone already")):
            self.answer_yes()
            onward = [event for event in self._fitting() if event in self.ruled.law.onward]
            self._at_once([onward[0] if onward else Order.RETURN])
        if data.draw(st.booleans(), label="guards say no"):
            self.answer_no()

    @rule(data=DRAWN)
    def answer(self, data: st.DataObject) -> None:
        """Some guards change their answers."""
        if self._names:
            for name in data.draw(st.lists(st.sampled_from(self._names), min_size=1, max_size=4, unique=True)):
                self._guards.answers[name] = not self._guards.answers[name]

    @rule()
    def answer_yes(self) -> None:
        """Every guard says yes, but those that bring bad news."""
        for name in self._names:
            self._guards.answers[name] = name not in self.ruled.law.bad_news

    @rule()
    def answer_no(self) -> None:
        """Every guard says no."""
        for name in self._names:
            self._guards.answers[name] = False

    @rule(data=DRAWN)
    def post(self, data: st.DataObject) -> None:
        """An event comes from outside."""
        self._at_once([self._event(data)])

    @rule(order=st.sampled_from(Order))
    def tell(self, order: Order) -> None:
        """The activity that runs does something."""
        self._at_once([order])

    @rule(data=DRAWN)
    def at_once(self, data: st.DataObject) -> None:
        """Several things happen before the engine gets to run."""
        one = st.one_of(st.sampled_from(Order), st.builds(lambda: None))
        orders = data.draw(st.lists(one, min_size=2, max_size=4))
        self._at_once([self._event(data) if order is None else order for order in orders])

    @rule(order=st.sampled_from((Order.RETURN, Order.FAIL)), data=DRAWN)
    @precondition(lambda self: bool(self._leading_back()))
    def overtake(self, order: Order, data: st.DataObject) -> None:
        """What the activity does, and an event that ends its stay and begins another one in the same state, meet."""
        self._at_once([order, data.draw(st.sampled_from(self._leading_back()), label="event")])

    @rule(manner=st.sampled_from(Manner))
    def manner(self, manner: Manner) -> None:
        """From now on activities take being cancelled like this."""
        self._troupe.manner = manner

    @rule(seconds=st.sampled_from((0.5, 2.0, 4.0)))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._stage.wait(seconds)

    @rule()
    @precondition(lambda self: len(self._journal) > 3)
    def restart(self) -> None:
        """The program is killed and started anew."""
        self._stop()
        self._start()

    @rule(data=DRAWN)
    @precondition(lambda self: len(self._journal) > 4 and bool(self.ruled.law.everywhere))
    def end(self, data: st.DataObject) -> None:
        """An event that ends everything comes from outside, beside other things; then the program is started anew."""
        event = data.draw(st.sampled_from(sorted(self.ruled.law.everywhere)))
        self._at_once([event, *data.draw(st.lists(st.sampled_from(Order), max_size=1))])

    # -- what is looked at ---------------------------------------------------------------------------------------

    @invariant()
    def keeps_its_promises(self) -> None:
        """Whatever has happened."""
        if not hasattr(self, "_troupe"):
            return
        self._record()
        for broken in self._troupe.broken:
            raise broken
        if self._fell:
            self._look_at_fall()
        elif self._engine.ended.is_set():
            self._restart_after_end()
        else:
            self._look_at_activity()

    def teardown(self) -> None:
        """The journal of the whole example keeps the law."""
        try:
            if hasattr(self, "_troupe"):
                self._record()
                self._stop()
                self._look_at_journal()
        finally:
            self._stage.end()
        type(self).tally["examples"] += 1
        type(self).tally["stale events dropped"] += self._stale
        type(self).tally["activities"] += self._activities
        type(self).tally["transitions"] += len(self._journal)

    def _look_at_activity(self) -> None:
        """Whoever runs belongs to the state; and what the law says runs does, unless an earlier act is ending."""
        running = [act.state for act in self._troupe.running]
        if any(act.cancelled for act in self._troupe.running):
            return
        wanted = [leaf for leaf in self._engine.leaves if leaf in self.ruled.law.runs]
        idle = [leaf for leaf in wanted if leaf not in running]
        if sorted([*running, *idle]) != sorted(wanted) or not all(map(self._is_resting, idle)):
            raise BrokenPromise(IDLE, f"{running} run in {self._engine.leaf}")

    def _is_resting(self, leaf: str) -> bool:
        """Whether its last activity returned, and that means nothing, so that nobody starts it again."""
        acts = [act for act in self._troupe.acts if act.state == leaf]
        return bool(acts) and acts[-1].ended and self.ruled.law.runs[leaf] not in self.ruled.law.returns

    def _look_at_fall(self) -> None:
        """The engine went down: only errors that the chart has no event for may do that, and all have to be seen."""
        causes = [leaf for error in self._fell for leaf in _leaves(error)]
        wrong = [cause for cause in causes if not self._may_fall_by(cause)]
        if wrong:
            raise BrokenPromise(FELL, "; ".join(repr(cause) for cause in wrong)) from self._fell[0]
        self._look_back()
        self._start()

    def _may_fall_by(self, cause: BaseException) -> bool:
        if isinstance(cause, ScriptedFailure):
            return self.failure is None
        return isinstance(cause, ScriptedBug) and str(cause) in self._troupe.bugs

    def _restart_after_end(self) -> None:
        if self._troupe.running:
            raise BrokenPromise(OUTLIVED, f"{self._troupe.running[0].state} outlives the engine")
        self._look_back()
        self._start()

    def _look_back(self) -> None:
        """When a program has ended, in whichever way: what its activities crashed by was reported or raised."""
        self._stale += self._engine.stale
        self._activities += len(self._troupe.acts)
        seen = {str(leaf) for error in self._fell for leaf in _leaves(error)}
        seen |= {step.reason for step, _ in self._troupe.steps}
        for bug in sorted(self._troupe.bugs - seen):
            raise BrokenPromise(VANISHED, f"the crash of {bug} was neither reported nor raised")

    def _look_at_journal(self) -> None:
        """Here guards answer as they like, without facts behind them: so there is no evidence to be examined."""
        for breach in replay(self._journal, self.ruled).breaches:
            if breach.law is not Article.EVIDENCE:
                raise BrokenPromise(f"journal: {breach.law.value}", f"row {breach.row_id}: {breach.text}")

    # -- the run -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._guards.seen = dict(self._guards.answers)
        self._troupe = troupe(self.ruled, self._guards, self.failure, self.bug)
        self._engine = Interpreter(self.ruled.chart, model(self.ruled, self._guards), self._troupe)
        self._troupe.say = self._engine.post_nowait
        self._fell = []
        self._scope = trio.CancelScope()
        self._reported = 0
        self._stage.do(self._spawn)

    async def _spawn(self) -> None:
        self._stage.nursery.start_soon(self._perform)

    async def _perform(self) -> None:
        try:
            with self._scope:
                await self._engine.run()
        except (ExceptionGroup, BaseExceptionGroup) as error:
            self._fell.append(error)

    def _stop(self) -> None:
        """Kill the program; what crashes meanwhile must be seen."""

        async def cancel() -> None:
            self._scope.cancel()

        self._stage.do(cancel)
        for _ in range(3):
            self._stage.wait(4.0)
        self._record()
        self._look_back()

    def _at_once(self, things: Iterable[Order | str]) -> None:
        async def happen() -> None:
            for thing in things:
                if isinstance(thing, Order):
                    for act in self._troupe.running:
                        act.tell(thing)
                else:
                    self._outside += 1
                    self._engine.post_nowait(str(thing), f"outside {self._outside}")

        self._stage.do(happen)

    def _event(self, data: st.DataObject) -> str:
        """Any event; half of the time one that the law has something to say about in this state."""
        fitting = st.sampled_from(self._fitting() or self._gentle)
        return data.draw(st.one_of(fitting, st.sampled_from(self._gentle)), label="event")

    def _fitting(self) -> list[str]:
        """The events that the law has something to say about in this state, but for those that end everything."""
        lines = Lines(self.ruled.law)
        return sorted(event for event in self._gentle if lines.answered(self._engine.leaves, event))

    def _leading_back(self) -> list[str]:
        """The events that may lead from this state into itself."""
        leaves = self._engine.leaves
        return sorted({line.event for line in self.ruled.law.responses if line.leaf == line.target in leaves})

    def _record(self) -> None:
        """Take over what was reported since, as rows of a journal."""
        for step, holding in self._troupe.steps[self._reported :]:
            row, facts = len(self._journal) + 1, {"holding": list(holding)}
            self._journal.append(Recorded(row, float(row), step.source, step.target, step.event, step.reason, facts))
        self._reported = len(self._troupe.steps)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
