"""Filter headers, a chain of its own below the tip, and filters, which may arrive in any order.

Filters that follow the contiguous part join it; others wait as rows above the gap. The watermark is the end of the
contiguous part, and only it is matched.
"""

from __future__ import annotations

import attrs

from phasegate.store import disputes, wallet
from phasegate.store.changes import AppendFilterHeaders, PutFilters, RollBackFilters
from phasegate.store.database import Session
from phasegate.store.marks import ChainMarks
from phasegate.store.packed import PackedFilters, append_packed
from phasegate.store.segments import (
    FILTER_HEADERS,
    FILTERS,
    SPAN,
    Stretch,
    append,
    cut,
    heights_above,
    put_rows,
    read,
    read_joined,
)


def append_filter_headers(rows: Session, chain: ChainMarks, change: AppendFilterHeaders) -> ChainMarks:
    """Apply `AppendFilterHeaders`."""
    items = Stretch(change.headers, 32)
    end = change.start + len(items) - 1
    if not items or len(change.headers) % 32:
        raise ValueError(f"{len(change.headers)} bytes are no filter headers")
    if change.start != chain.filter_headers + 1 or end > chain.tip:
        stored = f"{chain.filter_headers} are stored and the tip is {chain.tip}"
        raise ValueError(f"filter headers {change.start}..{end} do not fit: {stored}")
    append(rows, FILTER_HEADERS, chain.base, change.start, items)
    previous = _previous(chain, change)
    return attrs.evolve(chain, previous_filter_header=previous, filter_headers=end, filter_header=items[-1])


def _previous(chain: ChainMarks, change: AppendFilterHeaders) -> bytes:
    if change.previous is None:
        return chain.previous_filter_header
    if not change.start == chain.base > 0 or len(change.previous) != 32:
        raise ValueError(
            f"a filter header before {change.start} comes only with the first above genesis ({chain.base})"
        )
    return change.previous


def put_filters(rows: Session, chain: ChainMarks, change: PutFilters) -> ChainMarks:
    """Apply `PutFilters`."""
    batch = change.filters
    if isinstance(batch, PackedFilters) and _follows(rows, chain, batch):
        append_packed(rows, chain.filters_base, batch)
        return attrs.evolve(chain, filters=batch.end)
    return _put_any(rows, chain, change)


def _follows(rows: Session, chain: ChainMarks, batch: PackedFilters) -> bool:
    """Whether `batch` is right above the contiguous part, and none waits above the gap."""
    fits = batch.start == chain.filters + 1 and chain.filters_base <= batch.start <= batch.end <= chain.filter_headers
    return fits and not heights_above(rows, FILTERS, chain.filters)


def _put_any(rows: Session, chain: ChainMarks, change: PutFilters) -> ChainMarks:
    """What any order of arrival needs; of packed filters that follow each other it makes the same."""
    for height, _ in change.filters:
        if not chain.filters_base <= height <= chain.filter_headers:
            wanted = f"{chain.filters_base}..{chain.filter_headers}"
            raise ValueError(f"filter {height} is not wanted or has no stored filter header ({wanted})")
    waiting = set(heights_above(rows, FILTERS, chain.filters))
    arrived = {h: raw for h, raw in change.filters if h > chain.filters and h not in waiting}
    end = _end_of_run(chain.filters, waiting | arrived.keys())
    for start in range(chain.filters + 1, end + 1, SPAN):
        heights = range(start, min(start + SPAN, end + 1))
        append(rows, FILTERS, chain.filters_base, start, [_filter(rows, arrived, height) for height in heights])
    put_rows(rows, FILTERS, ((h, raw) for h, raw in arrived.items() if h > end))
    return attrs.evolve(chain, filters=end)


def _end_of_run(end: int, heights: set[int]) -> int:
    while end + 1 in heights:
        end += 1
    return end


def _filter(rows: Session, arrived: dict[int, bytes], height: int) -> bytes:
    return arrived[height] if height in arrived else read(rows, FILTERS, height, 1)[0]


def roll_back_filters(rows: Session, chain: ChainMarks, change: RollBackFilters) -> ChainMarks:
    """Apply `RollBackFilters`."""
    to = change.to_height
    if not chain.base - 1 <= to <= chain.filter_headers:
        raise ValueError(f"cannot roll filter headers back to {to}: they are stored to {chain.filter_headers}")
    wallet.roll_back(rows, chain, to)
    return roll_back(rows, chain, to)


def roll_back(rows: Session, chain: ChainMarks, to: int) -> ChainMarks:
    """Drop filter headers and filters above `to`, and what is known beside them."""
    chain = disputes.roll_back(rows, chain, to)
    cut(rows, FILTER_HEADERS, to)
    cut(rows, FILTERS, to)
    end = min(chain.filter_headers, to)
    header = filter_header(rows, chain, end)
    filters = max(min(chain.filters, to), chain.filters_base - 1)
    return attrs.evolve(chain, filter_headers=end, filter_header=header, filters=filters)


def filter_header(rows: Session, chain: ChainMarks, height: int) -> bytes:
    """The filter header at `height`, which may be the one below the base."""
    if height == chain.base - 1:
        return chain.previous_filter_header
    return read_joined(rows, FILTER_HEADERS, height, 1)
