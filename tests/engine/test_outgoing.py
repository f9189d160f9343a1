"""What waits to be written to one peer: in order, bounded by count and by bytes, and whoever waits for room gets it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from phasegate.engine.outgoing import MOST_BYTES, MOST_MESSAGES, Outgoing
from phasegate.p2p.messages import Ping


@pytest.mark.trio
async def test_messages_come_out_as_they_went_in() -> None:
    """And the account of bytes is right at every moment."""
    queue = Outgoing()
    for n in range(10):
        await queue.put(Ping(n), 100 + n)
    assert (len(queue), queue.bytes) == (10, 1045)
    assert [await queue.take() for _ in range(10)] == [Ping(n) for n in range(10)]
    assert (len(queue), queue.bytes) == (0, 0)


def test_room_is_bounded_by_count_and_by_bytes() -> None:
    """Whichever is reached first; a message that is too long by itself may wait alone."""
    many, large, alone = Outgoing(), Outgoing(), Outgoing()
    assert [many.put_nowait(Ping(0), 8) for _ in range(MOST_MESSAGES + 1)] == [True] * MOST_MESSAGES + [False]
    assert [large.put_nowait(Ping(0), MOST_BYTES // 2) for _ in range(3)] == [True, True, False]
    assert [alone.put_nowait(Ping(0), 3 * MOST_BYTES), alone.put_nowait(Ping(1), 1)] == [True, False]
    assert (len(many), large.bytes, len(alone)) == (MOST_MESSAGES, MOST_BYTES, 1)


@pytest.mark.trio
async def test_who_finds_no_room_waits_for_it(autojump_clock: trio.testing.MockClock) -> None:
    """Many wait at once; each message taken lets one in, none is lost or doubled, and the bound holds throughout."""
    queue, taken = Outgoing(), list[int]()
    async with trio.open_nursery() as nursery:
        for n in range(5 * MOST_MESSAGES):
            nursery.start_soon(queue.put, Ping(n), 8)
        await trio.testing.wait_all_tasks_blocked()
        assert len(queue) == MOST_MESSAGES
        while len(taken) < 5 * MOST_MESSAGES:
            message = await queue.take()
            assert isinstance(message, Ping)
            taken.append(message.nonce)
            await trio.sleep(1)
            assert len(queue) <= MOST_MESSAGES
    assert sorted(taken) == list(range(5 * MOST_MESSAGES))


@pytest.mark.trio
async def test_who_gives_up_waiting_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A sender that is cancelled has queued nothing; one that takes and is cancelled has taken nothing."""
    queue = Outgoing()
    with trio.move_on_after(1) as waiting:
        await queue.take()
    assert waiting.cancelled_caught
    for n in range(MOST_MESSAGES):
        queue.put_nowait(Ping(n), 8)
    with trio.move_on_after(1) as waiting:
        await queue.put(Ping(999), 8)
    assert waiting.cancelled_caught
    assert [await queue.take() for _ in range(MOST_MESSAGES)] == [Ping(n) for n in range(MOST_MESSAGES)]
    assert len(queue) == 0


@pytest.mark.trio
async def test_who_waits_for_a_message_gets_the_next_one(autojump_clock: trio.testing.MockClock) -> None:
    """At once when it comes, whichever way it was put."""
    queue, taken = Outgoing(), list[object]()

    async def take() -> None:
        taken.extend([await queue.take(), await queue.take()])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.sleep(5)
        assert queue.put_nowait(Ping(1), 8)
        await trio.sleep(5)
        await queue.put(Ping(2), 8)
    assert taken == [Ping(1), Ping(2)]
    assert trio.current_time() == 10.0
