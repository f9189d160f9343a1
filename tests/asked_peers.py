"""Peers without a connection, asked through a real ledger and desk: for tests of request control alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import trio
import trio.testing

from phasegate.engine.peers import Peer
from phasegate.engine.requests import Desk, Ledger
from phasegate.p2p.messages import CFilter, GetCFilters, Message

IDLE, CAP = 10.0, 80.0


class FakePeer(Peer):
    """A peer without a connection: `on_send` is told of each number that is asked of it."""

    def __init__(self, name: str, on_send: Callable[[FakePeer, int], None] = lambda *_: None) -> None:
        self.name = name
        self.gone = ""
        self.answers = 0
        self.on_send = on_send
        self.asked: list[int] = []

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__

    def arriving(self, command: str) -> int:
        return 0

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(message, GetCFilters):
            self.asked.append(message.start_height)
            self.on_send(self, message.start_height)


def question(number: int) -> GetCFilters:
    return GetCFilters(0, number, bytes(32))


def reply(number: int) -> CFilter:
    return CFilter(0, number.to_bytes(32, "little"), b"\0")


async def ask(desk: Desk, peer: Peer, number: int) -> CFilter:
    name = reply(number).block_hash
    return await desk.ask(peer, question(number), CFilter, lambda m: m.block_hash == name)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


def virtually(run: Callable[..., object], *args: object) -> None:
    trio.run(run, *args, clock=trio.testing.MockClock(autojump_threshold=0))  # type: ignore[arg-type]


class Node:
    """Answers each peer's requests one after the other, `delay` seconds each; None: never."""

    def __init__(self, ledger: Ledger, nursery: trio.Nursery, name: str, delay: float | None) -> None:
        self.peer = FakePeer(name, self._take)
        self.delay = delay
        self._ledger = ledger
        self._to_do, self._inbox = trio.open_memory_channel[int](100)
        nursery.start_soon(self._work)

    def _take(self, _: FakePeer, number: int) -> None:
        self._to_do.send_nowait(number)

    async def _work(self) -> None:
        async for number in self._inbox:
            await trio.sleep(math.inf if self.delay is None else self.delay)
            self._ledger.deliver(self.peer, reply(number))


def patient(ledger: Ledger, phase: str = "filters") -> AbstractContextManager[Desk]:
    return ledger.desk(phase, 8, IDLE, idle_cap=CAP)
