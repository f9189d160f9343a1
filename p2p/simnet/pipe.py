"""Streams in memory that hold no more than a socket would.

A sender waits while the reader has not taken what came before: so a peer that reads slowly holds its peer back, over
memory as over TCP, and junk cannot grow without bound while a virtual clock stands still.
"""

from __future__ import annotations

import attrs
import trio

LIMIT = 256 * 1024
"""Bytes under way in one direction, about what the buffers of both sockets hold."""


@attrs.define(eq=False)
class _Flow:
    """One direction: `ended` by its writer, `broken` by its reader."""

    limit: int
    data: bytearray = attrs.field(factory=bytearray, init=False)
    ended: bool = attrs.field(default=False, init=False)
    broken: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def stir(self) -> None:
        """Wake whoever waits for a change."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()


@attrs.define(eq=False)
class PipeEnd(trio.abc.Stream):
    """One end of a pipe."""

    _incoming: _Flow
    _outgoing: _Flow
    _closed: bool = attrs.field(default=False, init=False)
    _sending: bool = attrs.field(default=False, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, waiting for room as often as it takes."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            left = memoryview(bytes(data))
            self._check()
            while left:
                await self._wait_for_room()
                size = self._outgoing.limit - len(self._outgoing.data)
                self._outgoing.data += left[:size]
                left = left[size:]
                self._outgoing.stir()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for some room."""
        await trio.lowlevel.checkpoint()
        await self._wait_for_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At least one byte; none at the end."""
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._incoming.data and not self._incoming.ended:
            await self._incoming.wait()
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        piece = bytes(self._incoming.data[:max_bytes])
        del self._incoming.data[: len(piece)]
        self._incoming.stir()
        return piece

    async def aclose(self) -> None:
        """End both directions; what was sent before can still be read."""
        self._closed = self._outgoing.ended = self._incoming.broken = True
        self._incoming.data.clear()
        self._incoming.stir()
        self._outgoing.stir()
        await trio.lowlevel.checkpoint()

    async def _wait_for_room(self) -> None:
        self._check()
        while len(self._outgoing.data) >= self._outgoing.limit:
            await self._outgoing.wait()
            self._check()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if self._outgoing.broken:
            raise trio.BrokenResourceError("the other end was closed")


def pipe(limit: int = LIMIT) -> tuple[PipeEnd, PipeEnd]:
    """The two ends of a pipe that holds at most `limit` bytes in each direction."""
    one, other = _Flow(limit), _Flow(limit)
    return PipeEnd(one, other), PipeEnd(other, one)
