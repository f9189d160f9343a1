"""The Trio engine: activities live exactly as long as their states, and nothing that happens is lost or doubled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from statemachine import State

from phasegate.engine.errors import LocalProtocolError
from phasegate.engine.interpreter import Bindings, Interpreter, Post, Step, activity
from phasegate.statecharts.chart import Chart

pytestmark = pytest.mark.trio


class Guards:
    """The model: one guard that tests set."""

    def __init__(self) -> None:
        self.ready = True


class TwoRooms(Chart[Guards]):
    """Left and right, with an end."""

    left = State("Left", initial=True, enter="work_left")
    right = State("Right", enter="work_right")
    over = State("Over", final=True)

    move = left.to(right, cond="ready") | right.to(left)
    again = left.to(left)
    fail = left.to(right) | right.to(left)
    crash = left.to(over) | right.to(over)
    finish = left.to(over) | right.to(over)


class Oops(Exception):
    """A failure that the chart takes as `fail`."""


async def _forever() -> None:
    await trio.sleep_forever()


class Rooms(Bindings):
    """Activities that follow scripts and record when they run."""

    def __init__(self) -> None:
        super().__init__()
        self.running: set[str] = set()
        self.record: list[str] = []
        self.steps: list[Step] = []
        self.scripts: dict[str, list[Callable[[], Awaitable[None]]]] = {"left": [], "right": []}
        self.cleanup = 0.0
        self.patience = 100

    async def _play(self, name: str) -> None:
        assert not self.running, f"{name} starts while {self.running} runs"
        self.running.add(name)
        self.record.append(f"{name} starts")
        try:
            script = self.scripts[name].pop(0) if self.scripts[name] else _forever
            await script()
        finally:
            if self.cleanup:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.cleanup)
            self.running.discard(name)
            self.record.append(f"{name} ends")

    @activity(then="move")
    async def work_left(self) -> None:
        await self._play("left")

    @activity(then="move")
    async def work_right(self) -> None:
        await self._play("right")

    async def report(self, step: Step) -> None:
        assert not self.running
        self.steps.append(step)

    def classify(self, state: str, error: Exception) -> Post | None:
        if isinstance(error, Oops):
            return Post("fail", str(error))
        if isinstance(error, KeyError):
            return Post("crash", repr(error), cause=error)
        return None

    def refused(self, state: str, event: str, times: int) -> Post | None:
        return Post("finish", "in vain") if times >= self.patience else None


def machine() -> tuple[Interpreter[Guards], Rooms, Guards]:
    guards, rooms = Guards(), Rooms()
    return Interpreter(TwoRooms, guards, rooms), rooms, guards


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_an_activity_starts_on_entry_and_is_finished_before_the_next_one_starts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Even a shielded clean-up of ten seconds is awaited: two states' activities never overlap."""
    interpreter, rooms, _ = machine()
    rooms.cleanup = 10.0
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await interpreter.post("move")
        await trio.sleep(11)
        assert rooms.record == ["left starts", "left ends", "right starts"]
        await interpreter.post("finish")
    assert rooms.record[-1] == "right ends"
    assert [(s.source, s.target, s.event) for s in rooms.steps] == [
        ("left", "right", "move"),
        ("right", "over", "finish"),
    ]


async def test_a_return_posts_the_declared_event(autojump_clock: trio.testing.MockClock) -> None:
    """When the activity returns, its `then` event moves the chart."""
    interpreter, rooms, _ = machine()
    rooms.scripts["left"] = [lambda: trio.sleep(1)]
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await trio.sleep(2)
        assert interpreter.leaf == "right"
        await interpreter.post("finish")


