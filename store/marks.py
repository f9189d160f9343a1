"""How far the store reaches: the row kept with the chain, and the receipt that every commit returns."""

from __future__ import annotations

import attrs

from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.segments import FILTER_HEADERS, FILTERS, HASHES, HEADERS, Series


@attrs.frozen
class ChainMarks:
    """The stored row: the reach of the chain series, written by the transaction that wrote the data.

    `sequence` counts commits, so that a commit whose answer was lost can be recognised in the file.
    """

    base: int
    previous_filter_header: bytes
    sequence: int
    tip: int
    tip_hash: bytes
    work: int
    filter_headers: int
    filter_header: bytes
    filters: int

    @classmethod
    def read(cls, rows: Session) -> ChainMarks:
        """From the database."""
        found = rows.run(_READ)
        if not found:
            raise StoreCorrupt("the marks are gone", "marks")
        base, previous, sequence, tip, tip_hash, work, *rest = found[0]
        return cls(base, previous, sequence, tip, tip_hash, int.from_bytes(work, "big"), *rest)

    def reach(self) -> tuple[tuple[Series, int], ...]:
        """Every chain series with the last height of its contiguous part."""
        return (HEADERS, self.tip), (HASHES, self.tip), (FILTER_HEADERS, self.filter_headers), (FILTERS, self.filters)

    def write(self, rows: Session) -> None:
        """Into the database, as part of the caller's transaction."""
        values = {**attrs.asdict(self), "work": self.work.to_bytes(32, "big")}
        rows.run("INSERT OR REPLACE INTO marks VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?)", tuple(values.values()))


_READ = """SELECT base, previous_filter_header, sequence, tip, tip_hash, work, filter_headers, filter_header, filters
    FROM marks WHERE id = 1"""


@attrs.frozen
class Watermarks:
    """What is stored and verified, contiguous up to each height; the receipt of a commit.

    Heights are absolute; "none yet" is `base - 1`, except for `masternodes`, where it is None (and its hash empty).
    `matched` is the height up to which every watch item has been matched, `filters` when there is none.
    `pending_blocks` are matched blocks whose bodies have not been searched yet, `matched_blocks` all matched ones.
    """

    base: int
    tip: int
    tip_hash: bytes
    work: int
    masternodes: int | None
    masternodes_hash: bytes
    filter_headers: int
    filter_header: bytes
    filters: int
    matched: int
    watch_items: int
    pending_blocks: int
    matched_blocks: int


def watermarks(rows: Session, chain: ChainMarks) -> Watermarks:
    """The receipt that goes with `chain`, the rest read from the tables."""
    lists = rows.run("SELECT height, block_hash FROM masternodes ORDER BY height DESC LIMIT 1")
    items, matched = rows.run("SELECT count(*), min(matched_to) FROM watch")[0]
    pending = rows.run("SELECT count(*) FROM matches WHERE recorded = 0")[0][0]
    return Watermarks(
        base=chain.base,
        tip=chain.tip,
        tip_hash=chain.tip_hash,
        work=chain.work,
        masternodes=lists[0][0] if lists else None,
        masternodes_hash=lists[0][1] if lists else b"",
        filter_headers=chain.filter_headers,
        filter_header=chain.filter_header,
        filters=chain.filters,
        matched=matched if items else chain.filters,
        watch_items=items,
        pending_blocks=pending,
        matched_blocks=rows.run("SELECT count(*) FROM matches")[0][0],
    )
