"""Binds the locks to their client: what makes them look again, and what their answers are told as.

A ChainLock is told when it is the best one so far, an InstantSend lock when it is of a found transaction, whichever of
the two came first.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from phasegate.consensus.locks import ChainLock, InstantLock
from phasegate.engine.events import ChainLocked, Event, InstantLocked
from phasegate.engine.lock_fetch import fetch_locks
from phasegate.engine.lock_judge import judge_locks
from phasegate.engine.work import Work
from phasegate.store import StoredTransaction, Watermarks


class LockNews:
    """Runs the locks of a client and tells what they come to.

    Args:
        work: the workbench.
        publish: hands an event to the subscribers.
        verified: told of every InstantSend lock that was verified, whoever's it is.
    """

    def __init__(
        self, work: Work, publish: Callable[[Event], None], verified: Callable[[InstantLock], None] = lambda _: None
    ) -> None:
        self._work = work
        self._publish = publish
        self._told = verified
        self._found = {found.txid for found in work.store.transactions()}

    async def run(self, resting: Callable[[], bool]) -> None:
        """Fetch and judge until cancelled, but not while `resting` says that the client is paused."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch_locks, self._work, resting)
            nursery.start_soon(judge_locks, self._work, resting, self._verified)

    def moved(self, before: Watermarks, after: Watermarks) -> None:
        """The store's marks have moved."""
        if after.chainlock is not None and after.chainlock > (before.chainlock or 0):
            self._publish(ChainLocked(self._work.seams.now(), after.chainlock, after.chainlock_hash))
        if any(getattr(before, name) != getattr(after, name) for name in _AWAITED):
            self._work.locks.look_again()

    def found(self, transaction: StoredTransaction) -> None:
        """A transaction of a watched script was stored."""
        self._found.add(transaction.txid)
        if transaction.instantlock:
            self._publish(InstantLocked(self._work.seams.now(), transaction.txid))

    def _verified(self, lock: ChainLock | InstantLock) -> None:
        if not isinstance(lock, InstantLock):
            return
        if lock.txid in self._found and self._work.store.transaction_height(lock.txid) is not None:
            self._publish(InstantLocked(self._work.seams.now(), lock.txid))
        self._told(lock)


_AWAITED = ("tip_hash", "masternodes_hash", "quorums_unjudged")
"""The marks that move when what a lock waits for may have come; where quorum sets alone come, time makes it look."""
