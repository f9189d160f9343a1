"""Goes through the locks that wait, and has each recorded, refused or left waiting.

ChainLocks come first, the highest before all, because it stands for those below it. A set of quorums that is missing is
wanted of the next walk: for ChainLocks only that of the highest, for InstantSend locks a few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.locks import ChainLock, InstantLock
from phasegate.engine.lock_checks import Covered, Examination, NotYet
from phasegate.engine.lock_queue import Entry
from phasegate.store import Change, RecordChainLock, RecordInstantLock, Store, StoreFailed

if TYPE_CHECKING:
    from phasegate.engine.work import Work

LOOK_EVERY, LOOK_SELDOM = 2.0, 60.0
"""Seconds after which the queue is gone through though nothing is known to have changed: at first, and at most."""
MOST_WANTED = 16
"""Quorum sets that may be wanted at a time on behalf of waiting locks."""

LONGEST_REST = 600.0
"""Seconds that nothing is judged at most after the disk has refused to take a verdict."""

OnVerified = Callable[[ChainLock | InstantLock], None]
Record = RecordChainLock | RecordInstantLock


async def judge_locks(work: Work, resting: Callable[[], bool], on_verified: OnVerified) -> None:
    """Judge until cancelled.

    Args:
        work: the workbench.
        resting: whether the client is paused: then nothing is judged.
        on_verified: called with each lock that has been recorded.
    """
    judge, locks, pause = LockJudge(work, on_verified), work.locks, LOOK_EVERY
    while True:
        changed = locks.changed
        if not resting():
            await judge.look()
        with trio.move_on_after(pause) as patience:
            await changed.wait()
        pause = min(LOOK_SELDOM, 2 * pause) if patience.cancelled_caught else LOOK_EVERY
        if patience.cancelled_caught:
            locks.queue.look_again()


class LockJudge:
    """Judges what waits in the queue of `work.locks`."""

    def __init__(self, work: Work, on_verified: OnVerified) -> None:
        self._work = work
        self._locks = work.locks
        self._on_verified = on_verified
        self._warned = False
        self._refusals = 0
        self._resting_until = float("-inf")

    async def look(self) -> None:
        """Judge what is due, and note the quorum sets that are wanted for what cannot be judged yet."""
        if trio.current_time() < self._resting_until:
            return
        whole, examination = self._locks.queue.all_due, Examination(self._work)
        wanted: dict[int, None] = {}
        with self._locks.look() as due:
            for entry in due:
                await trio.lowlevel.checkpoint()
                height = await self._judge(examination, entry)
                if height is not None and not (wanted and isinstance(entry.lock, ChainLock)):
                    wanted.setdefault(height)
            self._want([*([] if whole else self._locks.walks), *wanted])
        self._tell_of_loss()

    async def _judge(self, examination: Examination, entry: Entry) -> int | None:
        """Have one lock answered; the height whose quorum set is wanted for it, if it takes one that is not known."""
        answer = await self._answer(examination, entry)
        if isinstance(answer, NotYet):
            return answer.wanted
        if isinstance(answer, Covered):
            self._locks.queue.remove(entry)
            self._locks.tally.covered += 1
        elif answer is not None:
            await self._record(entry, answer)
        return None

    async def _answer(self, examination: Examination, entry: Entry) -> Record | Covered | NotYet | None:
        """What becomes of the lock; None when it was false."""
        try:
            return await examination.answer(entry)
        except PeerMisbehaved as fault:
            self._refuse(entry, fault)
            return None

    async def _record(self, entry: Entry, record: Record) -> None:
        """Record a verified lock, unless the chain has changed while it was judged."""
        recorded: list[Change] = []

        def fresh() -> list[Change]:
            recorded.extend([record] if _fits(self._work.store, record) else [])
            return recorded

        try:
            await self._work.writer.commit_fresh(fresh)
        except StoreFailed:  # the lock waits on, and is judged again, more and more rarely as long as the disk refuses
            self._refusals += 1
            self._resting_until = trio.current_time() + min(LONGEST_REST, 2.0**self._refusals)
            return
        self._refusals = 0
        if recorded:
            self._locks.queue.remove(entry)
            self._locks.recent.put(entry)
            self._locks.tally.chainlocks += isinstance(record, RecordChainLock)
            self._locks.tally.instantlocks += isinstance(record, RecordInstantLock)
            self._on_verified(entry.lock)

    def _refuse(self, entry: Entry, fault: PeerMisbehaved) -> None:
        """Ban whoever sent a false lock, unless it follows, or followed then, another chain with other quorums.

        Which chain a peer follows is not known before it has been asked; until then the lock waits.
        """
        work, peer = self._work, entry.peer
        there = [ready for ready in work.pool.ready if peer is not None and ready.address == peer.address]
        foreign = entry.outlived or peer in work.live.elsewhere
        if isinstance(entry.lock, InstantLock) and not foreign and not all(map(work.has_agreed, there)):
            return
        self._locks.queue.remove(entry)
        self._locks.tally.false += 1
        if peer is None:
            work.warn(fault.fault.code, f"a coinbase of the stored chain carries a false ChainLock: {fault.detail}")
        elif isinstance(entry.lock, InstantLock) and foreign:
            self._locks.queue.forget(entry.name)
        else:
            self._locks.queue.disown(peer.address)
            for guilty in {peer, *there}:
                work.pool.ban(guilty, fault)

    def _want(self, heights: list[int]) -> None:
        """Note the sets that are wanted now, and for which tips a walk was asked to bring them."""
        self._locks.walks = {height: self._locks.walks.get(height, b"") for height in heights[:MOST_WANTED]}
        self._work.live.wanted_sets.update(self._locks.walks)

    def _tell_of_loss(self) -> None:
        """Count what was lost, and say once that something was."""
        tally = self._locks.tally
        tally.missed, tally.let_go = self._locks.offers.missed, self._locks.queue.let_go
        if tally.let_go and not self._warned:
            self._warned = True
            text = "more locks wait to be verified than there is room for: the oldest are let go"
            self._work.warn("locks-let-go", text)


def _fits(store: Store, answer: RecordChainLock | RecordInstantLock) -> bool:
    """Whether what a lock was judged by is still stored."""
    if isinstance(answer, RecordChainLock):
        return answer.height <= store.marks.tip and store.hash_at(answer.height) == answer.block_hash
    return store.quorum(answer.quorum_type, answer.quorum_hash) is not None
