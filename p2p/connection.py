"""One connection: messages over a byte stream.

Reads come in pieces of 64 KiB, and no more is read while a whole frame waits, so that memory is bounded by one frame
and one piece. `receive` may be cancelled at any moment without losing a message; a cancelled `send` has cut a frame in
two, after which nothing more can be sent. Reading large payloads is left to `compute`, away from the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.framing import HEAD_SIZE, Frame, FrameDecoder, encode_frame
from phasegate.p2p.handshake import PROTOCOL_VERSION
from phasegate.p2p.messages import BlockMessage, Message, decode

PIECE = 64 * 1024
"""Bytes read at once, and the largest payload that is decoded in the event loop."""

Compute = Callable[..., Awaitable[Any]]
"""Runs `fn(*args)` and returns its result: `trio.to_thread.run_sync` in production."""


class ConnectionLost(Exception):
    """The stream has ended or broken; nobody's fault. The cause is kept."""


class Connection:
    """Messages of one peer.

    Args:
        stream: the open stream; the connection closes it.
        magic: the network's 4 bytes.
        compute: runs the decoding of payloads above 64 KiB.
    """

    def __init__(self, stream: trio.abc.Stream, magic: bytes, *, compute: Compute) -> None:
        self._stream = stream
        self._magic = magic
        self._compute = compute
        self._decoder = FrameDecoder(magic)
        self._waiting: Frame | None = None
        self._ready = deque[BlockMessage]()
        self._send_lock = trio.Lock()
        self._cut_off = False
        self.version = PROTOCOL_VERSION
        """The protocol version messages are read and written in: to be set to the negotiated one."""
        self.last_size = 0
        """Bytes of the message that was received last, with its head."""
        self.bytes_in = 0
        self.bytes_out = 0

    @property
    def dropped(self) -> int:
        """Frames dropped so far, for a wrong checksum or an impossible name."""
        return self._decoder.dropped

    @property
    def buffered(self) -> int:
        """Bytes received and not yet given out as messages."""
        return self._decoder.buffered + sum([HEAD_SIZE + len(block.body.raw) for block in self._ready])

    def arriving(self, command: str) -> int:
        """Bytes received so far of a message of that name that is not whole yet."""
        return self._decoder.arriving(command)

    async def send(self, message: Message) -> None:
        """Send one message; several tasks may, their messages do not mix.

        Raises:
            ConnectionLost: the stream has ended, or an earlier message was cut off.
        """
        frame = encode_frame(self._magic, message.command, message.to_payload(self.version))
        async with self._send_lock:
            await self._send_whole(frame)
        self.bytes_out += len(frame)

    async def _send_whole(self, frame: bytes) -> None:
        if self._cut_off:
            raise ConnectionLost("an earlier message was cut off")
        self._cut_off = True
        try:
            await self._stream.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            raise ConnectionLost("the stream broke while sending") from broken
        self._cut_off = False

    async def receive(self) -> Message:
        """The peer's next message; for one task at a time, and no more once `receive_some` was called.

        Raises:
            ConnectionLost: the stream has ended.
            PeerMisbehaved: a frame or its content is wrong; the connection is of no use any more.
        """
        await trio.lowlevel.checkpoint()
        if self._waiting is None:
            self._waiting = await self._next_frame()
        return await self._message(self._waiting)

    async def receive_some(self, runs: Callable[[], bool]) -> Message | CFilterRun:
        """As `receive`, but `cfilter` messages that are there already come together while `runs` says so.

        Then `last_size` is not set. Blocks that are there already are read together, and others have no turn between.
        """
        if self._ready:
            await trio.lowlevel.checkpoint_if_cancelled()
            return self._next_ready()
        await trio.lowlevel.checkpoint()
        while self._waiting is None:
            if runs() and (run := self._decoder.next_run()) is not None:
                return run
            if blocks := self._decoder.next_blocks():
                self._ready.extend(blocks)
                return self._next_ready()
            if (frame := self._decoder.next_frame()) is not None:
                self._waiting = frame
            else:
                self._decoder.receive_data(await self._read())
        return await self._message(self._waiting)

    def _next_ready(self) -> BlockMessage:
        message = self._ready.popleft()
        self.last_size = HEAD_SIZE + len(message.body.raw)
        return message

    async def _message(self, frame: Frame) -> Message:
        message = await self._decode(frame)
        self.last_size = HEAD_SIZE + len(frame.payload)
        self._waiting = None
        return message

    async def _decode(self, frame: Frame) -> Message:
        if len(frame.payload) <= PIECE:
            return decode(frame.command, frame.payload, self.version)
        message: Message = await self._compute(decode, frame.command, frame.payload, self.version)
        return message

    async def _next_frame(self) -> Frame:
        while (frame := self._decoder.next_frame()) is None:
            self._decoder.receive_data(await self._read())
        return frame

    async def _read(self) -> bytes:
        try:
            piece = await self._stream.receive_some(PIECE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            raise ConnectionLost("the stream broke") from broken
        if not piece:
            raise ConnectionLost("the peer closed the connection")
        self.bytes_in += len(piece)
        return bytes(piece)

    async def aclose(self) -> None:
        """Close the stream; a `receive` under way ends with `ConnectionLost`."""
        await self._stream.aclose()
