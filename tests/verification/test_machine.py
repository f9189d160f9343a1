"""The engine under fire: it keeps its promises, and an engine that does not is found out."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from statemachine import State

from phasegate.engine.interpreter import Interpreter, Post, Stay
from phasegate.engine.peers import _PeerBindings
from phasegate.engine.sync import SyncBindings
from phasegate.statecharts.anatomy import read
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.law import Law, respond
from phasegate.verification.fire import EVENTS, machine, under_fire
from phasegate.verification.machine import EngineMachine
from phasegate.verification.part import Part
from phasegate.verification.runner import EXAMPLES
from phasegate.verification.scripted import FELL, IDLE, MISHEARD, OUTLIVED, OVERLAP, STALE, VANISHED, BrokenPromise
from phasegate.verification.stage import Stage

QUICK = settings(
    max_examples=60, stateful_step_count=30, database=None, deadline=None, phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck), print_blob=False,
)  # fmt: skip


def promises(tried: type[EngineMachine], examples: int = 60) -> set[str]:
    """The promises that were broken in some examples, by the beginning of the messages."""
    try:
        run_state_machine_as_test(
            seed(0)(tried), settings=settings(QUICK, max_examples=examples, report_multiple_bugs=False)
        )
    except (BrokenPromise, ExceptionGroup) as broken:
        errors = broken.exceptions if isinstance(broken, ExceptionGroup) else (broken,)
        return {str(error).partition(": ")[0] for error in errors if isinstance(error, BrokenPromise)}
    return set()


def made(name: str = "sync") -> type[EngineMachine]:
    return machine(CHARTS[name], *EVENTS[name])


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_the_engine_keeps_its_promises(name: str) -> None:
    """For both charts, and much happens on the way."""
    tried = made(name)
    assert promises(tried) == set()
    assert tried.tally["transitions"] > 100
    assert tried.tally["activities"] > 100
    assert tried.tally["stale events dropped"] > 0


def test_a_part_of_a_run_counts_what_it_did() -> None:
    """Examples are counted, and nothing is broken."""
    outcome = under_fire("sync", 3, 5)
    assert (outcome.part, outcome.name, outcome.violations) == (Part.ENGINE, "sync, seed 3", ())
    assert outcome.counts["examples"] >= 5


async def _stale_is_taken(self: Any, nursery: trio.Nursery, post: Post) -> bool:
    source = self.leaf
    moved: bool = self._dispatch(post)
    if moved:
        from phasegate.engine.interpreter import Step

        await self._perform(nursery, Step(source, self.leaf, post.event, post.reason))
    elif post.origin is not None and self._live.get(post.origin.state) is post.origin:
        await self._again(nursery, post.origin, post)
    return moved


async def _not_awaited(self: Any, nursery: trio.Nursery, step: Any) -> None:
    starts, stops = self._net_effects()
    for stay in stops:
        stay.cancel.cancel()
        self._running.pop(stay, None)
    if step is not None:
        await self._bindings.report(step)
    for start in starts:
        self._begin(nursery, start)


async def _not_cancelled(self: Any, nursery: trio.Nursery, step: Any) -> None:
    starts, _ = self._net_effects()
    if step is not None:
        await self._bindings.report(step)
    for start in starts:
        self._begin(nursery, start)


_JUDGED = Interpreter._judged


def _swallowed(self: Any, stay: Stay, error: Exception) -> tuple[Post | None, bool]:
    """Crashes alone: failures are judged as they should be."""
    post, flies = _JUDGED(self, stay, error)
    return (None, False) if flies or (post is not None and post.cause is not None) else (post, False)


async def _not_again(*_: Any) -> None:
    return


def _completed(self: Any, stay: Stay, error: Exception) -> tuple[Post | None, bool]:
    start = self._running.get(stay)
    late = self._live.get(stay.state) is not stay
    post = self._bindings.classify(stay.state, error)
    if late or post is None or post.cause is not None or start is None or start.then is None:
        return judged(self, stay, error)
    return Post(start.then, origin=stay), False


judged = Interpreter._judged


PLANTED: dict[str, tuple[str, Callable[..., Any], set[str]]] = {
    "events of earlier stays move the chart": ("_take", _stale_is_taken, {STALE}),
    "activities are not awaited before the next begin": ("_perform", _not_awaited, {OVERLAP, OUTLIVED}),
    "activities are not even cancelled": ("_perform", _not_cancelled, {OVERLAP, OUTLIVED}),
    "crashes are swallowed": ("_judged", _swallowed, {VANISHED, IDLE}),
    "a failure counts as a return": ("_judged", _completed, {MISHEARD}),
    "crashes in the mailbox of a chart that has ended are lost": ("_unheard", lambda _: [], {VANISHED}),
    "an activity that returned in vain is not begun again": ("_again", _not_again, {IDLE}),
}


@pytest.mark.parametrize("what", PLANTED)
def test_an_engine_that_breaks_a_promise_is_found(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Each bug is planted in the engine itself, and the promise that it breaks is named."""
    method, wrong, expected = PLANTED[what]
    monkeypatch.setattr(Interpreter, method, wrong)
    assert promises(made(), EXAMPLES) & expected


