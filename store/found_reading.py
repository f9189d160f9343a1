"""What was found, and what reorganisations took away again: the part of a store that is read by row ids.

These ids only grow, so that who has seen one can ask for what came after it, a page at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from phasegate.store import history, lost, wallet
from phasegate.store.database import Database, Session
from phasegate.store.history import WalletTransaction
from phasegate.store.marks import ChainMarks


class FoundReading:
    """The transactions of a store; see `Reading`."""

    _database: Database

    @contextmanager
    def _now(self) -> Iterator[tuple[Session, ChainMarks]]:
        with self._database.snapshot() as rows:
            yield rows, ChainMarks.read(rows)

    def transactions(self, after: int = 0, limit: int | None = None) -> list[wallet.StoredTransaction]:
        """The found transactions above row id `after`, in the chain's order; at most `limit`, those with the lowest."""
        with self._database.snapshot() as rows:
            return wallet.transactions(rows, after, limit)

    def transactions_end(self) -> int:
        """The row id of the transaction that was stored last, 0 when there is none; without reading the others."""
        with self._database.snapshot() as rows:
            return wallet.transactions_end(rows)

    def history(self, after: int = 0, script: bytes | None = None, limit: int | None = None) -> list[WalletTransaction]:
        """The found transactions above row id `after` with all that is known of them; see `store/history.py`."""
        with self._now() as (rows, chain):
            return history.history(rows, chain, after, script, limit)

    def lost_transactions(self, after: int = 0) -> list[lost.LostTransaction]:
        """What reorganisations took out of the chain, above row id `after`, oldest first."""
        with self._database.snapshot() as rows:
            return lost.lost(rows, after)

    def lost_end(self) -> int:
        """The row id of the newest of these records, 0 when there is none."""
        with self._database.snapshot() as rows:
            return lost.lost_end(rows)
