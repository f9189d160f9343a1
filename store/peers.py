"""The address book between runs: addresses, the secret key of its buckets, and the anchors to go back to first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from phasegate.store.damage import Damage
from phasegate.store.database import Row, Session
from phasegate.store.hints import fits_address, fits_word, is_finite, read_text
from phasegate.store.peer_changes import Address, ForgetPeers, PeerRow, PutPeers, SetAnchors, SetPeerKey

KEPT = 100_000
"""Addresses that stay, those seen last."""
ANCHORS = 8
KEY_SIZE = 32
_SERVICES = (1 << 64) - 1
_ATTEMPTS = (1 << 31) - 1


def put_peers(rows: Session, change: PutPeers) -> None:
    """Apply `PutPeers`."""
    for row in change.rows:
        if not _fits(row):
            raise ValueError(f"this is no peer to remember: {row}")
    rows.many("INSERT OR REPLACE INTO peers VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_written, change.rows))
    excess = rows.run("SELECT count(*) FROM peers")[0][0] - KEPT
    if excess > 0:
        rows.run(_FORGET_OLDEST, (excess,))


_FORGET_OLDEST = """DELETE FROM peers WHERE (host, port) IN
    (SELECT host, port FROM peers ORDER BY seen, host, port LIMIT ?)"""


def forget_peers(rows: Session, change: ForgetPeers) -> None:
    """Apply `ForgetPeers`."""
    rows.many("DELETE FROM peers WHERE host = ? AND port = ?", change.addresses)


def peers(rows: Session) -> list[PeerRow]:
    """The addresses, by host and port."""
    return [row for row in map(_read, rows.run(_PEERS)) if _fits(row)]


_PEERS = """SELECT CAST(host AS BLOB), port, CAST(source AS BLOB), services, seen, tried, succeeded, attempts, in_tried
    FROM peers ORDER BY host, port"""


def _fits(row: PeerRow) -> bool:
    counts = 0 <= row.services <= _SERVICES and 0 <= row.attempts <= _ATTEMPTS
    times = is_finite(row.seen, row.tried, row.succeeded)
    return fits_address(row.host, row.port) and fits_word(row.source) and counts and times


def _written(row: PeerRow) -> Row:
    """As columns; SQLite has no unsigned integers, so the highest service bit is the sign."""
    services = row.services - (row.services >> 63 << 64)
    times = row.seen, row.tried, row.succeeded
    return row.host, row.port, row.source, services, *times, row.attempts, int(row.in_tried)


def _read(row: Row) -> PeerRow:
    host, port, source, services, seen, tried, succeeded, attempts, in_tried = row
    name, told_by, bits = read_text(host), read_text(source), services & _SERVICES
    return PeerRow(name, port, told_by, bits, seen, tried, succeeded, attempts, bool(in_tried))


def set_peer_key(rows: Session, change: SetPeerKey) -> None:
    """Apply `SetPeerKey`."""
    if len(change.key) != KEY_SIZE:
        raise ValueError(f"a peer key has {KEY_SIZE} bytes, not {len(change.key)}")
    if peer_key(rows) not in (None, change.key):
        raise ValueError("there is another peer key already")
    rows.run("INSERT OR REPLACE INTO peer_key VALUES(1, ?)", (change.key,))


def peer_key(rows: Session) -> bytes | None:
    """The key, None when there is none."""
    found = rows.run("SELECT key FROM peer_key WHERE length(key) = ?", (KEY_SIZE,))
    return bytes(found[0][0]) if found else None


def set_anchors(rows: Session, change: SetAnchors) -> None:
    """Apply `SetAnchors`."""
    addresses = change.addresses
    if len(addresses) > ANCHORS or not all(fits_address(*address) for address in addresses):
        raise ValueError(f"these are no anchors, of which there are at most {ANCHORS}: {addresses}")
    rows.run("DELETE FROM peer_anchors")
    rows.many("INSERT INTO peer_anchors VALUES(?, ?, ?)", ((at, *address) for at, address in enumerate(addresses)))


def anchors(rows: Session) -> list[Address]:
    """The anchors, in their order."""
    found = [(read_text(host), port) for _, host, port in rows.run(_ANCHORS)]
    return [address for address in found if fits_address(*address)]


_ANCHORS = "SELECT position, CAST(host AS BLOB), port FROM peer_anchors ORDER BY position"


def damages(rows: Session, height: int) -> Iterator[Damage]:
    """The tables with rows that do not fit, named at `height`, as they have none."""
    for table, what, unfit in _unfit(rows):
        if unfit:
            yield Damage(what, table, height, height)


def mend(rows: Session) -> None:
    """Drop the rows that do not fit: others are known, or will be."""
    for table, _, unfit in _unfit(rows):
        rows.many(_DROP[table], unfit)


_DROP = {
    "peers": "DELETE FROM peers WHERE host = CAST(? AS TEXT) AND port = ?",
    "peer_anchors": "DELETE FROM peer_anchors WHERE position = ?",
    "peer_key": "DELETE FROM peer_key WHERE id = ?",
}


def _unfit(rows: Session) -> Iterator[tuple[str, str, list[tuple[Any, ...]]]]:
    """Each table, its name for the user, and the keys of its rows that do not fit."""
    yield "peers", "remembered peers", [row[:2] for row in rows.run(_PEERS) if not _fits(_read(row))]
    unfit = [(at,) for at, host, port in rows.run(_ANCHORS) if not fits_address(read_text(host), port)]
    yield "peer_anchors", "anchors", unfit
    yield "peer_key", "peer key", rows.run("SELECT id FROM peer_key WHERE length(key) <> ?", (KEY_SIZE,))
