"""One connection on a bad day: slow, stalled, and with messages that get lost, come twice or overtake each other.

TCP itself loses nothing, so what is disturbed are whole messages, as between a node and a proxy, or in a node that is
not quite right. The handshake and the pings are left alone: without them there is no connection to speak of.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import attrs
import trio

from phasegate.p2p.framing import HEAD_SIZE

UNDISTURBED = frozenset({"version", "verack", "ping", "pong", "sendaddrv2", "sendheaders", "sendheaders2"})
ASKING, ANSWERING = frozenset({"getheaders", "getheaders2"}), frozenset({"headers", "headers2"})
"""The questions what follows a header, and their answers."""
LONGEST = 4 * 1024 * 1024
"""A frame that says it is longer is a lie: from there on the stream is passed as it comes."""


@attrs.define
class Trouble:
    """What one peer's line does to messages: how many more are lost, doubled or held back, and until when it is dark.

    `done` counts what was really done, by kind.
    """

    latency: float
    done: Counter[str]
    lose: int = 0
    duplicate: int = 0
    reorder: int = 0
    dark_until: float = 0.0

    async def pass_dark(self) -> None:
        """Wait while the line is dark."""
        while trio.current_time() < self.dark_until:
            await trio.sleep_until(self.dark_until)

    def end(self) -> None:
        """No trouble any more."""
        self.lose = self.duplicate = self.reorder = 0
        self.dark_until = 0.0

    def disturbed(self, frame: bytes, held: deque[bytes]) -> list[bytes]:
        """What arrives when `frame` was sent; `held` keeps one that is to be overtaken."""
        if _name(frame) in UNDISTURBED:
            return [frame]
        if self.lose:
            self.lose -= 1
            self.done["message lost"] += 1
            return []
        if self.reorder and not held:
            self.reorder -= 1
            self.done["message overtaken"] += 1
            held.append(frame)
            return []
        twice = self.duplicate > 0
        self.duplicate -= twice
        self.done["message doubled"] += twice
        arriving = [frame, frame] if twice else [frame]
        while held:
            arriving.append(held.popleft())
        return arriving


@attrs.define(eq=False)
class Line(trio.abc.Stream):
    """The client's end of a connection, with the trouble of its peer.

    `heard` gets the hashes of headers about which the client asked what follows them, and was answered; `sent` is
    called when the client has sent something.
    """

    _inner: trio.abc.Stream
    _trouble: Trouble
    _heard: set[bytes]
    _sent: Callable[[], None]
    _asked: set[bytes] = attrs.field(factory=set, init=False)
    _coming: bytearray = attrs.field(factory=bytearray, init=False)
    _arrived: bytearray = attrs.field(factory=bytearray, init=False)
    _held: deque[bytes] = attrs.field(factory=deque, init=False)
    _raw: bool = attrs.field(default=False, init=False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next piece; what is held back comes at the end at the latest."""
        while not self._arrived:
            piece = bytes(await self._inner.receive_some(max_bytes))
            await trio.sleep(self._trouble.latency)
            await self._trouble.pass_dark()
            self._coming += piece
            self._arrived += b"".join(self._frames())
            if not piece:
                self._arrived += b"".join(self._held) + self._coming
                self._held.clear()
                self._coming.clear()
                break
        given = bytes(self._arrived[:max_bytes])
        del self._arrived[: len(given)]
        return given

    def _frames(self) -> list[bytes]:
        """What arrives of the whole frames that came so far."""
        arriving: list[bytes] = []
        while not self._raw and len(self._coming) >= HEAD_SIZE:
            length = HEAD_SIZE + int.from_bytes(self._coming[16:20], "little")
            self._raw = length > LONGEST
            if self._raw or len(self._coming) < length:
                break
            frame = bytes(self._coming[:length])
            del self._coming[:length]
            arriving += self._trouble.disturbed(frame, self._held)
        if any(_name(frame) in ANSWERING for frame in arriving):
            self._heard |= self._asked
        if self._raw:
            arriving.append(bytes(self._coming))
            self._coming.clear()
        return arriving

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the connection itself, which sends one frame at a time."""
        if _name(frame := bytes(data)) in ASKING and frame[HEAD_SIZE + 4]:  # the length of the locator
            self._asked.add(frame[HEAD_SIZE + 5 : HEAD_SIZE + 37])
        self._sent()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the connection itself."""
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the connection itself."""
        await self._inner.aclose()


def _name(frame: bytes) -> str:
    return frame[4:16].rstrip(b"\0").decode("latin-1")
