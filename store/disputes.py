"""Filter headers: who else stated them, and filters that could stand in the place of a stored one.

Where peers disagree about a filter and no proof decides, every filter that survives is kept beside the stored one and
matched like it, so that no payment can be hidden. A variant that comes late opens what was matched already again.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.store.changes import Corroborate, ForgetDisputes, PutFilterVariants
from phasegate.store.checksum import checksum
from phasegate.store.damage import Damage
from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks
from phasegate.store.pruning import birthday
from phasegate.store.segments import FILTER_HEADERS, read_joined


def corroborate(rows: Session, chain: ChainMarks, change: Corroborate) -> ChainMarks:
    """Apply `Corroborate`."""
    height = change.height
    if not chain.base <= height <= chain.filter_headers:
        raise ValueError(f"filter header {height} is not stored ({chain.base}..{chain.filter_headers})")
    if read_joined(rows, FILTER_HEADERS, height, 1) != change.filter_header:
        raise ValueError(f"another filter header than the stored one was corroborated at {height}")
    return attrs.evolve(chain, corroborated=max(chain.corroborated, height))


def put_variants(rows: Session, chain: ChainMarks, change: PutFilterVariants) -> None:
    """Apply `PutFilterVariants`."""
    for height, raw in change.filters:
        if not chain.base <= height <= chain.filter_headers:
            raise ValueError(f"variant {height} has no stored filter header ({chain.base}..{chain.filter_headers})")
        if rows.run("SELECT 1 FROM filter_variants WHERE height = ? AND data = ?", (height, raw)):
            continue
        sql = "INSERT INTO filter_variants(height, crc, data) VALUES(?, ?, ?)"
        rows.run(sql, (height, checksum(height, raw), raw))
        if height >= birthday(rows, chain):
            rows.run("UPDATE watch SET matched_to = min(matched_to, ?)", (height - 1,))


def forget_disputes(rows: Session, change: ForgetDisputes) -> None:
    """Apply `ForgetDisputes`."""
    rows.run("DELETE FROM filter_variants WHERE height >= ?", (change.from_height,))


def roll_back(rows: Session, chain: ChainMarks, to: int) -> ChainMarks:
    """Drop the variants above `to`, and what is known about the filter headers there."""
    rows.run("DELETE FROM filter_variants WHERE height > ?", (to,))
    return attrs.evolve(chain, corroborated=min(chain.corroborated, to))


def lowest(rows: Session) -> int | None:
    """The lowest disputed height, None when there is none."""
    found: int | None = rows.run("SELECT min(height) FROM filter_variants")[0][0]
    return found


def variants(rows: Session, start: int, count: int) -> list[tuple[int, bytes]]:
    """The variants of `count` heights from `start` on, as (height, raw), ascending.

    Raises:
        StoreCorrupt: one is damaged.
    """
    found = rows.run(_ROWS, (start, start + count - 1))
    for height, crc, raw in found:
        if checksum(height, raw) != crc:
            raise StoreCorrupt(f"a filter variant of {height} is damaged", "filter_variants", height, height)
    return [(height, raw) for height, _, raw in found]


_ROWS = "SELECT height, crc, data FROM filter_variants WHERE height BETWEEN ? AND ? ORDER BY height, row_id"


def damages(rows: Session) -> Iterator[Damage]:
    """The variants whose bytes are damaged."""
    for height, crc, raw in rows.run("SELECT height, crc, data FROM filter_variants ORDER BY height, row_id"):
        if checksum(height, raw) != crc:
            yield Damage("filter variant", "filter_variants", height, height)
