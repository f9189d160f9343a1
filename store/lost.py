"""Found transactions whose block left the chain: a record of what was there, until it is no news any more.

A reorganisation takes them out of the wallet, and most come back in a block of the new branch. One that does not is
what a wallet has to be told of, so what it was is kept, in the transaction that rolls back. It is no part of the chain:
no roll-back takes it along, and the digest leaves it out. Whether a transaction came back, or can no more because
another one holds what it spends, is not stored, it follows from what is known now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from phasegate.consensus.codec import Reader, compact_size, var_bytes
from phasegate.consensus.primitives import OutPoint
from phasegate.store import key_chains, wallet
from phasegate.store.checksum import checksum
from phasegate.store.chosen import ABOVE
from phasegate.store.damage import Damage
from phasegate.store.database import Row, Session
from phasegate.store.key_chain_changes import RemoveKeyChains
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import HASHES, read_joined
from phasegate.store.wallet import StoredTransaction
from phasegate.store.watch_changes import RecordLost, RemoveWatch

KEPT = 1000
"""Records that stay, and all of the last reorganisation, should it have more."""
_AMOUNT = 16
"""Bytes of an amount: those of a chain that invents money fit as well."""
_MOST = 1 << 20


@attrs.frozen
class LostTransaction:
    """A transaction that was found in a block which left the chain.

    Args:
        row_id: a higher one was lost later.
        time: when, in seconds since 1970.
        txid: 32 bytes in wire order.
        height: of the block that left.
        block_hash: of that block, in wire order.
        position: in that block.
        scripts: the watched ones that it concerned, sorted.
        inputs: all that it spends.
        received: duffs that it paid to watched scripts.
        sent: duffs of watched scripts that it spent.
        returned: the height of the block in which it is found now, None when in none.
        conflict: another transaction that spends one of its inputs, found in a block or held by a verified InstantSend
            lock; None when none is known.
    """

    row_id: int
    time: float
    txid: bytes
    height: int
    block_hash: bytes
    position: int
    scripts: tuple[bytes, ...]
    inputs: tuple[OutPoint, ...]
    received: int
    sent: int
    returned: int | None = None
    conflict: bytes | None = None

    @property
    def coinbase(self) -> bool:
        """Whether it was the coinbase of its block, and so can be in no other."""
        return self.position == 0


def record_lost(rows: Session, chain: ChainMarks, change: RecordLost) -> None:
    """Apply `RecordLost`."""
    if not chain.base - 1 <= change.above <= chain.tip:
        stored = f"headers {chain.base}..{chain.tip} are stored"
        raise ValueError(f"nothing can leave the chain above {change.above}: {stored}")
    put = [_put(rows, change.time, tx) for tx in wallet.chosen_transactions(rows, ABOVE, (change.above,))]
    if put:
        rows.run(_FORGET, (KEPT, put[0]))


def _put(rows: Session, time: float, tx: StoredTransaction) -> int:
    block_hash = read_joined(rows, HASHES, tx.height, 1)
    values = (time, tx.txid, tx.height, block_hash, _packed(rows, tx))
    row_id: int = rows.run(_PUT, (*values, checksum(*values)))[0][0]
    return row_id


_PUT = """INSERT INTO lost_transactions(time, txid, height, block_hash, details, crc) VALUES(?, ?, ?, ?, ?, ?)
    RETURNING row_id"""
_FORGET = """DELETE FROM lost_transactions
    WHERE row_id <= (SELECT max(row_id) FROM lost_transactions) - ?1 AND row_id < ?2"""


def _packed(rows: Session, tx: StoredTransaction) -> bytes:
    spent = [OutPoint(*point) for point in rows.run(_INPUTS, (tx.txid,))]
    scripts, inputs = map(var_bytes, tx.scripts), [point.to_bytes() for point in spent]
    amounts = [amount.to_bytes(_AMOUNT, "big") for amount in (tx.received, tx.sent)]
    counted = (compact_size(len(tx.scripts)), *scripts, compact_size(len(inputs)), *inputs)
    return b"".join((compact_size(tx.position), *counted, *amounts))


_INPUTS = "SELECT txid, position FROM transaction_inputs WHERE spender = ? ORDER BY txid, position"


def lost(rows: Session, after: int = 0) -> list[LostTransaction]:
    """The records with a row id above `after`, oldest first; damaged ones are skipped."""
    found = rows.run(f"{_ROWS} WHERE row_id > ? ORDER BY row_id", (after,))
    return [_followed_up(rows, _read(row)) for row in found if _is_whole(row)]


def lost_end(rows: Session) -> int:
    """The row id of the newest record, 0 when there is none."""
    end: int = rows.run("SELECT coalesce(max(row_id), 0) FROM lost_transactions")[0][0]
    return end


_ROWS = "SELECT row_id, time, txid, height, block_hash, details, crc FROM lost_transactions"


def _read(row: Row) -> LostTransaction:
    row_id, time, txid, height, block_hash, details, _ = row
    r = Reader(details, "lost transaction")
    position = r.compact_size(_MOST)
    scripts = r.many(_MOST, lambda each: each.var_bytes(_MOST))
    inputs = r.many(_MOST, OutPoint.parse)
    received, sent = (int.from_bytes(r.take(_AMOUNT), "big") for _ in range(2))
    r.end()
    place = height, block_hash, position
    return LostTransaction(row_id, time, txid, *place, scripts, inputs, received, sent)


def _followed_up(rows: Session, told: LostTransaction) -> LostTransaction:
    return attrs.evolve(
        told,
        returned=wallet.transaction_height(rows, told.txid),
        conflict=rival(rows, told.txid, told.inputs),
    )


def rival(rows: Session, txid: bytes, inputs: Iterable[OutPoint]) -> bytes | None:
    """Another transaction than `txid` that spends one of `inputs`, found in a block or held by a verified lock."""
    for spent in inputs:
        for other in rows.run(_OTHERS, (spent.txid, spent.index, txid)):
            found: bytes = other[0]
            return found
    return None


_OTHERS = """SELECT spender FROM transaction_inputs WHERE txid = ?1 AND position = ?2 AND spender <> ?3
    UNION SELECT lock FROM instantlock_inputs WHERE txid = ?1 AND position = ?2 AND lock <> ?3 LIMIT 1"""


@attrs.frozen
class Unmined:
    """A transaction that was seen in no block: its txid in wire order, all that it spends, the scripts it concerns."""

    txid: bytes
    spends: frozenset[OutPoint]
    scripts: tuple[bytes, ...]


@attrs.frozen
class Fate:
    """What became of an `Unmined`.

    Args:
        height: of the block in which it is found, None when in none.
        conflict: another transaction that spends one of its inputs, found in a block or held by a verified InstantSend
            lock; None when none is known.
        watched: those of its scripts that are watched.
    """

    height: int | None
    conflict: bytes | None
    watched: frozenset[bytes]


def fate(rows: Session, unmined: Unmined) -> Fate:
    """What became of `unmined`, as far as is stored."""
    spent = sorted(unmined.spends, key=lambda point: (point.txid, point.index))
    return Fate(
        height=wallet.transaction_height(rows, unmined.txid),
        conflict=rival(rows, unmined.txid, spent),
        watched=frozenset(wallet.watched(rows, unmined.scripts)),
    )


def remove_watch(rows: Session, change: RemoveWatch) -> None:
    """Apply `RemoveWatch`, and forget the records that concern no script which is still watched."""
    key_chains.remove_watch(rows, change)
    _forget_unwatched(rows)


def remove_key_chains(rows: Session, change: RemoveKeyChains) -> None:
    """Apply `RemoveKeyChains`, likewise."""
    key_chains.remove_key_chains(rows, change)
    _forget_unwatched(rows)


def _forget_unwatched(rows: Session) -> None:
    stored = rows.run(_ROWS)
    gone = [(row[0],) for row in stored if not (_is_whole(row) and wallet.watched(rows, _read(row).scripts))]
    rows.many("DELETE FROM lost_transactions WHERE row_id = ?", gone)


def _is_whole(row: Row) -> bool:
    _, *values, crc = row
    return bool(checksum(*values) == crc)


def damages(rows: Session, height: int) -> Iterator[Damage]:
    """The table when records of it are damaged, named at `height`."""
    if _damaged(rows):
        yield Damage("lost transactions", "lost_transactions", height, height)


def _damaged(rows: Session) -> list[Row]:
    return [row[:1] for row in rows.run(_ROWS) if not _is_whole(row)]


def mend(rows: Session) -> None:
    """Drop damaged records: nobody can tell what they said."""
    rows.many("DELETE FROM lost_transactions WHERE row_id = ?", _damaged(rows))
