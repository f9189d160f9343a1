"""Verified ChainLocks of stored blocks: the newest hundred, each with the quorum that signed it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.store.changes import RecordChainLock, VerifiedChainLock
from phasegate.store.checksum import checksum
from phasegate.store.damage import Damage
from phasegate.store.database import Row, Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks

KEPT = 100


@attrs.frozen
class StoredChainLock(VerifiedChainLock):
    """A verified ChainLock as it was recorded."""


def record_chainlock(rows: Session, chain: ChainMarks, change: RecordChainLock) -> None:
    """Apply `RecordChainLock`."""
    chain.refuse_unstored(rows, change.height, change.block_hash, "ChainLock")
    if change.mined_by > chain.tip:
        raise ValueError(f"no quorum of a ChainLock can be active at {change.mined_by}, above the tip {chain.tip}")
    values = attrs.astuple(change)
    rows.run("INSERT OR REPLACE INTO chainlocks VALUES(?, ?, ?, ?, ?, ?, ?)", (*values, checksum(*values)))
    rows.run(_FORGET, (KEPT,))


_FORGET = "DELETE FROM chainlocks WHERE height NOT IN (SELECT height FROM chainlocks ORDER BY height DESC LIMIT ?)"


def best(rows: Session) -> tuple[int, bytes] | None:
    """Height and hash of the highest locked block, None when there is none."""
    found = rows.run("SELECT height, block_hash FROM chainlocks ORDER BY height DESC LIMIT 1")
    return (found[0][0], found[0][1]) if found else None


def chainlocks(rows: Session, above: int) -> list[StoredChainLock]:
    """The locks of blocks above `above`, the highest first.

    Raises:
        StoreCorrupt: one is damaged.
    """
    return [_checked(row) for row in rows.run(f"{_ROWS} WHERE height > ? ORDER BY height DESC", (above,))]


_ROWS = "SELECT height, block_hash, signature, quorum_type, quorum_hash, mined_by, crc FROM chainlocks"


def _checked(row: Row) -> StoredChainLock:
    *values, crc = row
    if checksum(*values) != crc:
        raise StoreCorrupt(f"the ChainLock of {row[0]} is damaged", "chainlocks", row[0], row[0])
    return StoredChainLock(*values)


def roll_back(rows: Session, to: int) -> None:
    """Drop the locks of blocks above `to`, and those whose quorum is not known to be active at or below it."""
    rows.run("DELETE FROM chainlocks WHERE height > ?1 OR mined_by > ?1", (to,))


def damages(rows: Session) -> Iterator[Damage]:
    """The locks whose bytes are damaged."""
    for height in _damaged(rows):
        yield Damage("ChainLock", "chainlocks", height, height)


def _damaged(rows: Session) -> list[int]:
    return [height for height, *rest, crc in rows.run(f"{_ROWS} ORDER BY height") if checksum(height, *rest) != crc]


def mend(rows: Session) -> None:
    """Drop damaged locks: the newest come again by themselves."""
    rows.many("DELETE FROM chainlocks WHERE height = ?", ((height,) for height in _damaged(rows)))
