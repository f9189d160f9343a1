"""Compressed headers [DIP25, Core primitives/block.h]: most of a header is known from the one before it.

A record is one byte of flags, then only what the flags say: bits 0-2 the version (0: it follows; k: the k-th of the
seven most recently used), bit 3 the hash of the previous header, always the merkle root, bit 4 a full time instead of
a signed 16-bit step, bit 5 the bits, always the nonce. A previous hash left out is the X11 of the header before, so
that only an `Expansion` must hash; the message itself is parsed by its flags alone and keeps its records as they came.

Two habits of Core decide the bytes. Its answers to getheaders2 do not remember the version of their first header, its
announcements do; receivers always remember it, and since a version is then only inserted twice, both lists stay equal
where it matters. And a step back in time is always sent as a full time, although the field is signed.
"""

from __future__ import annotations

from typing import ClassVar, Self

import attrs
import numpy as np

from phasegate.consensus.codec import Reader, compact_size, u32
from phasegate.consensus.compiled import worth_compiling
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.primitives import header_at
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.p2p.messages_base import PlainMessage

MAX_COMPRESSED = 8000
MAX_COMPRESSED_BEFORE_70235 = 2000
REMEMBERED = 7
VERSION_MASK, PREV, TIME, BITS = 7, 8, 16, 32
FULL = PREV | TIME | BITS


def _record_size(flags: int) -> int:
    """Bytes that follow the flags."""
    version, prev, bits = (0 if flags & VERSION_MASK else 4), (32 if flags & PREV else 0), (4 if flags & BITS else 0)
    return version + prev + 32 + (4 if flags & TIME else 2) + bits + 4


_SIZES = tuple(_record_size(flags) for flags in range(64))
_STEPS = tuple(1 + size for size in _SIZES)


def max_headers2(version: int) -> int:
    """How many headers a full headers2 message has between peers that negotiated `version`."""
    return MAX_COMPRESSED if version >= 70235 else MAX_COMPRESSED_BEFORE_70235


@attrs.frozen
class Headers2(PlainMessage):
    """At most 8,000 headers (2,000 below protocol 70235): `count` compressed records in one piece."""

    command: ClassVar[str] = "headers2"
    max_payload: ClassVar[int] = 3 + 81 * MAX_COMPRESSED

    count: int
    records: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        count = r.compact_size(MAX_COMPRESSED, "header count")
        start = r.pos
        _skip_records(r, count)
        return cls(count, r.since(start))

    def to_bytes(self) -> bytes:
        return compact_size(self.count) + self.records


def _skip_records(r: Reader, count: int) -> None:
    """Skip `count` records by their flags alone; where they do not fit, the slow way names what is wrong."""
    start, data, at = r.pos, r.take(r.left), 0
    r.pos = start
    try:
        for _ in range(count):
            at += _STEPS[data[at]]
    except IndexError:
        at = len(data) + 1
    if at <= len(data):
        r.pos = start + at
        return
    for _ in range(count):
        _skip_record(r)


def _skip_record(r: Reader) -> None:
    flags = r.u8()
    if flags >= len(_SIZES):
        raise Malformed(f"compressed header at {r.pos - 1} has undefined flags {flags:#04x}")
    r.take(_SIZES[flags])


class _Versions:
    """The most recently used versions (4 raw bytes each), newest first."""

    def __init__(self) -> None:
        self.recent: list[bytes] = []

    def remember(self, version: bytes) -> None:
        """Put a version in front, even if it is there already: so does Core."""
        self.recent = [version, *self.recent[: REMEMBERED - 1]]

    def at(self, place: int) -> bytes | None:
        """The version at `place` (1 is the newest), which moves to the front; None if there are not so many."""
        if place > len(self.recent):
            return None
        version = self.recent.pop(place - 1)
        self.recent.insert(0, version)
        return version

    def place(self, version: bytes) -> int:
        """Where `version` stands first, 1 being the newest; 0 if it does not."""
        return self.recent.index(version) + 1 if version in self.recent else 0


