"""What is known of one output: a coin of a watched script, and what became of it."""

from __future__ import annotations

import attrs

from phasegate.consensus.primitives import OutPoint
from phasegate.store.database import Session


@attrs.frozen
class StoredCoin:
    """An output to a watched script.

    Args:
        outpoint: where it is.
        value: in duffs.
        script: its scriptPubKey.
        height: of the block that made it.
        spent_by: the transaction that spends it, 32 bytes in wire order; None while none is known.
        spent_height: of the block of that.
    """

    outpoint: OutPoint
    value: int
    script: bytes
    height: int
    spent_by: bytes | None
    spent_height: int | None


def coin_at(rows: Session, outpoint: OutPoint) -> StoredCoin | None:
    """The coin at `outpoint`, spent or not; None if it is no coin of a watched script, as far as was found."""
    found = rows.run(_COIN, (outpoint.txid, outpoint.index))
    return StoredCoin(outpoint, *found[0]) if found else None


_COIN = "SELECT value, script, height, spent_by, spent_height FROM coins WHERE txid = ? AND position = ?"