def test_a_broken_promise_is_told_with_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a violation with the name of the promise, what Hypothesis made of it, and how to see it again."""
    monkeypatch.setattr(Interpreter, "_again", _not_again)
    (told,) = under_fire("sync", 1, 60).violations
    assert told.law == IDLE
    assert told.text.startswith("sync chart: [] run in ")
    assert "state.begin" in told.story
    assert told.reproduce == "phasegate verify --only engine --seed 1 --examples 60"


async def _stumbles(*_: Any) -> None:
    raise KeyError("planted")


def test_an_engine_that_falls_by_itself_is_told_like_any_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the interpreter's own has a name and a story, and ends no process but its example."""
    monkeypatch.setattr(Interpreter, "_again", _stumbles)
    (told,) = under_fire("sync", 1, 60).violations
    assert told.law == FELL
    assert told.text == "sync chart: KeyError('planted')"
    assert "state.begin" in told.story


def test_a_broken_promise_goes_from_one_process_to_another() -> None:
    """One that could not be read there would take all processes down, and every finding with them."""
    broken = pickle.loads(pickle.dumps(BrokenPromise(IDLE, "nobody runs")))  # noqa: S301 - our own
    assert str(broken) == f"{IDLE}: nobody runs"


class Lamp(Chart[Any]):
    """A user's chart whose engine has no event for a bug."""

    dark = State(initial=True, enter="wait_for_dusk")
    lit = State(enter="burn")
    gone = State(final=True)

    dusk = dark.to(lit, cond="has_oil")
    dawn = lit.to(dark)
    smash = dark.to(gone) | lit.to(gone)


LAMP = Law(
    name="lamp",
    initial="dark",
    ends=frozenset({"gone"}),
    leaves=frozenset({"dark", "lit", "gone"}),
    goal="lit",
    guarded={"lit": ("has_oil",)},
    everywhere=frozenset({"smash"}),
    runs={"dark": "wait_for_dusk", "lit": "burn"},
    returns={"wait_for_dusk": "dusk", "burn": "dawn"},
    responses=(
        *respond("dark", "dusk", "has_oil -> lit", "!has_oil -> stay"),
        *respond("lit", "dawn", "-> dark"),
        *respond("dark lit", "smash", "-> gone"),
    ),
)


class LampMachine(EngineMachine):
    """What a user writes."""

    ruled = Ruled(Lamp, LAMP)
    failure = "smash"
    bug = None


TestLamp = LampMachine.TestCase
TestLamp.settings = QUICK


@pytest.mark.parametrize(
    ("name", "bindings"), [("sync", SyncBindings), ("interleaved", SyncBindings), ("peer", _PeerBindings)]
)
def test_laws_say_what_the_real_activities_returns_stand_for(name: str, bindings: type[Any]) -> None:
    """The scripted activities post the same events as those of the client."""
    law = CHARTS[name].law
    assert set(law.runs.values()) == read(CHARTS[name].chart).actions
    for action in read(CHARTS[name].chart).actions:
        found: Any = object.__new__(bindings)
        found.effects = []
        getattr(found, action)(State("somewhere"))
        assert found.effects[0].then == law.returns.get(action), action


def test_a_stage_stands_still_between_calls() -> None:
    """What was begun goes on only when it is told to, or when virtual time passes; the end cleans up."""
    stage, seen = Stage(), list[str]()

    async def sleeper() -> None:
        try:
            await trio.sleep(5)
            seen.append("slept")
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(10)
            seen.append("cleaned up")

    async def begin() -> str:
        stage.nursery.start_soon(sleeper)
        return "begun"

    stage.begin()
    assert stage.do(begin) == "begun"
    stage.wait(4)
    assert seen == []
    stage.wait(2)
    assert seen == ["slept"]
    stage.end()
    assert seen == ["slept", "cleaned up"]


def test_events_that_the_chart_does_not_have_are_refused() -> None:
    """A machine whose failures are refused by every state would try nothing, and pass."""
    with pytest.raises(ValueError, match="'fail' is no event of Lamp"):
        machine(Ruled(Lamp, LAMP), "fail", None)()
