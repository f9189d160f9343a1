"""The found transactions as a wallet shows them: how deep, when, under which labels, and how safe from another branch.

Nothing of this is stored. It follows from the chain, the locks and the labels as they are now, so one reading takes all
of them from one committed state: no confirmation is counted from a tip that the lock beside it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import attrs

from phasegate.store import chainlocks, wallet
from phasegate.store.chosen import BETWEEN, OF_SCRIPT
from phasegate.store.database import Session
from phasegate.store.instantlocks import locked_against
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import HASHES, HEADERS, SPAN, read_joined
from phasegate.store.wallet import StoredTransaction

COINBASE_MATURITY = 100
"""Confirmations from which the next block may spend what a coinbase pays [Core COINBASE_MATURITY]."""


@attrs.frozen(kw_only=True)
class WalletTransaction(StoredTransaction):
    """A found transaction, and what the chain and the locks say of it now.

    Args:
        confirmations: blocks from its own up to the tip; at least 1.
        block_hash: of its block, 32 bytes in wire order.
        time: that the header of its block states, in seconds since 1970.
        chainlock: whether its block is at or below the best verified ChainLock.
        labels: of the scripts that it concerns, distinct, in the order of the scripts; empty ones left out.
        conflict: the transaction for which a verified InstantSend lock holds an input of this one, if `instantlock` is
            False; 32 bytes in wire order.
    """

    confirmations: int
    block_hash: bytes
    time: int
    chainlock: bool
    labels: tuple[str, ...] = ()
    conflict: bytes | None = None

    @property
    def amount(self) -> int:
        """What it adds to the balance of all watched scripts, in duffs."""
        return self.received - self.sent

    @property
    def coinbase(self) -> bool:
        """Whether it is the coinbase of its block."""
        return self.position == 0

    @property
    def locked(self) -> bool:
        """Whether a verified lock of either kind holds it."""
        return self.chainlock or bool(self.instantlock)


def history(
    rows: Session, chain: ChainMarks, after: int = 0, script: bytes | None = None, limit: int | None = None
) -> list[WalletTransaction]:
    """The found transactions with a row id above `after`, in the chain's order.

    Args:
        rows: the database.
        chain: its marks.
        after: the row id below which all is known already.
        script: only those that concern this script.
        limit: only so many, those with the lowest row ids.
    """
    chosen, more = (BETWEEN, ()) if script is None else (OF_SCRIPT, (script,))
    last = wallet.last_of(rows, chosen, (after, wallet.HIGHEST_ID, *more), limit)
    found = wallet.chosen_transactions(rows, chosen, (after, last, *more))
    return list(_shown(rows, chain, found))


def _shown(rows: Session, chain: ChainMarks, found: list[StoredTransaction]) -> Iterator[WalletTransaction]:
    locked, labels = locked_to(rows), labels_of(rows, {script for tx in found for script in tx.scripts})
    blocks = _blocks(rows, {tx.height for tx in found})
    for tx in found:
        named = [labels.get(script, "") for script in tx.scripts]
        time, block_hash = blocks[tx.height]
        yield WalletTransaction(
            **attrs.asdict(tx, recurse=False),
            confirmations=chain.tip - tx.height + 1,
            block_hash=block_hash,
            time=time,
            chainlock=tx.height <= locked,
            labels=tuple(dict.fromkeys([label for label in named if label])),
            conflict=locked_against(rows, tx.txid) if tx.instantlock is False else None,
        )


def locked_to(rows: Session) -> int:
    """The height of the best verified ChainLock, -1 when there is none."""
    best = chainlocks.best(rows)
    return -1 if best is None else best[0]


def labels_of(rows: Session, scripts: Iterable[bytes]) -> dict[bytes, str]:
    """The label of each of `scripts` that is watched, "" for one without."""
    sql = "SELECT script, label FROM watch WHERE script = ?"
    return dict([row for script in scripts for row in rows.run(sql, (script,))])


def _blocks(rows: Session, heights: Iterable[int]) -> dict[int, tuple[int, bytes]]:
    """Time and hash of the blocks at `heights`; those that may stand in one segment are read together."""
    told = dict[int, tuple[int, bytes]]()
    for _, together in groupby(sorted(heights), key=lambda height: height // SPAN):
        wanted = list(together)
        start, count = wanted[0], wanted[-1] + 1 - wanted[0]
        headers, hashes = (read_joined(rows, series, start, count) for series in (HEADERS, HASHES))
        for at in [height - start for height in wanted]:
            time = int.from_bytes(headers[80 * at + 68 : 80 * at + 72], "little")
            told[start + at] = time, hashes[32 * at : 32 * at + 32]
    return told
