"""How far the store reaches: the row kept with the chain, and the form of the receipt that every commit returns."""

from __future__ import annotations

import attrs

from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.segments import FILTER_HEADERS, FILTERS, HASHES, HEADERS, Series, read_joined


@attrs.frozen
class ChainMarks:
    """The stored row: the reach of the chain series, written by the transaction that wrote the data.

    `sequence` counts commits, so that a commit whose answer was lost can be recognised in the file. Filters begin at
    `filters_base`, all else at `base`.
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
    filters_base: int
    corroborated: int

    @classmethod
    def read(cls, rows: Session) -> ChainMarks:
        """From the database."""
        found = rows.run(_READ)
        if not found:
            raise StoreCorrupt("the marks are gone", "marks")
        base, previous, sequence, tip, tip_hash, work, *rest = found[0]
        return cls(base, previous, sequence, tip, tip_hash, int.from_bytes(work, "big"), *rest)

    def reach(self) -> tuple[tuple[Series, int, int], ...]:
        """Every chain series with the first and the last height of its contiguous part."""
        base = self.base
        return (
            (HEADERS, base, self.tip),
            (HASHES, base, self.tip),
            (FILTER_HEADERS, base, self.filter_headers),
            (FILTERS, self.filters_base, self.filters),
        )

    def refuse_unstored(self, rows: Session, height: int, block_hash: bytes, what: str) -> None:
        """Compare the block that something belongs to with the stored one at its height.

        Raises:
            ValueError: no block is stored at that height, or another one.
        """
        if not self.base <= height <= self.tip:
            raise ValueError(f"no block {height} for a {what}: headers {self.base}..{self.tip} are stored")
        if read_joined(rows, HASHES, height, 1) != block_hash:
            raise ValueError(f"the {what} at {height} belongs to another block than the stored one")

    def write(self, rows: Session) -> None:
        """Into the database, as part of the caller's transaction."""
        values = {**attrs.asdict(self), "work": self.work.to_bytes(32, "big")}
        rows.run("INSERT OR REPLACE INTO marks VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", tuple(values.values()))


_READ = """SELECT base, previous_filter_header, sequence, tip, tip_hash, work, filter_headers, filter_header, filters,
    filters_base, corroborated FROM marks WHERE id = 1"""


@attrs.frozen
class Watermarks:
    """What is stored and verified, contiguous up to each height; the receipt of a commit.

    Heights are absolute; "none yet" is `base - 1`, for `masternodes`, `chainlock` and `disputed` None (and the hash
    empty), for `filters` and `matched` `filters_base - 1`, which is above the tip while the chain is shorter than that.

    Args:
        base: the first stored block.
        tip: the last one.
        tip_hash: its hash.
        work: chainwork up to the tip.
        masternodes: the newest masternode list, those kept as anchors aside.
        masternodes_hash: of its block.
        filter_headers: the last stored filter header.
        filter_header: that one; with none yet, the one before the base.
        filters: the end of the contiguous part.
        matched: the height up to which every watch item has been matched, `filters` when there is none.
        watch_items: how many.
        pending_blocks: matched blocks whose bodies have not been searched yet.
        matched_blocks: all matched ones.
        filters_base: the first block whose filter is wanted: the birthday or the base; above it when filters that
            everything watched was matched against were not kept.
        context: headers held from below the base.
        chainlock: the best verified ChainLock.
        chainlock_hash: of its block.
        quorums: how many quorums are active at the newest masternode list.
        quorums_unjudged: quorums active at the newest masternode list without a verdict.
        corroborated: up to there two or more peers stated the stored filter headers.
        disputed: the lowest height with filter variants.
        birthday: the first block whose filter was wanted, kept or not.
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
    filters_base: int = attrs.field(default=attrs.Factory(lambda marks: marks.base, takes_self=True))
    context: int = 0
    chainlock: int | None = None
    chainlock_hash: bytes = b""
    quorums: int = 0
    quorums_unjudged: int = 0
    corroborated: int = attrs.field(default=attrs.Factory(lambda marks: marks.base - 1, takes_self=True))
    disputed: int | None = None
    birthday: int = attrs.field(default=attrs.Factory(lambda marks: marks.filters_base, takes_self=True))
