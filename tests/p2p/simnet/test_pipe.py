"""Streams in memory: whole, in order, bounded, and ended or broken as a socket is."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from phasegate.p2p.simnet.pipe import pipe

pytestmark = pytest.mark.trio


async def test_everything_arrives_in_order_through_a_narrow_pipe() -> None:
    """Pieces of any size, read in pieces of any other, in both directions at once."""
    one, other = pipe(limit=50)
    rng = random.Random(3)
    sent = {one: rng.randbytes(5000), other: rng.randbytes(4000)}
    got: dict[object, bytes] = {one: b"", other: b""}

    async def send(end: trio.abc.Stream) -> None:
        left = sent[end]  # type: ignore[index]  # both ends are keys
        while left:
            size = rng.randrange(1, 200)
            await end.send_all(left[:size])
            left = left[size:]

    async def receive(end: trio.abc.Stream, size: int) -> None:
        while len(got[end]) < size:
            piece = await end.receive_some(rng.randrange(1, 80))
            assert 0 < len(piece) < 80
            got[end] += piece

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, one)
        nursery.start_soon(send, other)
        nursery.start_soon(receive, one, 4000)
        nursery.start_soon(receive, other, 5000)
    assert (got[other], got[one]) == (sent[one], sent[other])


async def test_a_sender_waits_for_its_reader(autojump_clock: trio.testing.MockClock) -> None:
    """No more is under way than the limit; what is read makes room."""
    one, other = pipe(limit=10)
    await one.send_all(bytes(10))
    for wait in (one.send_all(b"x"), one.wait_send_all_might_not_block()):
        with trio.move_on_after(60.0) as patience:
            await wait
        assert patience.cancelled_caught
    assert await other.receive_some(4) == bytes(4)
    await one.wait_send_all_might_not_block()
    await one.send_all(b"abcd")
    assert await other.receive_some() == bytes(6) + b"abcd"


async def test_the_end_comes_after_what_was_sent() -> None:
    """Closed, a pipe gives what is in it and then nothing; who sends into it is told that it broke."""
    one, other = pipe()
    await one.send_all(b"last words")
    await one.aclose()
    assert await other.receive_some() == b"last words"
    assert await other.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"too late")
    with pytest.raises(trio.ClosedResourceError):
        await one.send_all(b"too late")
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_some()


async def test_who_waits_is_woken_by_the_end(nursery: trio.Nursery) -> None:
    """A reader and a full sender learn at once that the other end has gone, and a reader that its own has."""
    one, other = pipe(limit=5)
    await one.send_all(bytes(5))
    woken = []

    async def sender() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await one.send_all(b"more")
        woken.append("sender")

    async def reader() -> None:
        woken.append(f"reader {await one.receive_some()!r}")

    nursery.start_soon(sender)
    nursery.start_soon(reader)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    await other.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(woken) == ["reader b''", "sender"]


async def test_only_one_task_may_send(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """A second sender is refused, so that messages cannot mix unseen."""
    one, _ = pipe(limit=5)
    nursery.start_soon(one.send_all, bytes(6))
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await one.send_all(b"x")
    nursery.cancel_scope.cancel()