class Expansion:
    """The headers of one message, expanded piece by piece, each hashed once (about 11 µs): do it in a worker thread.

    Whoever expands knows all hashes, because a header is linked by the hash of the one before; they are handed out, so
    that nobody needs to compute them again. The list of versions is this message's own. Many records are expanded by
    compiled code (`compressed_kernel`), which does not hold the GIL; a few, and those that break a rule, in Python.

    Args:
        message: what to expand.
    """

    def __init__(self, message: Headers2) -> None:
        self._left = message.count
        self._done = 0
        self._records = message.records
        self._reader = Reader(message.records, "headers2")
        self._versions = _Versions()
        self._last = self._last_hash = b""

    @property
    def left(self) -> int:
        """How many headers are not expanded yet."""
        return self._left

    def take(self, count: int) -> tuple[bytes, bytes]:
        """The next `count` headers at most: 80 bytes each, and their hashes, 32 bytes each.

        Raises:
            PeerMisbehaved: BAD_COMPRESSED_HEADERS, when a record refers to something the message does not hold.
        """
        count = min(count, self._left)
        if not worth_compiling(count):
            return self.take_plainly(count)
        headers, hashes = self._take_compiled(count)
        rest = self.take_plainly(count - len(hashes) // 32)
        return headers + rest[0], hashes + rest[1]

    def take_plainly(self, count: int) -> tuple[bytes, bytes]:
        """As `take`, record by record."""
        headers, hashes = [], []
        for _ in range(min(count, self._left)):
            self._last = self._expand_record()
            self._last_hash = x11(self._last)
            self._done += 1
            headers.append(self._last)
            hashes.append(self._last_hash)
        self._left -= len(headers)
        return b"".join(headers), b"".join(hashes)

    def _take_compiled(self, count: int) -> tuple[bytes, bytes]:
        """The next `count` headers, or those up to the first that breaks a rule."""
        from phasegate.p2p import compressed_kernel as kernel

        headers = np.frombuffer(bytearray(self._last.ljust(HEADER_SIZE * (count + 1), b"\0")), np.uint8)
        hashes = np.frombuffer(bytearray(self._last_hash.ljust(32 * (count + 1), b"\0")), np.uint8)
        versions = np.frombuffer(bytearray(b"".join(self._versions.recent).ljust(4 * REMEMBERED, b"\0")), np.uint8)
        records, known = np.frombuffer(self._records, np.uint8), len(self._versions.recent)
        begun = self._done > 0
        done, at, known = kernel.expand(records, self._reader.pos, begun, versions, known, headers, hashes)
        self._reader.pos = at
        self._done += done
        self._left -= done
        self._versions.recent = [versions[4 * i : 4 * i + 4].tobytes() for i in range(known)]
        if done:
            self._last = headers[HEADER_SIZE * done : HEADER_SIZE * (done + 1)].tobytes()
            self._last_hash = hashes[32 * done : 32 * (done + 1)].tobytes()
        made = headers[HEADER_SIZE : HEADER_SIZE * (done + 1)], hashes[32 : 32 * (done + 1)]
        return made[0].tobytes(), made[1].tobytes()

    def _expand_record(self) -> bytes:
        r, last = self._reader, self._last
        flags = r.u8()
        if not last and flags != FULL:
            raise PeerMisbehaved(Fault.BAD_COMPRESSED_HEADERS, "the first header is not complete")
        version = _read_version(r, self._versions, flags & VERSION_MASK, self._done)
        prev = r.take(32) if flags & PREV else self._last_hash
        root = r.take(32)
        time = r.take(4) if flags & TIME else _later(last, r.i16())
        bits = r.take(4) if flags & BITS else last[72:76]
        return version + prev + root + time + bits + r.take(4)


def expand(message: Headers2) -> bytes:
    """The `count` headers of a message, 80 bytes each, concatenated, at once.

    Raises:
        PeerMisbehaved: BAD_COMPRESSED_HEADERS, when a record refers to something the message does not hold.
    """
    return Expansion(message).take(message.count)[0]


def _read_version(r: Reader, versions: _Versions, place: int, index: int) -> bytes:
    if not place:
        version = r.take(4)
        versions.remember(version)
        return version
    found = versions.at(place)
    if found is None:
        raise PeerMisbehaved(Fault.BAD_COMPRESSED_HEADERS, f"header {index} refers to version {place} of fewer")
    return found


def _time_of(header: bytes) -> int:
    return int.from_bytes(header[68:72], "little")


def _later(last: bytes, step: int) -> bytes:
    return u32((_time_of(last) + step) % (1 << 32))


def compress(raw: bytes, *, announcement: bool = False) -> Headers2:
    """Headers in the form Core 23.1 sends them, byte for byte.

    Args:
        raw: linked headers, 80 bytes each, concatenated.
        announcement: whether they are announced, not asked for; only then the first version is remembered.
    """
    count = len(raw) // HEADER_SIZE
    if not count:
        return Headers2(0, b"")
    versions, last = _Versions(), raw[:HEADER_SIZE]
    if announcement:
        versions.remember(last[:4])
    records = [bytes((FULL,)), last]
    for index in range(1, count):
        header = header_at(raw, index)
        records.append(_compress_one(header, last, versions))
        last = header
    return Headers2(count, b"".join(records))


def _compress_one(header: bytes, last: bytes, versions: _Versions) -> bytes:
    place = versions.place(header[:4])
    versions.at(place) if place else versions.remember(header[:4])
    flags, version = place, b"" if place else header[:4]
    step = (_time_of(header) - _time_of(last)) % (1 << 32)
    time, bits = step.to_bytes(4, "little")[:2], b""
    if step > 0x7FFF:
        flags, time = flags | TIME, header[68:72]
    if header[72:76] != last[72:76]:
        flags, bits = flags | BITS, header[72:76]
    return bytes((flags,)) + version + header[36:68] + time + bits + header[76:]
