"""Verified InstantSend locks, and what they say about the found transactions.

Locks come before their transactions are in blocks, and of all transactions of the network. The newest 20,000 told stay,
and for ever those of a found transaction and those that contradict one by locking an input of it for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from phasegate.consensus.primitives import OutPoint
from phasegate.store import quorums
from phasegate.store.changes import RecordInstantLock
from phasegate.store.checksum import checksum
from phasegate.store.damage import Damage
from phasegate.store.database import Session, Value
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks

KEPT = 20_000


@attrs.frozen
class StoredInstantLock:
    """A verified InstantSend lock: of which transaction, spending what (sorted), as it came, and who signed it."""

    txid: bytes
    inputs: tuple[OutPoint, ...]
    payload: bytes
    quorum_type: int
    quorum_hash: bytes


def record_instantlock(rows: Session, change: RecordInstantLock) -> None:
    """Apply `RecordInstantLock`."""
    quorum = quorums.quorum_at(rows, (change.quorum_type, change.quorum_hash))
    if quorum is None:
        raise ValueError(f"the quorum of the InstantSend lock of {change.txid[::-1].hex()} is not stored")
    if rows.run("SELECT 1 FROM instantlocks WHERE txid = ?", (change.txid,)):
        return
    points = sorted({(point.txid, point.index) for point in change.inputs})
    rows.many("INSERT INTO instantlock_inputs VALUES(?, ?, ?)", ((*point, change.txid) for point in points))
    values = (change.txid, change.quorum_type, change.quorum_hash, quorum.mined_by, change.payload)
    rows.run(_PUT, (*values, _crc(values, points)))
    _drop(rows, _TOO_OLD, KEPT)


_PUT = """INSERT INTO instantlocks(txid, quorum_type, quorum_hash, mined_by, payload, crc) VALUES(?, ?, ?, ?, ?, ?)"""
_TOO_OLD = """SELECT txid FROM instantlocks WHERE row_id <= (SELECT max(row_id) FROM instantlocks) - ?
    AND NOT EXISTS (SELECT 1 FROM transactions AS t WHERE t.txid = instantlocks.txid)
    AND NOT EXISTS (SELECT 1 FROM instantlock_inputs AS i JOIN transaction_inputs USING(txid, position)
        WHERE i.lock = instantlocks.txid)"""


def _crc(values: Sequence[Value], points: list[tuple[bytes, int]]) -> int:
    return checksum(*values, *(part for point in points for part in point))


def _drop(rows: Session, chosen: str, value: int) -> None:
    """Drop the locks whose txids the statement `chosen` gives for `value`."""
    gone = rows.run(chosen, (value,))
    for table in ("DELETE FROM instantlocks WHERE txid = ?", "DELETE FROM instantlock_inputs WHERE lock = ?"):
        rows.many(table, gone)


def instantlock(rows: Session, txid: bytes) -> StoredInstantLock | None:
    """The lock of one transaction.

    Raises:
        StoreCorrupt: it is damaged.
    """
    for *values, crc in rows.run(f"{_ROWS} WHERE txid = ?", (txid,)):
        points = _points(rows, txid)
        if _crc(values, points) != crc:
            name = txid[::-1].hex()
            raise StoreCorrupt(f"the InstantSend lock of {name} is damaged", "instantlocks", values[3], values[3])
        _, kind, quorum, _, payload = values
        return StoredInstantLock(txid, tuple(OutPoint(*point) for point in points), payload, kind, quorum)
    return None


def locked_for(rows: Session, spent: Iterable[OutPoint]) -> bytes | None:
    """The txid of the transaction for which a verified lock holds one of the outpoints `spent`; None without one."""
    for point in spent:
        found = rows.run(_LOCKED, (point.txid, point.index))
        if found:
            txid: bytes = found[0][0]
            return txid
    return None


_LOCKED = "SELECT lock FROM instantlock_inputs WHERE txid = ? AND position = ? ORDER BY lock LIMIT 1"
_ROWS = "SELECT txid, quorum_type, quorum_hash, mined_by, payload, crc FROM instantlocks"
_NUMBERED = "SELECT row_id, txid, quorum_type, quorum_hash, mined_by, payload, crc FROM instantlocks ORDER BY row_id"


def locked_against(rows: Session, txid: bytes) -> bytes | None:
    """The txid of the transaction for which a verified lock holds an input of the found `txid`; None without one."""
    found = rows.run(f"{_AGAINST} ORDER BY l.lock LIMIT 1", (txid,))
    return found[0][0] if found else None


_AGAINST = """SELECT l.lock FROM transaction_inputs AS i JOIN instantlock_inputs AS l
    ON l.txid = i.txid AND l.position = i.position AND l.lock <> i.spender WHERE i.spender = ?"""


def contradicted(rows: Session, txid: bytes) -> list[bytes]:
    """The txids of the found transactions that spend what a verified lock holds for `txid`, and have no lock."""
    return [spender for (spender,) in rows.run(_CONTRADICTED, (txid,))]


_CONTRADICTED = """SELECT DISTINCT i.spender FROM instantlock_inputs AS l JOIN transaction_inputs AS i
    ON i.txid = l.txid AND i.position = l.position WHERE l.lock = ?1 AND i.spender <> ?1
    AND NOT EXISTS (SELECT 1 FROM instantlocks AS own WHERE own.txid = i.spender) ORDER BY i.spender"""


def _points(rows: Session, txid: bytes) -> list[tuple[bytes, int]]:
    sql = "SELECT txid, position FROM instantlock_inputs WHERE lock = ? ORDER BY txid, position"
    return [(spent, position) for spent, position in rows.run(sql, (txid,))]


def roll_back(rows: Session, to: int) -> None:
    """Drop the locks whose quorum is not known to be active at or below `to`."""
    _drop(rows, "SELECT txid FROM instantlocks WHERE mined_by > ?", to)


def damages(rows: Session) -> Iterator[Damage]:
    """The locks whose bytes are damaged, named by the height of their quorum, and inputs that no lock has."""
    for _, height in _damaged(rows):
        yield Damage("InstantSend lock", "instantlocks", height, height)
    if rows.run(_UNOWNED):
        tip = ChainMarks.read(rows).tip
        yield Damage("inputs of no InstantSend lock", "instantlock_inputs", tip, tip)


_UNOWNED = "SELECT DISTINCT lock FROM instantlock_inputs WHERE lock NOT IN (SELECT txid FROM instantlocks)"


def _damaged(rows: Session) -> list[tuple[int, int]]:
    found = rows.run(_NUMBERED)
    return [(row, values[3]) for row, *values, crc in found if _crc(values, _points(rows, values[0])) != crc]


def mend(rows: Session) -> None:
    """Drop damaged locks: what they marked is not known to be locked any more."""
    for row_id, _ in _damaged(rows):
        _drop(rows, "SELECT txid FROM instantlocks WHERE row_id = ?", row_id)
    rows.many("DELETE FROM instantlock_inputs WHERE lock = ?", rows.run(_UNOWNED))
