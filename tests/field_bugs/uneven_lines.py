"""Lines that take their time with some messages, or break at one: for nodes, and for the client's end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.node import Node


def command_of(frame: bytes | bytearray | memoryview) -> str:
    """The name of the message in `frame`, which is one message, whole."""
    return bytes(frame[4:16]).rstrip(b"\0").decode("ascii")


class Line(trio.abc.Stream):
    """A stream that awaits `before` the sending of each message, with the message's name."""

    def __init__(self, stream: trio.abc.Stream, before: Callable[[str], Awaitable[None]]) -> None:
        self._stream = stream
        self._before = before

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._before(command_of(data))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


class Uneven(Node):
    """A node that waits before each message for as long as `pause` says of its name."""

    def __init__(self, chain: SimulatedChain, pause: Callable[[str], float], **behaviour: Any) -> None:
        super().__init__(chain, **behaviour)
        self.pause = pause

    async def handle(self, stream: trio.abc.Stream) -> None:
        """As any node, but unevenly."""
        await super().handle(Line(stream, self._wait))

    async def _wait(self, command: str) -> None:
        await trio.sleep(self.pause(command))
