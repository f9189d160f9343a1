"""Filters stored and read many at once, without a row or an object for each.

Both ways lead to the very tables that `segments` would have made, or from them: a batch that begins where no rows
stand becomes segments right away, as they lie in memory, and a segment is read as it lies on the disk: behind the four
bytes that each length takes, little-endian, stand the filters.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from phasegate.consensus.packed import Packed
from phasegate.store.database import Session
from phasegate.store.segments import (
    FILTERS,
    append,
    cuts,
    damaged,
    missing,
    new_bottom,
    put_rows,
    read_tail,
    segments_of,
    tail_bottom,
    write_segment,
)

_LENGTH = np.dtype("<u4")


@attrs.frozen
class PackedFilters:
    """Filters of consecutive heights from `start` on; as a sequence of (height, raw) it is what any other batch is."""

    start: int
    filters: Packed

    @property
    def end(self) -> int:
        """The last height."""
        return self.start + len(self.filters) - 1

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return iter(enumerate(self.filters, self.start))


def append_packed(rows: Session, base: int, batch: PackedFilters) -> None:
    """As `segments.append` of filters, right above the contiguous part."""
    start, filters = batch.start, batch.filters
    end = start + len(filters)
    if tail_bottom(rows, FILTERS, start) < start:
        append(rows, FILTERS, base, start, list(filters))
        return
    keep = new_bottom(FILTERS, max(start, base), end, len(filters))
    for first, after in cuts(FILTERS, range(start, keep)):
        piece = filters.part(first - start, after - start)
        lengths = piece.sizes.astype(_LENGTH).tobytes()
        write_segment(rows, FILTERS, range(first, after), lengths + piece.joined)
    put_rows(rows, FILTERS, zip(range(keep, end), filters.part(keep - start, end - start), strict=True))


def read_packed(rows: Session, start: int, count: int) -> Iterator[Packed]:
    """The filters of `count` heights from `start` on, piece by piece as they lie on the disk; nothing is copied.

    Raises:
        StoreCorrupt: one is damaged or missing.
    """
    end, reached = start + count - 1, start
    for first, piece in _pieces(rows, start, end):
        if first != reached:
            break
        yield piece
        reached += len(piece)
    if reached != end + 1:
        raise missing(FILTERS, start, end)


def _pieces(rows: Session, start: int, end: int) -> Iterator[tuple[int, Packed]]:
    for first, held, data in segments_of(rows, FILTERS, start, end):
        yield max(first, start), _unpacked(first, held, data).part(max(start - first, 0), min(end + 1 - first, held))
    if tail := read_tail(rows, FILTERS, start, end):
        yield min(tail), Packed.of([tail[height] for height in sorted(tail)])


def _unpacked(start: int, count: int, data: bytes) -> Packed:
    if len(data) < count * _LENGTH.itemsize:
        raise damaged("segments", FILTERS, start, start + count - 1)
    packed = Packed.by_sizes(data, np.frombuffer(data, _LENGTH, count), count * _LENGTH.itemsize)
    if packed.offsets[-1] != len(data):
        raise damaged("segments", FILTERS, start, start + count - 1)
    return packed
