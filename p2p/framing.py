"""Frames: the 24-byte head (magic, command, length, checksum) around each payload, cut from a stream of bytes.

What a head claims is checked before its payload is waited for, so that a peer can never make the decoder hold more
than the largest honest message of that name. A wrong checksum or an impossible command name only drops that frame:
dashd does the same, and the stream stays in step by the length. TCP has checksums of its own, so who sends many such
frames makes them.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.codec import dsha, u32
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import NETWORKS
from phasegate.p2p.block_runs import cut_blocks
from phasegate.p2p.filter_runs import CFilterRun, cut_run
from phasegate.p2p.messages import MAX_PAYLOAD, BlockMessage, max_payload

HEAD_SIZE = 24
MAGIC_SIZE = 4
MAX_DROPPED, MAX_DROPPED_BYTES = 100, 8 * 1024 * 1024
"""Frames, and bytes of payload, that may have to be dropped on one connection."""


@attrs.frozen
class Frame:
    """One message, not yet read: its wire name and its payload."""

    command: str
    payload: bytes


@attrs.frozen
class _Head:
    """A checked head; `command` is None when the name is impossible."""

    command: str | None
    length: int
    checksum: bytes


def encode_frame(magic: bytes, command: str, payload: bytes) -> bytes:
    """A payload behind its head.

    Raises:
        ValueError: the command is no name of at most 12 printable ASCII characters, or the payload exceeds 3 MiB.
    """
    name = command.encode("ascii").ljust(12, b"\0")
    if _command(name) != command or len(name) > 12:
        raise ValueError(f"{command!r} cannot be the name of a message")
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{command} of {len(payload)} bytes exceeds {MAX_PAYLOAD}")
    return magic + name + u32(len(payload)) + dsha(payload)[:4] + payload


def _command(field: bytes) -> str | None:
    """The name in 12 NUL-padded bytes; None if it is empty, not printable ASCII, or goes on after a NUL."""
    name = field.rstrip(b"\0")
    if not name or not name.isascii() or not (text := name.decode("ascii")).isprintable():
        return None
    return text


class FrameDecoder:
    """Cuts the bytes of one peer into frames, sans I/O.

    Args:
        magic: the 4 bytes each frame of this network begins with.

    After `PeerMisbehaved` the decoder has lost its place: the connection must be closed.
    """

    def __init__(self, magic: bytes) -> None:
        self._magic = magic
        self._buffer = bytearray()
        self._head: _Head | None = None
        self.dropped = 0
        """Frames dropped so far, for a wrong checksum or an impossible name."""
        self._dropped_bytes = 0

    def arriving(self, command: str) -> int:
        """Payload bytes received so far of an unfinished frame of that name."""
        return len(self._buffer) if self._head is not None and self._head.command == command else 0

    @property
    def buffered(self) -> int:
        """Bytes received and not yet given out."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take the next piece of the stream, of any size."""
        self._buffer += data

    def next_run(self) -> CFilterRun | None:
        """Whole `cfilter` frames that come next, cut out together (`filter_runs`); None: see `next_frame`."""
        return cut_run(self._buffer, self._magic) if self._head is None else None

    def next_blocks(self) -> list[BlockMessage]:
        """Whole `block` frames that come next, cut out together (`block_runs`); none: see `next_frame`."""
        return cut_blocks(self._buffer, self._magic) if self._head is None else []

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more data comes.

        Raises:
            PeerMisbehaved: WRONG_NETWORK or OVERSIZED_MESSAGE, as soon as the head shows it; CORRUPTED_FRAMES, when
                too many had to be dropped.
        """
        while (head := self._current_head()) is not None and len(self._buffer) >= head.length:
            payload = self._cut(head.length)
            self._head = None
            if head.command is not None and dsha(payload)[:4] == head.checksum:
                return Frame(head.command, payload)
            self._drop(head)
        return None

    def _drop(self, head: _Head) -> None:
        self.dropped += 1
        self._dropped_bytes += head.length
        if self.dropped > MAX_DROPPED or self._dropped_bytes > MAX_DROPPED_BYTES:
            raise PeerMisbehaved(Fault.CORRUPTED_FRAMES, f"{self.dropped} frames were no messages")

    def _current_head(self) -> _Head | None:
        if self._head is None:
            self._check_magic()
            if len(self._buffer) >= HEAD_SIZE:
                self._head = self._read_head(bytes(self._buffer[:HEAD_SIZE]))
                self._cut(HEAD_SIZE)
        return self._head

    def _check_magic(self) -> None:
        seen = bytes(self._buffer[:MAGIC_SIZE])
        if not self._magic.startswith(seen):
            raise PeerMisbehaved(Fault.WRONG_NETWORK, f"frame begins with {_whose(seen)}")

    def _read_head(self, head: bytes) -> _Head:
        command, length = _command(head[4:16]), int.from_bytes(head[16:20], "little")
        limit = MAX_PAYLOAD if command is None else max_payload(command)
        if length > limit:
            raise PeerMisbehaved(Fault.OVERSIZED_MESSAGE, f"{command or 'frame'} of {length} bytes exceeds {limit}")
        return _Head(command, length, head[20:24])

    def _cut(self, count: int) -> bytes:
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece


def _whose(magic: bytes) -> str:
    """The bytes in hex, and the network whose magic they are."""
    names = [network.name for network in NETWORKS.values() if network.magic == magic]
    return f"{magic.hex()}, the magic of {names[0]}" if names else magic.hex()
