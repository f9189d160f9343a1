"""Two tiers for the four chain series: rows for the newest heights, sealed segments for the rest.

A row an item is cheap to add and to take away, which is what the tip of a chain needs; a blob for a thousand or two is
an order of magnitude faster to write and to read, which is what a first download needs. So the newest heights, at most
4000, stand as rows in `tail`; below them stand `segments`, immutable, cut at multiples of 2000, of filters at multiples
of 1000. The tail's bottom is always such a border (or the base), and the transaction that moves it writes the segment.
A batch that is large seals every segment it completes and never becomes rows; a small one seals only what would leave
the tail too long. The law: what a series holds does not depend on how it was cut into batches.

Rows and segments carry a CRC-32 that covers their place too, so damage and misplacement are found when they are read,
and named by table and heights. A roll-back below the tail's bottom cuts one segment back into rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import attrs
from zlib_ng.zlib_ng import crc32

from phasegate.store.database import Row, Session
from phasegate.store.errors import StoreCorrupt

SPAN = 2000
"""Most heights a segment covers; the first one may be shorter, when the base is no multiple."""
FILTERS_SPAN = 1000
"""The same for filters: one request brings as many, so that they become a segment and never rows."""
TAIL = 4000
"""Most heights that stand as rows."""
BULK = 500
"""A batch of this many items seals all the segments it completes."""


@attrs.frozen
class Series:
    """One item a height: `number` is its key in the tables, `width` the size of an item, None when they differ."""

    number: int
    name: str
    width: int | None

    @property
    def span(self) -> int:
        """New segments are cut at its multiples; older releases cut those of all series at multiples of 2000."""
        return SPAN if self.width else FILTERS_SPAN


HEADERS = Series(1, "headers", 80)
HASHES = Series(2, "hashes", 32)
FILTER_HEADERS = Series(3, "filter headers", 32)
FILTERS = Series(4, "filters", None)
ALL_SERIES = (HEADERS, HASHES, FILTER_HEADERS, FILTERS)


def split(raw: bytes, width: int) -> list[bytes]:
    """`raw` as items of `width` bytes."""
    return [raw[i : i + width] for i in range(0, len(raw), width)]


@attrs.frozen
class Stretch(Sequence[bytes]):
    """Items of one width in one piece of bytes: to all others a list of them, but none exists before it is asked for.

    Args:
        raw: the items, concatenated.
        width: of each, in bytes.
    """

    raw: bytes
    width: int

    def __len__(self) -> int:
        return len(self.raw) // self.width

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Stretch: ...
    def __getitem__(self, at: int | slice) -> bytes | Stretch:
        places, width = range(len(self))[at], self.width
        if isinstance(places, int):
            return self.raw[places * width : (places + 1) * width]
        if places.step != 1:
            raise ValueError(f"a stretch is cut in steps of 1, not {places.step}")
        return Stretch(self.raw[places.start * width : places.stop * width], width)


def append(rows: Session, series: Series, base: int, start: int, items: Sequence[bytes]) -> None:
    """Add `items` from height `start` on, right above the contiguous part of the series."""
    end = start + len(items)
    bottom = tail_bottom(rows, series, start)
    keep = new_bottom(series, max(bottom, base), end, len(items))
    if keep > bottom:
        _seal(rows, series, start, items, range(bottom, keep))
    first = max(keep, start)
    put_rows(rows, series, zip(range(first, end), items[first - start :], strict=True))


def tail_bottom(rows: Session, series: Series, start: int) -> int:
    """The lowest height that stands as a row, `start` when there is none below that."""
    lowest = rows.run("SELECT min(height) FROM tail WHERE series = ?", (series.number,))[0][0]
    return start if lowest is None else min(lowest, start)


def new_bottom(series: Series, bottom: int, end: int, count: int) -> int:
    """Where the tail begins once a batch of `count` items has made it reach up to `end` (exclusive)."""
    border = end if count >= BULK else end - TAIL + series.span - 1
    return max(bottom, border // series.span * series.span)


def _seal(rows: Session, series: Series, start: int, items: Sequence[bytes], heights: range) -> None:
    """Move `heights`, in the tail below `start` and in `items` from there on, into segments."""
    older = read_tail(rows, series, heights.start, min(start, heights.stop) - 1)
    for first, after in cuts(series, heights):
        below = [older[h] for h in range(first, min(after, start))]
        above = items[max(first, start) - start : max(after, start) - start]
        write_segment(rows, series, range(first, after), _pack(series, below, above))
    rows.run("DELETE FROM tail WHERE series = ? AND height < ?", (series.number, heights.stop))


def cuts(series: Series, heights: range) -> list[tuple[int, int]]:
    """The segments of `heights`: where each begins, and where it ends (exclusive)."""
    span = series.span
    borders = [heights.start, *range((heights.start // span + 1) * span, heights.stop, span), heights.stop]
    return list(pairwise(borders)) if heights else []


def write_segment(rows: Session, series: Series, heights: range, data: bytes) -> None:
    """Store `data`, which holds the items of `heights`, as a segment."""
    crc = _crc(series, heights.start, len(heights), data)
    rows.run("INSERT INTO segments VALUES(?, ?, ?, ?, ?)", (series.number, heights.start, len(heights), crc, data))


def put_rows(rows: Session, series: Series, items: Iterable[tuple[int, bytes]]) -> None:
    """Store (height, item) pairs as rows, wherever they are."""
    rows.many(
        "INSERT OR REPLACE INTO tail VALUES(?, ?, ?, ?)",
        ((series.number, height, _crc(series, height, 1, item), item) for height, item in items),
    )


def heights_above(rows: Session, series: Series, height: int) -> list[int]:
    """The heights above `height` that stand as rows, ascending."""
    return [h for (h,) in rows.run(_HEIGHTS_ABOVE, (series.number, height))]


_HEIGHTS_ABOVE = "SELECT height FROM tail WHERE series = ? AND height > ? ORDER BY height"


def read(rows: Session, series: Series, start: int, count: int) -> list[bytes]:
    """The items of `count` heights from `start` on.

    Raises:
        StoreCorrupt: an item is damaged or missing.
    """
    found = [piece for _, piece in _pieces(rows, series, start, start + count - 1)]
    items = [item for piece in found for item in piece]
    if len(items) != count:
        raise missing(series, start, start + count - 1)
    return items


def read_joined(rows: Session, series: Series, start: int, count: int) -> bytes:
    """As `read`, for a series of fixed width: one byte string."""
    parts = [part for _, part in _joined(rows, series, start, start + count - 1)]
    raw = b"".join(parts)
    if len(raw) != count * (series.width or 0):
        raise missing(series, start, start + count - 1)
    return raw


def missing(series: Series, start: int, end: int) -> StoreCorrupt:
    """The error that says what should be there and is not."""
    detail = f"{series.name} {start}..{end} are not all there"
    return StoreCorrupt(detail, series.name, start, end)


def _pieces(rows: Session, series: Series, start: int, end: int) -> Iterator[tuple[int, list[bytes]]]:
    for first, count, data in segments_of(rows, series, start, end):
        items = _unpack(series, first, count, data)
        yield max(first, start), items[max(start - first, 0) : end + 1 - first]
    for height, item in sorted(read_tail(rows, series, start, end).items()):
        yield height, [item]


def _joined(rows: Session, series: Series, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    width = series.width or 0
    for first, _, data in segments_of(rows, series, start, end):
        yield max(first, start), data[max(start - first, 0) * width : (end + 1 - first) * width]
    yield from sorted(read_tail(rows, series, start, end).items())


def segments_of(rows: Session, series: Series, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """The segments that hold any of `start` to `end`, ascending, one by one: first height, items, data.

    Raises:
        StoreCorrupt: one is damaged.
    """
    found = rows.run(_HOLDING, (series.number, start - SPAN, end, start))
    for row_id, first, count, crc in found:
        data = rows.blob("segments", "data", row_id)
        if _crc(series, first, count, data) != crc:
            raise damaged("segments", series, first, first + count - 1)
        yield first, count, data


_HOLDING = """SELECT rowid, start, count, crc FROM segments
    WHERE series = ? AND start > ? AND start <= ? AND start + count > ? ORDER BY start"""
_SEGMENTS = "SELECT start, count, crc, data FROM segments WHERE series = ? AND start > ? AND start <= ? ORDER BY start"


def read_tail(rows: Session, series: Series, start: int, end: int) -> dict[int, bytes]:
    """What stands as rows from `start` to `end`, by height.

    Raises:
        StoreCorrupt: a row is damaged.
    """
    found = rows.run(_TAIL_ROWS, (series.number, start, end))
    return {height: _checked_row(series, height, crc, data) for height, crc, data in found}


_TAIL_ROWS = "SELECT height, crc, data FROM tail WHERE series = ? AND height BETWEEN ? AND ?"


def _checked_row(series: Series, height: int, crc: int, data: bytes) -> bytes:
    if _crc(series, height, 1, data) != crc:
        raise damaged("tail", series, height, height)
    return data


def damaged(table: str, series: Series, start: int, end: int) -> StoreCorrupt:
    """The error that names damage in one table."""
    return StoreCorrupt(f"{series.name} {start}..{end} are damaged (table {table})", series.name, start, end)


def cut(rows: Session, series: Series, to_height: int) -> None:
    """Take away everything above `to_height`; a segment that reaches over it becomes rows again."""
    over = rows.run(_SEGMENTS, (series.number, to_height - SPAN, to_height))
    for start, count, *_ in over:
        if start + count - 1 > to_height:
            kept = read(rows, series, start, to_height + 1 - start)
            put_rows(rows, series, zip(range(start, to_height + 1), kept, strict=True))
            rows.run("DELETE FROM segments WHERE series = ? AND start = ?", (series.number, start))
    rows.run("DELETE FROM segments WHERE series = ? AND start > ?", (series.number, to_height))
    rows.run("DELETE FROM tail WHERE series = ? AND height > ?", (series.number, to_height))


def contiguous_end(rows: Session, series: Series, base: int) -> int:
    """The last height of the part that has no gap, by what the tables list; `base - 1` when there is none."""
    end = base - 1
    listed: list[Row] = rows.run("SELECT start, count FROM segments WHERE series = ? ORDER BY start", (series.number,))
    listed += [(height, 1) for height in heights_above(rows, series, base - 1)]
    for start, count in listed:
        if start != end + 1:
            break
        end += count
    return end


def damaged_heights(rows: Session, series: Series) -> Iterator[tuple[str, int, int]]:
    """Every damaged (table, first, last) of the series, the segments read one by one."""
    for (start,) in rows.run("SELECT start FROM segments WHERE series = ? ORDER BY start", (series.number,)):
        first, count, crc, data = rows.run(_SEGMENT, (series.number, start))[0]
        if _crc(series, first, count, data) != crc:
            yield "segments", first, first + count - 1
    for height in heights_above(rows, series, -1):
        crc, data = rows.run("SELECT crc, data FROM tail WHERE series = ? AND height = ?", (series.number, height))[0]
        if _crc(series, height, 1, data) != crc:
            yield "tail", height, height


_SEGMENT = "SELECT start, count, crc, data FROM segments WHERE series = ? AND start = ?"


def erase(rows: Session) -> None:
    """Take away all series."""
    rows.run("DELETE FROM segments")
    rows.run("DELETE FROM tail")


def _crc(series: Series, start: int, count: int, data: bytes) -> int:
    return crc32(data, crc32(struct.pack("<BII", series.number, start, count)))


def _pack(series: Series, below: Sequence[bytes], above: Sequence[bytes]) -> bytes:
    lengths = b"" if series.width else struct.pack(f"<{len(below) + len(above)}I", *map(len, (*below, *above)))
    return b"".join((lengths, *below, *((above.raw,) if isinstance(above, Stretch) else above)))


def _unpack(series: Series, start: int, count: int, data: bytes) -> list[bytes]:
    if series.width:
        return split(data, series.width)
    items, at = [], 4 * count
    for length in struct.unpack_from(f"<{count}I", data):
        items.append(data[at : at + length])
        at += length
    if at != len(data):
        raise damaged("segments", series, start, start + count - 1)
    return items
