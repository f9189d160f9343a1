"""The transactions that the user wants in the chain, until they are.

Unlike other hints these carry a checksum, over the transaction and its name: what is sent must be what the user gave,
and peers turn away from who sends them a damaged one.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.store.checksum import checksum
from phasegate.store.damage import Damage
from phasegate.store.database import Row, Session
from phasegate.store.hints import fits_word, is_finite, read_text
from phasegate.store.peer_changes import BroadcastRow, ForgetBroadcast, PutBroadcast

KEPT = 1000
LARGEST = 1_000_000
"""Bytes of a transaction, as no larger one is relayed or mined."""


def put_broadcast(rows: Session, change: PutBroadcast) -> None:
    """Apply `PutBroadcast`."""
    row = change.row
    if not _fits(row):
        raise ValueError(f"{len(row.raw)} bytes named {row.txid[::-1].hex()} ({row.state}) are nothing to broadcast")
    values = (*attrs.astuple(row), checksum(row.txid, row.raw))
    rows.run("INSERT OR REPLACE INTO broadcasts VALUES(?, ?, ?, ?, ?, ?)", values)
    if rows.run("SELECT count(*) FROM broadcasts")[0][0] > KEPT:
        rows.run(_FORGET, (KEPT,))


_FORGET = """DELETE FROM broadcasts WHERE txid IN
    (SELECT txid FROM broadcasts ORDER BY added DESC, txid DESC LIMIT -1 OFFSET ?)"""


def forget_broadcast(rows: Session, change: ForgetBroadcast) -> None:
    """Apply `ForgetBroadcast`."""
    rows.run("DELETE FROM broadcasts WHERE txid = ?", (change.txid,))


def broadcasts(rows: Session) -> list[BroadcastRow]:
    """All of them, the one added first at the beginning."""
    return [_read(row) for row in rows.run(_ROWS) if _is_whole(row)]


_ROWS = "SELECT txid, raw, added, announced, CAST(state AS BLOB), crc FROM broadcasts ORDER BY added, txid"


def _fits(row: BroadcastRow) -> bool:
    named = len(row.txid) == 32 and 0 < len(row.raw) <= LARGEST
    return named and is_finite(row.added, row.announced) and fits_word(row.state)


def _read(row: Row) -> BroadcastRow:
    txid, raw, added, announced, state, _ = row
    return BroadcastRow(txid, raw, added, announced, read_text(state))


def _is_whole(row: Row) -> bool:
    return _fits(_read(row)) and bool(checksum(*row[:2]) == row[-1])


def damages(rows: Session, height: int) -> Iterator[Damage]:
    """The table when rows of it are damaged, named at `height`, as they have none."""
    if _damaged(rows):
        yield Damage("transactions to broadcast", "broadcasts", height, height)


def _damaged(rows: Session) -> list[Row]:
    return [row[:1] for row in rows.run(_ROWS) if not _is_whole(row)]


def mend(rows: Session) -> None:
    """Drop what is damaged: only the user can give it again."""
    rows.many("DELETE FROM broadcasts WHERE txid = ?", _damaged(rows))
