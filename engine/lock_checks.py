"""What becomes of one lock: the changes that record it, a fault of whoever sent it, or `NotYet`.

The third answer is as good as the others. A lock is judged by the very quorum that had to sign it, on the stored chain:
a ChainLock by the one chosen from those active exactly eight blocks below it, an InstantSend lock by the one of its
index in the cycle that it names. While the block, the set of quorums or the verdict on the quorum is missing, nothing
is known about the signature, and nobody is blamed for it.

Signers older than protocol 70237 named the cycle of their tip, in which no quorum of that index may have been made. So
before an InstantSend lock is called false, the quorum of its index that was active at the end of the cycle before must
not have signed it either. [DIP8, DIP10, DIP22; Core instantsend/instantsend.cpp]
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.locks import (
    SIGN_OFFSET,
    ChainLock,
    chainlock_quorum,
    instantlock_candidates,
    instantlock_index,
    instantlock_request_id,
    verify_chainlock,
    verify_instantlock,
)
from phasegate.engine.lock_queue import Entry
from phasegate.engine.quorums import active_at
from phasegate.store import RecordChainLock, RecordInstantLock
from phasegate.store.quorums import KEPT as QUORUMS_KEPT

if TYPE_CHECKING:
    from phasegate.consensus.locks import InstantLock
    from phasegate.engine.work import Work
    from phasegate.store import StoredQuorum


@attrs.frozen
class NotYet:
    """A lock cannot be judged yet.

    Args:
        why: in a few words.
        wanted: the height whose quorum set would decide it; None when that would not help.
    """

    why: str
    wanted: int | None = None


@attrs.frozen
class Covered:
    """A ChainLock of a stored block below a better one that is verified: it would tell nothing new."""


Answer = RecordChainLock | RecordInstantLock | Covered | NotYet


class Examination:
    """One look at many locks; what keeps one from being judged is found out once for all that wait for the same."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._chainlocks = work.network.quorum_types[work.network.roles["chainlock"]]
        self._instantlocks = work.network.quorum_types[work.network.roles["instantsend"]]
        self._waiting: dict[tuple[bytes, int, frozenset[bytes]], NotYet] = {}

    async def answer(self, entry: Entry) -> Answer:
        """What becomes of the lock of `entry`.

        Raises:
            PeerMisbehaved: BAD_CHAINLOCK, BAD_INSTANTLOCK; nobody honest can have sent it.
        """
        if isinstance(entry.lock, ChainLock):
            return await self._chainlock(entry.lock)
        index = instantlock_index(self._work.network, instantlock_request_id(entry.lock.inputs))
        known = self._waiting.get((entry.lock.cycle_hash, index, frozenset(entry.refuted)))
        answer = known or await self._instantlock(entry, entry.lock, index)
        if isinstance(answer, NotYet):  # so does every lock of that quorum that the same quorums did not sign
            self._waiting[entry.lock.cycle_hash, index, frozenset(entry.refuted)] = answer
        return answer

    async def _chainlock(self, lock: ChainLock) -> Answer:
        work, signed_at = self._work, lock.height - SIGN_OFFSET
        marks = work.writer.marks
        if self._hash_at(lock.height) != lock.block_hash:
            return NotYet("its block is not on the stored chain")
        active = await active_at(work, None, self._chainlocks, signed_at)
        quorum = chainlock_quorum(work.network, active or (), lock.height)
        stored = None if quorum is None else work.store.quorum(*quorum.key)
        if stored is None or not _is_proven(stored) or active is None:
            if marks.chainlock is not None and lock.height <= marks.chainlock:
                return Covered()
            unknown = active is None and signed_at > marks.base
            return NotYet("its quorum is not proven yet", signed_at if unknown else None)
        signer = await work.seams.compute(verify_chainlock, work.network, lock, active)
        mined_by = min(stored.mined_by, signed_at)
        return RecordChainLock(lock.height, lock.block_hash, lock.signature, *signer.key, mined_by)

    async def _instantlock(self, entry: Entry, lock: InstantLock, index: int) -> Answer:
        store, kind, tip = self._work.store, self._instantlocks, self._work.writer.marks.tip
        cycle = store.height_of(lock.cycle_hash)
        quorum_hash = None if cycle is None else self._hash_at(cycle + index)
        if cycle is None or quorum_hash is None:
            return NotYet("its cycle is not on the stored chain")
        if cycle % kind.interval or not lock.inputs or len(set(lock.inputs)) != len(lock.inputs):
            raise _bad(lock, "it names no cycle, or no or the same inputs")
        named = store.quorum(kind.number, quorum_hash)
        if named is not None and (signed := await self._signed_by(entry, lock, [named])) is not None:
            return signed
        candidates, missing = await self._others(lock, cycle)
        if (signed := await self._signed_by(entry, lock, candidates)) is not None:
            return signed
        if missing is not None:
            return missing
        if named is None and cycle + kind.interval > tip:
            return NotYet("its cycle is not over")
        if not all(_is_proven(quorum) for quorum in (named, *candidates) if quorum is not None):
            return NotYet("its quorum is not proven yet")
        raise _bad(lock, "no quorum of its index signed it")

    async def _signed_by(
        self, entry: Entry, lock: InstantLock, quorums: list[StoredQuorum]
    ) -> RecordInstantLock | None:
        """The record of `lock` if one of the proven `quorums` signed it; who did not is not asked again."""
        for quorum in quorums:
            commitment = quorum.commitment
            if not _is_proven(quorum) or commitment.quorum_hash in entry.refuted:
                continue
            try:
                await self._work.seams.compute(verify_instantlock, self._work.network, lock, commitment)
            except PeerMisbehaved:
                entry.refuted.add(commitment.quorum_hash)
                continue
            return RecordInstantLock(lock.txid, lock.inputs, entry.payload, *commitment.key)
        return None

    async def _others(self, lock: InstantLock, cycle: int) -> tuple[list[StoredQuorum], NotYet | None]:
        """The quorums of the lock's index at the end of its cycle and of the one before; what is missing to tell."""
        work, kind = self._work, self._instantlocks
        found: list[StoredQuorum] = []
        missing: NotYet | None = None
        for end in (min(cycle + kind.interval - 1, work.writer.marks.tip), cycle - 1):
            active = await active_at(work, None, kind, end) if end > work.writer.marks.base else ()
            if active is None:
                missing = missing or self._missing(end)
            for commitment in instantlock_candidates(work.network, lock, active or ()):
                stored = work.store.quorum(*commitment.key)
                found += [stored] if stored is not None else []
        return found, missing

    def _hash_at(self, height: int) -> bytes | None:
        """Of the stored block at `height`, None where there is none; a roll-back may be going on at this moment."""
        with suppress(LookupError):
            return self._work.store.hash_at(height)
        return None

    def _missing(self, height: int) -> NotYet:
        """What to say while the set at `height` is not known; sets of quorums too old to be kept are not asked for."""
        tip, kind = self._work.writer.marks.tip, self._instantlocks
        kept = tip - QUORUMS_KEPT // kind.active * kind.interval < height < tip
        return NotYet("its quorum is not known", height if kept else None)


def _is_proven(quorum: StoredQuorum) -> bool:
    """Whether a signature by this quorum says anything: it has its verdict, and one of before V19 proves nothing."""
    return quorum.verified is not None and not quorum.commitment.is_legacy


def _bad(lock: InstantLock, detail: str) -> PeerMisbehaved:
    return PeerMisbehaved(Fault.BAD_INSTANTLOCK, f"lock of {lock.txid[::-1].hex()}: {detail}")
