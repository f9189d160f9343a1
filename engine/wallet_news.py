"""What becomes of found transactions, told: found, taken away by a reorganisation, there again, or contradicted.

Everything is read from the store after it stands there. Only which lost transactions have not come back is remembered
beside it, so that each return is told once, in the run of the loss as in a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from phasegate.consensus.locks import InstantLock
from phasegate.engine.events import (
    Event,
    TransactionConflicted,
    TransactionReturned,
)
from phasegate.engine.following import found_now, lost_then
from phasegate.engine.unconfirmed import Unconfirmed
from phasegate.engine.work import Work
from phasegate.store import LostTransaction, StoredTransaction


class WalletNews:
    """Tells of the found transactions of one client.

    Args:
        work: the workbench.
        publish: hands an event to the subscribers.
        unconfirmed: what was seen in no block.
    """

    def __init__(self, work: Work, publish: Callable[[Event], None], unconfirmed: Unconfirmed) -> None:
        self._work = work
        self._publish = publish
        self._unconfirmed = unconfirmed
        self._announced = work.store.transactions_end()
        records = work.store.lost_transactions()
        self._lost = max([record.row_id for record in records], default=0)
        self._missing = {record.txid: record for record in records if record.returned is None}

    def announce(self, then: Callable[[StoredTransaction], None]) -> None:
        """Tell of what was found since, each before `then` is called with it."""
        news = sorted(self._work.store.transactions(after=self._announced), key=lambda found: found.row_id)
        if news:
            self._tell_lost()  # never after what was found again
        self._forget_unwatched([found.txid for found in news])
        for found in news:
            self._announced = found.row_id
            self._publish(found_now(found, self._now()))
            if (record := self._missing.pop(found.txid, None)) is not None:
                self._publish(TransactionReturned(self._now(), found.txid, found.height, record.height))
            then(found)
            if found.instantlock is False:
                self._contradicted(found.txid, self._work.store.locked_against(found.txid))
        self._unconfirmed.sweep({found.txid for found in news})

    def rewound(self) -> None:
        """Tell of what the reorganisation that was just stored has taken out of the chain."""
        self._tell_lost()
        self._unconfirmed.rewound()

    def _tell_lost(self) -> None:
        for record in self._work.store.lost_transactions(after=self._lost):
            self._lost = record.row_id
            self._missing[record.txid] = record
            self._publish(lost_then(record))

    def locked(self, lock: InstantLock) -> None:
        """A lock was verified and stored: tell of what it contradicts, and of what it holds that is in no block."""
        self._unconfirmed.locked(lock)
        hurt = self._work.store.contradicted(lock.txid) if self._announced else []
        missing = [txid for txid, record in self._missing.items() if txid != lock.txid and _spends(record, lock)]
        self._forget_unwatched(missing)
        for txid in [*hurt, *[txid for txid in missing if txid in self._missing]]:
            self._contradicted(txid, lock.txid)

    def _forget_unwatched(self, txids: Iterable[bytes]) -> None:
        """Forget lost transactions without a record, if any of `txids` is lost: their scripts were unwatched."""
        if not self._missing.keys().isdisjoint(txids):
            recorded = {record.row_id for record in self._work.store.lost_transactions()}
            self._missing = {txid: record for txid, record in self._missing.items() if record.row_id in recorded}

    def _contradicted(self, txid: bytes, rival: bytes | None) -> None:
        if rival is not None:
            self._publish(TransactionConflicted(self._now(), txid, rival))

    def _now(self) -> float:
        return self._work.seams.now()


def _spends(record: LostTransaction, lock: InstantLock) -> bool:
    return not set(record.inputs).isdisjoint(lock.inputs)
