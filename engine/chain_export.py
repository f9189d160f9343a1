"""Writing what is stored of a chain into a file that another machine can verify by itself (`chain_file`).

Only what the reader can check is written: headers, filters, and filter headers as far as there are filters, since a
filter header without its filter says nothing that could be held against anything. What belongs to the owner of the
store (watched scripts, transactions, peers, the journal) and what is only valid with other data (masternode lists,
locks) is left out. Sections are cut where the store cuts its segments, so that they become segments again as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import BinaryIO

import attrs

from phasegate.consensus.headers import context_size
from phasegate.consensus.packed import Packed
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.engine.chain_file import LARGEST, ChainFileWriter, Kind
from phasegate.store import Store, StoreMismatch, Watermarks

SPAN, FILTERS_SPAN = 2000, 1000
"""Heights in a section at most: of headers and filter headers, and of filters."""
FULL = LARGEST // 2
"""Bytes of filters at which a section is full."""

Report = Callable[[int, int], None]
"""Told how many items of how many are done."""


@attrs.frozen
class Reach:
    """What a file holds: the first block, the last one, and the filters from `birthday` to `filters`, if any.

    Args:
        base: the first height.
        tip: the last height.
        birthday: the first height with a filter.
        filters: the last height with a filter header and a filter; below `birthday` when there is none.
    """

    base: int
    tip: int
    birthday: int
    filters: int

    @property
    def filter_count(self) -> int:
        """The number of filters."""
        return max(0, self.filters + 1 - self.birthday)

    @property
    def items(self) -> int:
        """All items: headers, filter headers and filters."""
        filter_headers = self.filters + 1 - self.base if self.filter_count else 0
        return self.tip + 1 - self.base + filter_headers + self.filter_count


def reach_of(marks: Watermarks, *, filters: bool = True) -> Reach:
    """What of a store can be written; filters that were pruned from below cannot be held against anything."""
    whole = filters and marks.filters_base == marks.birthday and marks.filters >= marks.birthday
    return Reach(marks.base, marks.tip, marks.birthday, marks.filters if whole else marks.birthday - 1)


def export_chain(store: Store, network: Network, file: BinaryIO, reach: Reach, report: Report) -> None:
    """Write the part of `store` that `reach` tells.

    Raises:
        StoreMismatch: the store begins above genesis, and what its first headers are judged by is not there yet.
        StoreError: it cannot be read.
        OSError: the file cannot be written.
    """
    context, writer, done = _context(store, network), ChainFileWriter(file), 0
    writer.write(Kind.DESCRIPTION, 0, 0, _description(store, network, reach, context))
    if context:
        count = len(context) // HEADER_SIZE
        writer.write(Kind.CONTEXT, reach.base - count, count, context)
    for kind, start, count, payload in _series(store, reach):
        writer.write(kind, start, count, payload)
        report(done := done + count, reach.items)
    writer.close()


def _context(store: Store, network: Network) -> bytes:
    context, base = store.context(), store.marks.base
    if len(context) // HEADER_SIZE < min(base, context_size(network, base) - 1):
        raise StoreMismatch(f"the headers below {base}, where this store begins, are not there yet: sync it first")
    return context


def _description(store: Store, network: Network, reach: Reach, context: bytes) -> bytes:
    told = {
        "network": network.file_name,
        "genesis": network.genesis.hex(),
        "activations": dict(network.activations),
        "base_header": store.header(reach.base).hex(),
        "base_work": f"{store.anchor().work:x}",
        "previous_filter_header": store.filter_header_at(reach.base - 1).hex(),
        "context": len(context) // HEADER_SIZE,
        **attrs.asdict(reach),
    }
    return json.dumps(told, sort_keys=True).encode()


def _series(store: Store, reach: Reach) -> Iterator[tuple[Kind, int, int, bytes]]:
    for start, count in _pieces(reach.base, reach.tip, SPAN):
        yield Kind.HEADERS, start, count, store.headers(start, count)
    if not reach.filter_count:
        return
    for start, count in _pieces(reach.base, reach.filters, SPAN):
        yield Kind.FILTER_HEADERS, start, count, store.filter_headers(start, count)
    for start, count in _pieces(reach.birthday, reach.filters, FILTERS_SPAN):
        yield from _filters(start, Packed.of(store.filters(start, count)))


def _filters(start: int, filters: Packed) -> Iterator[tuple[Kind, int, int, bytes]]:
    """Some filters as one section, or as several when they are large."""
    if len(filters) > 1 and len(filters.joined) > FULL:
        half = len(filters) // 2
        yield from _filters(start, filters.part(0, half))
        yield from _filters(start + half, filters.part(half, len(filters)))
    else:
        yield Kind.FILTERS, start, len(filters), filters.sizes.astype("<u4").tobytes() + filters.joined


def _pieces(start: int, end: int, span: int) -> Iterator[tuple[int, int]]:
    """`start..end` cut at the multiples of `span`, as (first height, how many)."""
    while start <= end:
        count = min(end + 1, (start // span + 1) * span) - start
        yield start, count
        start += count
