"""The byte grammar shared by everything Dash serialises: bounded reading and canonical writing.

A `Reader` never allocates by a count it has not compared with the bytes that are left, and accepts only the shortest
form of a CompactSize, so that what parses also re-encodes to the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from phasegate.consensus.faults import Malformed

T = TypeVar("T")


def dsha(data: bytes) -> bytes:
    """Double SHA-256 of `data`: 32 bytes in wire order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


class Reader:
    """Strict reader over one payload.

    Args:
        data: the whole payload.
        what: the name used in errors.

    Raises:
        Malformed: from every method, when the bytes do not hold what was asked for.
    """

    __slots__ = ("_data", "_what", "pos")

    def __init__(self, data: bytes, what: str = "payload") -> None:
        self._data = data
        self._what = what
        self.pos = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self.pos

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.pos + count
        if end > len(self._data):
            raise Malformed(f"{self._what} is truncated: {count} bytes wanted at {self.pos}, {self.left} left")
        piece = self._data[self.pos : end]
        self.pos = end
        return piece

    def since(self, start: int) -> bytes:
        """The bytes from `start` up to here: the serialisation of what was just read."""
        return self._data[start : self.pos]

    def _unpack(self, form: struct.Struct) -> int:
        value: int = form.unpack(self.take(form.size))[0]
        return value

    def record(self, form: struct.Struct) -> tuple[Any, ...]:
        """Fields of fixed sizes, read at once."""
        return form.unpack(self.take(form.size))

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def i16(self) -> int:
        return self._unpack(_I16)

    def u16be(self) -> int:
        return self._unpack(_U16BE)

    def u32(self) -> int:
        return self._unpack(_U32)

    def i32(self) -> int:
        return self._unpack(_I32)

    def u64(self) -> int:
        return self._unpack(_U64)

    def i64(self) -> int:
        return self._unpack(_I64)

    def hash32(self) -> bytes:
        """A 32-byte hash, in wire order."""
        return self.take(32)

    def compact_size(self, limit: int, what: str = "count") -> int:
        """A CompactSize of at most `limit`, in its shortest form."""
        first = self.u8()
        value = first if first < 0xFD else self._long_size(first)
        if value > limit:
            raise Malformed(f"{self._what}: {what} {value} exceeds {limit}")
        return value

    def _long_size(self, first: int) -> int:
        value = (self.u16, self.u32, self.u64)[first - 0xFD]()
        if value < (0xFD, 0x10000, 0x100000000)[first - 0xFD]:
            raise Malformed(f"{self._what}: {value} is not in the shortest form")
        return value

    def var_bytes(self, limit: int, what: str = "length") -> bytes:
        """A byte string behind its CompactSize length of at most `limit`."""
        return self.take(self.compact_size(limit, what))

    def many(self, limit: int, item: Callable[[Reader], T], *, at_least: int = 1, what: str = "count") -> tuple[T, ...]:
        """A counted list: at most `limit` items of at least `at_least` bytes each."""
        count = self.compact_size(limit, what)
        if count * at_least > self.left:
            raise Malformed(f"{self._what}: {what} {count} cannot fit in the {self.left} bytes left")
        return tuple([item(self) for _ in range(count)])

    def end(self) -> None:
        """Assert that nothing is left."""
        if self.left:
            raise Malformed(f"{self._what} has {self.left} bytes too many")


_U16, _I16, _U16BE = struct.Struct("<H"), struct.Struct("<h"), struct.Struct(">H")
_U32, _I32 = struct.Struct("<I"), struct.Struct("<i")
_U64, _I64 = struct.Struct("<Q"), struct.Struct("<q")
u16, i16, u16be = _U16.pack, _I16.pack, _U16BE.pack
u32, i32 = _U32.pack, _I32.pack
u64, i64 = _U64.pack, _I64.pack


def compact_size(value: int) -> bytes:
    """`value` as CompactSize, shortest form."""
    if value < 0xFD:
        return bytes((value,))
    if value < 0x10000:
        return b"\xfd" + u16(value)
    if value < 0x100000000:
        return b"\xfe" + u32(value)
    return b"\xff" + u64(value)


def var_bytes(data: bytes) -> bytes:
    """`data` behind its CompactSize length."""
    return compact_size(len(data)) + data
