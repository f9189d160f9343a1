"""The masternode states of the last few walks, newest first in use, older ones kept for a roll-back to land on.

Beside them stand anchors: states of other heights, on which quorums of the past are computed. They are kept and let go
on their own account, so that neither kind displaces the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from zlib_ng.zlib_ng import crc32

from phasegate.store.changes import KeepAnchors, SetMasternodes
from phasegate.store.damage import Damage
from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks

KEPT = 8
"""States of walks that stay; more than any roll-back meets."""
KEPT_ANCHORS = 32
"""Anchors that stay, unless they are let go before."""


def set_masternodes(rows: Session, chain: ChainMarks, change: SetMasternodes) -> None:
    """Apply `SetMasternodes`."""
    chain.refuse_unstored(rows, change.height, change.block_hash, "masternode list")
    crc = _crc(change.height, change.block_hash, change.state)
    values = (int(change.anchor), change.height, change.block_hash, crc, change.state)
    rows.run("INSERT OR REPLACE INTO masternodes VALUES(?, ?, ?, ?, ?)", values)
    rows.run(_FORGET, (int(change.anchor), KEPT_ANCHORS if change.anchor else KEPT))


def keep_anchors(rows: Session, change: KeepAnchors) -> None:
    """Apply `KeepAnchors`."""
    stored = {height for (height,) in rows.run("SELECT height FROM masternodes WHERE anchor = 1")}
    gone = sorted(stored.difference(change.heights))
    rows.many("DELETE FROM masternodes WHERE anchor = 1 AND height = ?", ((height,) for height in gone))


_FORGET = """DELETE FROM masternodes WHERE anchor = ?1 AND height NOT IN
    (SELECT height FROM masternodes WHERE anchor = ?1 ORDER BY height DESC LIMIT ?2)"""


def _crc(height: int, block_hash: bytes, state: bytes) -> int:
    return crc32(state, crc32(block_hash, height))


def newest_height(rows: Session) -> tuple[int, bytes] | None:
    """Height and block hash of the newest state that is no anchor, None when there is none yet."""
    found = rows.run("SELECT height, block_hash FROM masternodes WHERE anchor = 0 ORDER BY height DESC LIMIT 1")
    return (found[0][0], found[0][1]) if found else None


def heights(rows: Session) -> list[int]:
    """The heights with a state of either kind, ascending."""
    return [height for (height,) in rows.run("SELECT DISTINCT height FROM masternodes ORDER BY height")]


def newest_state(rows: Session) -> tuple[int, bytes, bytes] | None:
    """The newest (height, block hash, state) that is no anchor, None when there is none yet.

    Raises:
        StoreCorrupt: it is damaged.
    """
    newest = newest_height(rows)
    state = newest and state_at(rows, newest[0])
    return (*newest, state) if newest and state is not None else None


def state_at(rows: Session, height: int) -> bytes | None:
    """The state at `height`, of either kind; None when there is none.

    Raises:
        StoreCorrupt: it is damaged.
    """
    sql = "SELECT block_hash, crc, state FROM masternodes WHERE height = ? ORDER BY anchor LIMIT 1"
    for block_hash, crc, state in rows.run(sql, (height,)):
        if _crc(height, block_hash, state) != crc:
            raise StoreCorrupt(f"the masternode list at {height} is damaged", "masternodes", height, height)
        return bytes(state)
    return None


def roll_back(rows: Session, to: int) -> None:
    """Drop the states above `to`."""
    rows.run("DELETE FROM masternodes WHERE height > ?", (to,))


def damages(rows: Session) -> Iterator[Damage]:
    """The states whose bytes are damaged."""
    for _, height in _damaged(rows):
        yield Damage("masternode list", "masternodes", height, height)


def _damaged(rows: Session) -> list[tuple[int, int]]:
    found = rows.run("SELECT anchor, height, block_hash, crc, state FROM masternodes ORDER BY height, anchor")
    return [(anchor, height) for anchor, height, block, crc, state in found if _crc(height, block, state) != crc]


def mend(rows: Session) -> None:
    """Drop the damaged states: an older one is used, or the next walk brings a new one."""
    rows.many("DELETE FROM masternodes WHERE anchor = ? AND height = ?", _damaged(rows))