async def test_a_return_that_no_guard_takes_starts_the_activity_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The chart stays where it is; the activity runs again until the guard holds."""
    interpreter, rooms, guards = machine()
    guards.ready = False
    rooms.scripts["left"] = [lambda: trio.sleep(1), lambda: trio.sleep(1), lambda: trio.sleep(1)]
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await trio.sleep(2.5)
        assert interpreter.leaf == "left"
        assert rooms.record.count("left starts") == 3
        guards.ready = True
        await trio.sleep(1)
        assert interpreter.leaf == "right"
        await interpreter.post("finish")


async def test_vain_returns_are_counted_and_end_as_the_bindings_say(autojump_clock: trio.testing.MockClock) -> None:
    """After as many vain returns as `refused` allows, its event is sent instead."""
    interpreter, rooms, guards = machine()
    guards.ready, rooms.patience = False, 4
    rooms.scripts["left"] = [lambda: trio.sleep(1)] * 9
    await interpreter.run()
    assert rooms.record.count("left starts") == 4
    assert rooms.steps[-1] == Step("left", "over", "finish", "in vain")


async def test_a_failure_becomes_its_event(autojump_clock: trio.testing.MockClock) -> None:
    """A classified error moves the chart and carries its reason."""
    interpreter, rooms, _ = machine()

    async def fail() -> None:
        raise Oops("no luck")

    rooms.scripts["left"] = [fail]
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await settle()
        assert rooms.steps == [Step("left", "right", "fail", "no luck")]
        await interpreter.post("finish")


async def test_an_unclassified_error_takes_the_engine_down(autojump_clock: trio.testing.MockClock) -> None:
    """What `classify` does not know flies out of `run`."""
    interpreter, rooms, _ = machine()

    async def fail() -> None:
        raise ZeroDivisionError

    rooms.scripts["left"] = [fail]
    with pytest.raises(ExceptionGroup) as caught:
        await interpreter.run()
    assert caught.group_contains(ZeroDivisionError)


async def test_a_bug_in_the_clean_up_of_a_left_state_does_not_vanish(autojump_clock: trio.testing.MockClock) -> None:
    """An error that stands for a crash is raised even when its state has been left."""
    interpreter, rooms, _ = machine()

    async def dirty() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("clean-up")

    rooms.scripts["left"] = [dirty]

    async def leave_left() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(interpreter.run)
            await interpreter.post("move")

    with pytest.raises(ExceptionGroup) as caught:
        await leave_left()
    assert caught.group_contains(KeyError)


async def test_a_failure_of_a_left_state_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """A late failure belongs to a stay that is over: it moves nothing."""
    interpreter, rooms, _ = machine()

    async def late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Oops("too late")

    rooms.scripts["left"] = [late]
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await interpreter.post("move")
        await settle()
        assert [(s.event, s.target) for s in rooms.steps] == [("move", "right")]
        await interpreter.post("finish")


async def test_an_event_from_an_earlier_stay_is_stale(autojump_clock: trio.testing.MockClock) -> None:
    """A return that waits behind an event that ends its stay is counted, and moves nothing."""
    interpreter, rooms, _ = machine()

    async def return_behind_another_event() -> None:
        interpreter.post_nowait("again")

    rooms.scripts["left"] = [return_behind_another_event, _forever]
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await settle()
        assert (interpreter.leaf, interpreter.stale) == ("left", 1)
        assert [step.event for step in rooms.steps] == ["again"]
        await interpreter.post("finish")


async def test_a_self_transition_restarts_the_activity(autojump_clock: trio.testing.MockClock) -> None:
    """`again` ends the stay and begins another one in the same state."""
    interpreter, rooms, _ = machine()
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await interpreter.post("again")
        await settle()
        assert rooms.record == ["left starts", "left ends", "left starts"]
        await interpreter.post("finish")


async def test_a_refused_outside_event_leaves_everything_as_it_was(autojump_clock: trio.testing.MockClock) -> None:
    """No transition, no restart, one more refusal counted."""
    interpreter, rooms, guards = machine()
    guards.ready = False
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await interpreter.post("move")
        await settle()
        assert (interpreter.leaf, rooms.record, interpreter.refusals) == ("left", ["left starts"], 1)
        await interpreter.post("finish")


async def test_an_unknown_event_is_refused_at_the_door(autojump_clock: trio.testing.MockClock) -> None:
    """A misspelt event is our bug and says so."""
    interpreter, _, _ = machine()
    with pytest.raises(LocalProtocolError, match="'gooo' is not an event of TwoRooms"):
        await interpreter.post("gooo")


async def test_cancelling_the_caller_ends_every_activity(autojump_clock: trio.testing.MockClock) -> None:
    """The engine lives in its caller's nursery and leaves nothing behind."""
    interpreter, rooms, _ = machine()
    with trio.move_on_after(5):
        await interpreter.run()
    assert rooms.record == ["left starts", "left ends"]
    assert not interpreter.ended.is_set()


