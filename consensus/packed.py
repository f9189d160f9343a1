"""Many byte strings of different lengths in one piece, so that a thousand filters are two objects and not a thousand.

Compiled loops and the store take them as they are. Everything else sees a sequence of `bytes`, made when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import attrs
import numpy as np
from numpy.typing import NDArray


@attrs.frozen(eq=False, repr=False)
class Packed(Sequence[bytes]):
    """A sequence of byte strings that never changes.

    Args:
        data: a piece that holds all of them, one right behind the other, and may hold more around them.
        offsets: int64, one more than items: where each begins in `data`, and where the last one ends.
    """

    data: bytes
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, items: Iterable[bytes]) -> Packed:
        """`items` in one piece; what is packed already is taken as it is."""
        if isinstance(items, Packed):
            return items
        listed = list(items)
        return cls.by_sizes(b"".join(listed), np.fromiter(map(len, listed), np.int64, len(listed)))

    @classmethod
    def by_sizes(cls, data: bytes, sizes: NDArray[np.integer], start: int = 0) -> Packed:
        """The items of these `sizes` that stand in `data` from `start` on."""
        offsets = np.empty(len(sizes) + 1, np.int64)
        offsets[0], offsets[1:] = start, sizes
        return cls(data, offsets.cumsum(out=offsets))

    @classmethod
    def join(cls, pieces: Sequence[Packed]) -> Packed:
        """The items of all `pieces`, in order; one piece alone is not copied."""
        if len(pieces) == 1:
            return pieces[0]
        sizes = [piece.sizes for piece in pieces]
        whole = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)
        return cls.by_sizes(b"".join([piece.joined for piece in pieces]), whole)

    @property
    def bytes_array(self) -> NDArray[np.uint8]:
        """`data` as an array, which is where `offsets` points into."""
        return np.frombuffer(self.data, np.uint8)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The length of each item."""
        return np.diff(self.offsets)

    @property
    def joined(self) -> bytes:
        """The items as one byte string, without what stands around them."""
        start, end = int(self.offsets[0]), int(self.offsets[-1])
        return self.data if (start, end) == (0, len(self.data)) else self.data[start:end]

    @property
    def held(self) -> int:
        """The bytes that this takes in memory."""
        return len(self.data) + self.offsets.nbytes

    def part(self, start: int, end: int) -> Packed:
        """The items from `start` to before `end`; nothing is copied."""
        return Packed(self.data, self.offsets[start : max(start, end) + 1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)} items")
        index %= len(self)
        return self.data[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def __iter__(self) -> Iterator[bytes]:
        for start, end in pairwise(self.offsets.tolist()):
            yield self.data[start:end]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packed):
            return NotImplemented
        return self.joined == other.joined and bool(np.array_equal(self.sizes, other.sizes))

    def __hash__(self) -> int:
        return hash(self.joined)

    def __repr__(self) -> str:
        return f"<{len(self)} packed items>"
