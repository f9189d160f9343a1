"""What peers did, and until when they are banned for it, between runs."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.store.damage import Damage
from phasegate.store.database import Row, Session
from phasegate.store.hints import fits_address, fits_word, is_finite, read_text
from phasegate.store.peer_changes import ForgetReputation, PutReputation, ReputationRow

KEPT = 10_000
DETAIL_LENGTH = 500


def put_reputation(rows: Session, change: PutReputation) -> None:
    """Apply `PutReputation`."""
    row = change.row
    if not _fits(row):
        raise ValueError(f"this is no reputation to remember: {row}")
    row = attrs.evolve(row, detail=row.detail[:DETAIL_LENGTH])
    rows.run("INSERT OR REPLACE INTO reputations VALUES(?, ?, ?, ?, ?, ?, ?)", attrs.astuple(row))
    if rows.run("SELECT count(*) FROM reputations")[0][0] > KEPT:
        rows.run(_FORGET, (row.time, KEPT))


_FORGET = """DELETE FROM reputations WHERE (host, port) IN
    (SELECT host, port FROM reputations ORDER BY banned_until > ?1 AND reason = 'by-hand' DESC,
        banned_until > ?1 DESC, time DESC, host, port LIMIT -1 OFFSET ?2)"""


def forget_reputation(rows: Session, change: ForgetReputation) -> None:
    """Apply `ForgetReputation`."""
    rows.run("DELETE FROM reputations WHERE host = ? AND port = ?", (change.host, change.port))


def reputations(rows: Session) -> list[ReputationRow]:
    """All of them, by host and port."""
    return [row for row in map(_read, rows.run(_ROWS)) if _fits(row)]


_ROWS = """SELECT CAST(host AS BLOB), port, score, time, banned_until, CAST(reason AS BLOB), CAST(detail AS BLOB)
    FROM reputations ORDER BY host, port"""


def _fits(row: ReputationRow) -> bool:
    numbers = is_finite(row.score, row.time, row.banned_until)
    return fits_address(row.host, row.port) and fits_word(row.reason) and numbers


def _read(row: Row) -> ReputationRow:
    host, port, score, time, banned_until, reason, detail = row
    return ReputationRow(read_text(host), port, score, time, banned_until, read_text(reason), read_text(detail))


def damages(rows: Session, height: int) -> Iterator[Damage]:
    """The table when it has rows that do not fit, named at `height`, as they have none."""
    if _unfit(rows):
        yield Damage("reputations", "reputations", height, height)


def _unfit(rows: Session) -> list[Row]:
    return [row[:2] for row in rows.run(_ROWS) if not _fits(_read(row))]


def mend(rows: Session) -> None:
    """Drop the rows that do not fit: who misbehaves again is banned again."""
    rows.many("DELETE FROM reputations WHERE host = CAST(? AS TEXT) AND port = ?", _unfit(rows))
