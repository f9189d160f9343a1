"""Branches that were refused for a ChainLock, for the user to read: a record of events, so no roll-back takes it."""

from __future__ import annotations

from typing import Any

import attrs

from phasegate.store.changes import RecordRefusedBranch
from phasegate.store.database import Session
from phasegate.store.hints import read_text

KEPT = 100


@attrs.frozen
class RefusedBranch:
    """One refused branch as stored; see `RecordRefusedBranch`."""

    row_id: int
    time: float
    fork_height: int
    tip_height: int
    tip_hash: bytes
    work: int
    lock_height: int
    peer: str


def record_refused(rows: Session, change: RecordRefusedBranch) -> None:
    """Apply `RecordRefusedBranch`."""
    values = {**attrs.asdict(change), "work": change.work.to_bytes(32, "big")}
    rows.run(_PUT, tuple(values.values()))
    rows.run("DELETE FROM refused_branches WHERE row_id <= (SELECT max(row_id) FROM refused_branches) - ?", (KEPT,))


_PUT = """INSERT INTO refused_branches(time, fork_height, tip_height, tip_hash, work, lock_height, peer)
    VALUES(?, ?, ?, ?, ?, ?, ?)"""


def refused_branches(rows: Session) -> list[RefusedBranch]:
    """The refused branches, oldest first."""
    return [_read(*row) for row in rows.run(_ROWS)]


def _read(*row: Any) -> RefusedBranch:
    branch = RefusedBranch(*row)
    return attrs.evolve(branch, work=int.from_bytes(row[5], "big"), peer=read_text(row[-1]))


_ROWS = """SELECT row_id, time, fork_height, tip_height, tip_hash, work, lock_height, CAST(peer AS BLOB)
    FROM refused_branches ORDER BY row_id"""
