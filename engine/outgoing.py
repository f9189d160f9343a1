"""What waits to be written to one peer, bounded by count and by bytes.

One writer takes messages out in order, so a sender that is cancelled never leaves half a frame on the wire. Who finds
no room waits, or with `put_nowait` is told: a peer that reads nothing costs its own room, and nobody else's.
"""

from __future__ import annotations

from collections import deque

import trio

from phasegate.p2p.messages import Message

MOST_MESSAGES = 64
"""Messages that may wait to be written to one peer."""
MOST_BYTES = 1 << 20
"""Bytes of payload that may wait; one message may always wait, however long it is."""


class Outgoing:
    """A queue of messages with their sizes."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._more = trio.Event()
        self._room = trio.Event()
        self._turn = trio.StrictFIFOLock()

    @property
    def bytes(self) -> int:
        """Bytes of payload that wait."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._waiting)

    def put_nowait(self, message: Message, size: int) -> bool:
        """Queue `message` of `size` bytes if there is room and nobody waits for it; whether that was so."""
        return not self._turn.locked() and self._put(message, size)

    def _put(self, message: Message, size: int) -> bool:
        if len(self._waiting) >= MOST_MESSAGES or (self._waiting and self._bytes + size > MOST_BYTES):
            return False
        self._waiting.append((message, size))
        self._bytes += size
        self._more.set()
        return True

    async def put(self, message: Message, size: int) -> None:
        """Queue `message` of `size` bytes, waiting for room; who came first is first."""
        async with self._turn:
            while not self._put(message, size):
                await self._room.wait()

    async def take(self) -> Message:
        """The next message, waiting for one; for one task."""
        while not self._waiting:
            self._more = trio.Event()
            await self._more.wait()
        message, size = self._waiting.popleft()
        self._bytes -= size
        self._room.set()
        self._room = trio.Event()
        return message
