"""The transition journal: what a chart did, when, why, and on which facts; bounded.

It is told and decides nothing, so it has no checksum. A damaged text is told as far as it can be read.
"""

from __future__ import annotations

import attrs

from phasegate.store.changes import AppendJournal, KeepHistory
from phasegate.store.database import Session
from phasegate.store.hints import read_text


@attrs.frozen
class JournalRow:
    """One transition as stored; row ids grow and are never used again."""

    row_id: int
    time: float
    source: str
    target: str
    event: str
    reason: str
    facts_json: str


def append_journal(rows: Session, change: AppendJournal) -> None:
    """Apply `AppendJournal`."""
    rows.run(
        "INSERT INTO journal(time, source, target, event, reason, facts) VALUES(?, ?, ?, ?, ?, ?)",
        attrs.astuple(change),
    )


def keep_history(rows: Session, change: KeepHistory) -> None:
    """Apply `KeepHistory`."""
    if change.limit < 0:
        raise ValueError(f"cannot keep {change.limit} journal rows")
    rows.run("DELETE FROM journal WHERE row_id <= (SELECT max(row_id) FROM journal) - ?", (change.limit,))


def journal_end(rows: Session) -> int:
    """The id of the newest row, 0 when there is none."""
    end: int = rows.run("SELECT coalesce(max(row_id), 0) FROM journal")[0][0]
    return end


def journal(rows: Session, after: int, limit: int) -> list[JournalRow]:
    """The first `limit` rows with an id above `after`, oldest first."""
    found = rows.run(_ROWS, (after, limit))
    return [JournalRow(row_id, time, *map(read_text, texts)) for row_id, time, *texts in found]


_ROWS = """SELECT row_id, time, CAST(source AS BLOB), CAST(target AS BLOB), CAST(event AS BLOB), CAST(reason AS BLOB),
    CAST(facts AS BLOB) FROM journal WHERE row_id > ? ORDER BY row_id LIMIT ?"""