async def test_a_crash_behind_an_event_that_ends_its_stay_does_not_vanish(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its event is stale and moves nothing, but the error that it stands for is raised."""
    interpreter, rooms, _ = machine()

    async def crash_behind_another_event() -> None:
        interpreter.post_nowait("again")
        raise KeyError("too late to be an event")

    rooms.scripts["left"] = [crash_behind_another_event, _forever]
    with pytest.raises(ExceptionGroup) as caught:
        await interpreter.run()
    assert caught.group_contains(KeyError)
    assert [step.event for step in rooms.steps] == ["again"]
    assert interpreter.stale == 1


async def _run_with_unheard(interpreter: Interpreter[Guards], event: str) -> None:
    """Run, with an event that ends things and a crash behind it in the mailbox."""
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await interpreter.post(event)
        await interpreter.post("crash", "from outside", cause=KeyError("unheard"))


async def test_a_crash_that_waits_when_the_chart_ends_does_not_vanish(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody takes events any more; the error of one that waits in the mailbox is raised by `run`."""
    interpreter, rooms, _ = machine()
    rooms.scripts["left"] = [_forever]
    with pytest.raises(ExceptionGroup) as caught:
        await _run_with_unheard(interpreter, "finish")
    assert caught.group_contains(KeyError)
    assert [step.event for step in rooms.steps] == ["finish"]


@pytest.mark.parametrize("error", [KeyError("a bug that has an event"), ZeroDivisionError("one that has none")])
async def test_a_crash_while_everything_is_cancelled_does_not_vanish(
    autojump_clock: trio.testing.MockClock, error: Exception
) -> None:
    """Whoever cancels the engine hears of a bug in the clean-up, whether the chart has an event for it or not."""
    interpreter, rooms, _ = machine()

    async def dirty() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    rooms.scripts["left"] = [dirty]
    with pytest.raises(ExceptionGroup) as caught:
        with trio.move_on_after(5):
            await interpreter.run()
    assert caught.group_contains(type(error))


async def test_two_crashes_at_once_are_both_heard_of(autojump_clock: trio.testing.MockClock) -> None:
    """One flies out of a clean-up, another waits in the mailbox: the group that is raised has both."""
    interpreter, rooms, _ = machine()

    async def dirty() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    rooms.scripts["left"] = [dirty]
    with pytest.raises(ExceptionGroup) as caught:
        await _run_with_unheard(interpreter, "move")
    assert caught.group_contains(ZeroDivisionError)
    assert caught.group_contains(KeyError)


async def test_what_is_sent_instead_of_a_vain_return_may_be_refused_too(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No state is left without its activity: when the chart refuses that event as well, the activity starts again."""
    interpreter, rooms, guards = machine()
    guards.ready = False
    monkeypatch.setattr(rooms, "refused", lambda *_: Post("move", "refused as well"))
    rooms.scripts["left"] = [lambda: trio.sleep(1)] * 3
    async with trio.open_nursery() as nursery:
        await nursery.start(interpreter.run)
        await trio.sleep(10)
        assert rooms.record.count("left starts") == 4
        assert rooms.running == {"left"}
        await interpreter.post("finish")


async def test_a_misspelt_event_of_an_activity_is_our_bug(autojump_clock: trio.testing.MockClock) -> None:
    """It is not taken for a refusal, after which the activity would start again for ever."""
    interpreter, rooms, _ = machine()
    rooms.scripts["left"] = [lambda: trio.sleep(1)]
    rooms.refused = lambda *_: Post("moove")  # type: ignore[method-assign]
    interpreter.chart.model.ready = False
    with pytest.raises(ExceptionGroup) as caught:
        await interpreter.run()
    assert caught.group_contains(LocalProtocolError, match="'moove' is not an event of TwoRooms")
