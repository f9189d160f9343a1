"""Decisions read out of raw bytes, so that a fuzzer that knows only bytes can compose what has a structure.

An input that has come to its end decides everything by zero. So every input means something, none is refused, and a
shorter one means something simpler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import attrs

T = TypeVar("T")

_LONG = 0xFF


@attrs.define
class Choices:
    """A reader that never fails.

    Args:
        data: the whole input.
    """

    _data: bytes
    _at: int = attrs.field(default=0, init=False)

    @property
    def left(self) -> int:
        """Bytes that have decided nothing yet."""
        return len(self._data) - self._at

    def byte(self) -> int:
        """A number from 0 to 255."""
        return int.from_bytes(self.take(1), "little")

    def number(self) -> int:
        """A number of 32 bits."""
        return int.from_bytes(self.take(4), "little")

    def below(self, count: int) -> int:
        """A number from 0 to `count - 1`, of at most 65,536."""
        return int.from_bytes(self.take(1 if count <= 1 << 8 else 2), "little") % count

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.byte() & 1)

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[self.below(len(options))]

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        piece = self._data[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def piece(self) -> bytes:
        """A string behind its length of one byte, or of two more where that one is 255."""
        size = self.byte()
        return self.take(self.below(1 << 16) if size == _LONG else size)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)


def piece_of(data: bytes) -> bytes:
    """The bytes that `Choices.piece` reads as `data`, of less than 65,536."""
    size = len(data)
    return (bytes((size,)) if size < _LONG else b"\xff" + size.to_bytes(2, "little")) + data
