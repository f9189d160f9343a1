"""Whether a peer is still there: pings, pongs that fit, and the proof that is asked for after a sleep."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from phasegate.engine.keep_alive import KeepAlive
from phasegate.engine.limits import Limits
from phasegate.p2p.connection import ConnectionLost
from phasegate.p2p.messages import Ping, Pong

LIMITS = Limits()
EVERY, SOON = LIMITS.ping_interval, LIMITS.handshake_timeout


@attrs.define
class Line:
    """A line to a peer that answers after `delay` seconds, if at all; `lost_at` tells when it was given up."""

    delay: float | None
    nursery: trio.Nursery
    pings: list[float] = attrs.field(factory=list)
    fits: list[bool] = attrs.field(factory=list)
    answer: Callable[[int], int] = lambda nonce: nonce
    lost_at: float | None = None
    why: str = ""
    bytes: int = 0
    alive: KeepAlive = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.alive = KeepAlive(LIMITS, random.Random(1), self.send, lambda: self.bytes)

    async def send(self, ping: Ping) -> None:
        await trio.lowlevel.checkpoint()
        self.pings.append(trio.current_time())
        if self.delay is not None:
            self.nursery.start_soon(self.pong, ping, self.delay)

    async def pong(self, ping: Ping, delay: float) -> None:
        await trio.sleep(delay)
        self.fits.append(self.alive.take(Pong(self.answer(ping.nonce))))

    async def run(self) -> None:
        try:
            await self.alive.run()
        except ConnectionLost as lost:
            self.lost_at, self.why = trio.current_time(), str(lost)


@asynccontextmanager
async def line(delay: float | None) -> AsyncIterator[Line]:
    async with trio.open_nursery() as nursery:
        made = Line(delay, nursery)
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_who_sends_anything_is_alive(autojump_clock: trio.testing.MockClock) -> None:
    """A pong that waits behind a large answer on a slow line is not missed; when nothing comes at all, it is."""
    async with line(delay=None) as peer:
        for _ in range(1000):
            await trio.sleep(60)
            peer.bytes += 100
        assert peer.lost_at is None
        silent_since = trio.current_time()
        await trio.sleep(1000)
        assert peer.lost_at is not None
        assert peer.lost_at - silent_since <= 3 * LIMITS.ping_interval


@pytest.mark.trio
async def test_who_answers_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    """One ping an interval after each pong, for a day."""
    async with line(delay=1.0) as peer:
        await trio.sleep(86_400)
        assert peer.lost_at is None
        assert peer.pings[:3] == [EVERY, 2 * EVERY + 1, 3 * EVERY + 2]
        assert all(peer.fits)
        assert len(peer.fits) == pytest.approx(86_400 / (EVERY + 1), abs=1)


@pytest.mark.trio
async def test_who_does_not_answer_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    """After an interval; an answer to something else is none."""
    for wrong in (False, True):
        async with line(delay=1.0 if wrong else None) as peer:
            start, peer.answer = trio.current_time(), lambda nonce: nonce ^ 1
            await trio.sleep(3 * EVERY)
            assert peer.lost_at == start + 2 * EVERY
            assert peer.why == "no pong within 120 s"
            assert peer.fits == [False] * wrong


@pytest.mark.trio
async def test_the_same_pong_counts_once(autojump_clock: trio.testing.MockClock) -> None:
    """Repeating it is chatter."""
    async with line(delay=None) as peer:
        await trio.sleep(EVERY + 1)
        nonce = random.Random(1).getrandbits(64)
        assert [peer.alive.take(Pong(nonce)) for _ in range(3)] == [True, False, False]


@pytest.mark.trio
@pytest.mark.parametrize("waiting", [False, True], ids=["between pings", "while a pong is due"])
async def test_a_probe_is_a_new_ping_with_little_time(waiting: bool, autojump_clock: trio.testing.MockClock) -> None:
    """At once, though another ping may be under way; a dead line is given up in seconds."""
    async with line(delay=None) as peer:
        await trio.sleep(EVERY + 5 if waiting else 5)
        peer.alive.probe()
        begun = trio.current_time()
        await trio.sleep(EVERY)
        assert peer.pings[-1] == begun
        assert (peer.lost_at, peer.why) == (begun + SOON, "no pong within 10 s")


@pytest.mark.trio
async def test_an_old_pong_is_no_proof_of_life(autojump_clock: trio.testing.MockClock) -> None:
    """What was in the air before the sleep answers no probe; one that is answered in time ends it."""
    async with line(delay=SOON - 1) as peer:
        await trio.sleep(EVERY + 2)
        peer.alive.probe()
        await trio.sleep(SOON - 2)
        assert peer.fits == [False]
        await trio.sleep(3)
        assert peer.fits == [False, True]
        await trio.sleep(EVERY)
        assert peer.lost_at is None
