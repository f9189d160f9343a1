"""Events: bounded buffers, progress dropped first, what else was lost counted, nobody waited for."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from phasegate.engine.events import Broadcast, Event, Lagged, Progress, Subscription, Warned

pytestmark = pytest.mark.trio


def progress(done: int) -> Progress:
    return Progress(0.0, "headers", done, 100, float(done), 0.0, None, 0.0)


def warned(number: int) -> Warned:
    return Warned(float(number), "code", str(number))


async def drain(subscription: Subscription) -> list[Event]:
    """Everything of a subscription that has ended."""
    return [event async for event in subscription]


async def test_every_subscriber_gets_every_event_in_order() -> None:
    """Each has a buffer of its own."""
    broadcast = Broadcast()
    first, second = broadcast.subscribe(), broadcast.subscribe()
    events: list[Event] = [warned(1), progress(1), warned(2)]
    for event in events:
        broadcast.publish(event)
    broadcast.end()
    assert await drain(first) == await drain(second) == events


async def test_the_oldest_progress_makes_room_for_the_new() -> None:
    """Progress is a hint: nothing else is lost for it, and its loss is not worth a word."""
    subscription = Subscription(3)
    for event in (warned(1), progress(1), progress(2), warned(2), warned(3)):
        subscription.put_nowait(event)
    subscription.end()
    assert await drain(subscription) == [warned(1), warned(2), warned(3)]


async def test_what_else_had_to_go_is_counted() -> None:
    """A subscriber that was too slow learns how many events it missed, where it missed them."""
    subscription = Subscription(2)
    for number in range(5):
        subscription.put_nowait(warned(number))
    subscription.end()
    assert await drain(subscription) == [Lagged(3), warned(3), warned(4)]


async def test_lagging_again_is_told_again() -> None:
    """Each gap has its own count."""
    subscription = Subscription(1)
    seen: list[Event] = []
    for number in (0, 1, 2):
        subscription.put_nowait(warned(number))
    seen += [await anext(subscription), await anext(subscription)]
    for number in (3, 4):
        subscription.put_nowait(warned(number))
    seen += [await anext(subscription), await anext(subscription)]
    assert seen == [Lagged(2), warned(2), Lagged(1), warned(4)]


async def test_a_waiting_subscriber_is_woken(autojump_clock: trio.testing.MockClock) -> None:
    """By an event, and by the end."""
    subscription = Subscription(4)
    seen: list[Event] = []

    async def follow() -> None:
        seen.extend(await drain(subscription))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        subscription.put_nowait(warned(1))
        await trio.testing.wait_all_tasks_blocked()
        subscription.put_nowait(warned(2))
        await trio.testing.wait_all_tasks_blocked()
        subscription.end()
    assert seen == [warned(1), warned(2)]


async def test_the_end_comes_after_what_is_buffered() -> None:
    """Nothing that was published is cut off, and the end stays the end."""
    subscription = Subscription(4)
    subscription.put_nowait(warned(1))
    subscription.end()
    assert await drain(subscription) == [warned(1)]
    assert await drain(subscription) == []


async def test_a_late_subscriber_sees_what_comes_from_then_on() -> None:
    """Not what was before; and after the end, only the end."""
    broadcast = Broadcast()
    broadcast.publish(warned(1))
    late = broadcast.subscribe()
    broadcast.publish(warned(2))
    broadcast.end()
    assert await drain(late) == [warned(2)]
    assert await drain(broadcast.subscribe()) == []


async def test_a_subscriber_that_never_reads_holds_up_nobody() -> None:
    """Publishing takes no checkpoint, and the sleeper's buffer stays bounded."""
    broadcast = Broadcast()
    sleeper, reader = broadcast.subscribe(8), broadcast.subscribe(1000)
    for number in range(1000):
        broadcast.publish(warned(number))
    broadcast.end()
    assert len(await drain(reader)) == 1000
    assert len(await drain(sleeper)) == 9  # 8 events and one Lagged


async def test_a_subscription_nobody_holds_is_forgotten() -> None:
    """Whoever asks again and again to wait for something leaves nothing behind."""
    broadcast = Broadcast()
    kept = broadcast.subscribe()
    for number in range(100):
        broadcast.subscribe()
        broadcast.publish(warned(number))
    assert len(broadcast._subscribers) <= 2
    broadcast.end()
    assert len(await drain(kept)) == 100


async def test_a_cancelled_wait_loses_no_event() -> None:
    """Who gives up waiting finds the event there the next time."""
    subscription = Subscription(4)
    subscription.put_nowait(warned(1))
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(subscription)
    assert scope.cancelled_caught
    assert await anext(subscription) == warned(1)


@given(st.integers(1, 6), st.lists(st.booleans(), max_size=40))
async def test_what_is_read_and_what_is_counted_is_all_there_was(capacity: int, kinds: list[bool]) -> None:
    """Whatever the mix: warnings stay in order, and those missing are exactly those that `Lagged` counts."""
    subscription = Subscription(capacity)
    for number, hint in enumerate(kinds):
        subscription.put_nowait(progress(number) if hint else warned(number))
    subscription.end()
    seen = await drain(subscription)
    kept = [event.time for event in seen if isinstance(event, Warned)]
    lost = sum(event.count for event in seen if isinstance(event, Lagged))
    assert kept == [number for number, hint in enumerate(kinds) if not hint][lost:]
    assert len([event for event in seen if not isinstance(event, Lagged)]) <= capacity
