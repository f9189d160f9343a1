"""The node's end of a connection: frames in, messages out, and bytes that no honest node would send."""

from __future__ import annotations

import attrs
import trio

from phasegate.consensus.faults import Malformed
from phasegate.p2p.framing import Frame, FrameDecoder, encode_frame
from phasegate.p2p.messages import Message, decode
from phasegate.p2p.simnet.answers import Punished

PIECE = 64 * 1024
HANDSHAKE_VERSION = 209
PIECES_A_SECOND = 10
"""In so many pieces goes what a slow line takes in a second."""
_LOCATORS = ("getheaders", "getheaders2", "getblocks")


class Gone(Exception):
    """The stream has ended."""


@attrs.frozen
class RawFrame(Message):
    """Bytes that no honest encoder would frame: sent as they are."""

    command: str
    data: bytes

    def to_payload(self, version: int) -> bytes:  # noqa: ARG002 - it is no message of any version
        return self.data


@attrs.define(eq=False)
class Wire:
    """One stream; `version` is the protocol negotiated on it, `last_heard` Trio's time of the last bytes.

    `name` is the peer's address as it was at the beginning: a connection that is reset has none any more. With `pace`
    the line takes so many bytes a second and no more.
    """

    stream: trio.abc.Stream
    magic: bytes
    version: int = HANDSHAKE_VERSION
    last_heard: float = attrs.field(factory=trio.current_time)
    pace: float | None = attrs.field(default=None, init=False)
    name: str = attrs.field(init=False)
    _decoder: FrameDecoder = attrs.field(init=False)
    _sending: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.name = _name_of(self.stream)
        self._decoder = FrameDecoder(self.magic)

    async def receive(self) -> Message:
        """The next message that can be read; unreadable ones are skipped, as dashd does.

        Raises:
            Gone: the stream has ended.
            Punished: a locator beyond measure.
            PeerMisbehaved: frames of another network, or too long.
        """
        while True:
            frame = await self._next_frame()
            try:
                return decode(frame.command, frame.payload, self.version)
            except Malformed as error:
                if frame.command in _LOCATORS:
                    raise Punished(error.detail) from error

    async def _next_frame(self) -> Frame:
        while (frame := self._decoder.next_frame()) is None:
            self._decoder.receive_data(await self._read())
        return frame

    async def _read(self) -> bytes:
        try:
            piece = await self.stream.receive_some(PIECE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Gone from error
        if not piece:
            raise Gone
        self.last_heard = trio.current_time()
        return bytes(piece)

    async def send(self, message: Message) -> None:
        """Send one message, whole.

        Raises:
            Gone: the stream has ended.
        """
        data = self.framed(message)
        async with self._sending:
            try:
                await self._write(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise Gone from error

    async def _write(self, data: bytes) -> None:
        if self.pace is None:
            await self.stream.send_all(data)
            return
        size = max(1, int(self.pace / PIECES_A_SECOND))
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            await trio.sleep(len(piece) / self.pace)
            await self.stream.send_all(piece)

    def framed(self, message: Message) -> bytes:
        """The message as it goes on the wire."""
        if isinstance(message, RawFrame):
            return message.data
        return encode_frame(self.magic, message.command, message.to_payload(self.version))

    async def aclose(self) -> None:
        """Close the stream, without waiting when cancelled."""
        await trio.aclose_forcefully(self.stream)


def _name_of(stream: trio.abc.Stream) -> str:
    if not isinstance(stream, trio.SocketStream):
        return "memory"
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:  # reset before it was met
        return "gone"
    return f"{host}:{port}"
