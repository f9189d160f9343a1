"""The masternode states of the last few walks, newest first in use, older ones kept for a roll-back to land on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from phasegate.store.changes import SetMasternodes
from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import HASHES, read_joined

KEPT = 8
"""States that stay; more than any roll-back meets."""


def set_masternodes(rows: Session, chain: ChainMarks, change: SetMasternodes) -> None:
    """Apply `SetMasternodes`."""
    height = change.height
    if not chain.base <= height <= chain.tip:
        raise ValueError(f"no block {height} for a masternode list: headers {chain.base}..{chain.tip} are stored")
    if read_joined(rows, HASHES, height, 1) != change.block_hash:
        raise ValueError(f"the masternode list at {height} belongs to another block than the stored one")
    newest = rows.run("SELECT max(height) FROM masternodes")[0][0]
    if newest is not None and height < newest:
        raise ValueError(f"a masternode list at {height} does not follow the stored one at {newest}")
    crc = _crc(height, change.block_hash, change.state)
    rows.run("INSERT OR REPLACE INTO masternodes VALUES(?, ?, ?, ?)", (height, change.block_hash, crc, change.state))
    rows.run(_FORGET, (KEPT,))


_FORGET = "DELETE FROM masternodes WHERE height NOT IN (SELECT height FROM masternodes ORDER BY height DESC LIMIT ?)"


def _crc(height: int, block_hash: bytes, state: bytes) -> int:
    return zlib.crc32(state, zlib.crc32(block_hash, height))


def newest_state(rows: Session) -> tuple[int, bytes, bytes] | None:
    """The newest (height, block hash, state), None when there is none yet.

    Raises:
        StoreCorrupt: it is damaged.
    """
    for height, block_hash, crc, state in rows.run("SELECT * FROM masternodes ORDER BY height DESC LIMIT 1"):
        if _crc(height, block_hash, state) != crc:
            raise StoreCorrupt(f"the masternode list at {height} is damaged", "masternodes", height, height)
        return height, block_hash, state
    return None


def roll_back(rows: Session, to: int) -> None:
    """Drop the states above `to`."""
    rows.run("DELETE FROM masternodes WHERE height > ?", (to,))


def damaged_states(rows: Session) -> list[int]:
    """The heights of the states whose bytes are damaged."""
    found = rows.run("SELECT * FROM masternodes ORDER BY height")
    return [height for height, block_hash, crc, state in found if _crc(height, block_hash, state) != crc]


def drop(rows: Session, heights: Sequence[int]) -> None:
    """Drop the states at `heights`."""
    rows.many("DELETE FROM masternodes WHERE height = ?", ((height,) for height in heights))
