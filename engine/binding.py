"""Whether a ChainLock decides between two branches: only if the quorum that signed it is common to both.

Who feeds us a fork feeds its masternode lists, its quorums and valid ChainLocks of these quorums too. So a lock binds
only if its quorum was mined at or below the fork; every other lock is worth no more than its branch and goes with it,
and most work decides. When the quorum was mined is known exactly or not at all:

- a stored set of active quorums at or below the fork holds it: it was mined by then;
- a commitment is mined within a window of blocks after its quorum began [DKG, Core llmq/params.h]: a window that ends
  at or below the fork says yes, one that begins above it says no;
- a quorum does not come back once it has left. So one that was active above the fork, and was not at the fork, was
  mined above it. What was active at the fork is told by the stored sets, or by a peer, whose list is proven by the
  header at the fork, which both branches have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.locks import SIGN_OFFSET, ChainLock, NoQuorum, verify_chainlock
from phasegate.engine.errors import Failure, FailureKind
from phasegate.engine.quorums import active_at

if TYPE_CHECKING:
    from phasegate.consensus.params import QuorumType
    from phasegate.consensus.quorums import QuorumCommitment
    from phasegate.engine.requests import Desk
    from phasegate.engine.work import Work
    from phasegate.store import StoredChainLock

MOST_TRIED = 8
"""Waiting ChainLocks of one branch and one source that are tried, the highest first."""


@attrs.frozen
class Binding:
    """Finds the ChainLocks that bind, on the stored chain and on a branch that competes with it."""

    _work: Work

    async def binding_lock(self, desk: Desk, fork: int) -> StoredChainLock | None:
        """A verified ChainLock of the stored chain above `fork` that binds; None when there is none.

        Args:
            desk: the right to ask peers, which is made use of only if the store cannot tell.
            fork: the height of the last block that two branches share.

        Raises:
            Failure: it is not known whether a lock binds, and no peer shows the quorums at the fork.
        """
        unsure = []
        for lock in self._work.store.chainlocks(fork):
            told = self._was_mined_by(lock, fork)
            if told:
                return lock
            unsure += [lock] if told is None else []
        if not unsure:
            return None
        common = {quorum.quorum_hash for quorum in await self._active_at(desk, fork)}
        return next((lock for lock in unsure if lock.quorum_hash in common), None)

    async def locked_branch(
        self, desk: Desk, fork: int, hash_at: Callable[[int], bytes | None], top: int
    ) -> ChainLock | None:
        """A waiting ChainLock of a block on a branch that a quorum common to both branches has signed.

        Args:
            desk: the right to ask peers, which is made use of only if the store cannot tell.
            fork: the height of the last block that the branch shares with the stored chain.
            hash_at: the hash of the branch's block at a height above the fork, None if it is not held.
            top: the height at which the branch ends.

        Raises:
            Failure: as `binding_lock`.
        """

        def of_branch(lock: ChainLock) -> bool:
            return fork < lock.height <= top and hash_at(lock.height) == lock.block_hash

        for lock in self._work.locks.to_try(of_branch, MOST_TRIED):
            if await self._is_signed(lock, await self._active_at(desk, min(fork, lock.height - SIGN_OFFSET)), fork):
                return lock
        return None

    async def _is_signed(self, lock: ChainLock, active: tuple[QuorumCommitment, ...], fork: int) -> bool:
        """Whether the quorum that had to sign is among `active` and did.

        Eight blocks above the fork and higher the branch may have other quorums besides, so there any of these will do.
        """
        exact = lock.height - SIGN_OFFSET <= fork
        for signers in [active] if exact else [(quorum,) for quorum in active]:
            with suppress(PeerMisbehaved, NoQuorum):
                await self._work.seams.compute(verify_chainlock, self._work.network, lock, signers)
                return True
        return False

    def _was_mined_by(self, lock: StoredChainLock, fork: int) -> bool | None:
        """Whether the quorum of `lock` was mined at or below `fork`, as far as the store can tell."""
        store, kind = self._work.store, self._work.network.quorum_types[lock.quorum_type]
        quorum, begun = store.quorum(lock.quorum_type, lock.quorum_hash), store.height_of(lock.quorum_hash)
        if lock.mined_by <= fork or (quorum is not None and quorum.mined_by <= fork):
            return True
        if begun is None:
            return False
        first, last = kind.dkg_mining
        return True if begun + last <= fork else False if begun + first > fork else None

    async def _active_at(self, desk: Desk, height: int) -> tuple[QuorumCommitment, ...]:
        active = await active_at(self._work, desk, self._kind, height)
        if active is None:
            raise Failure(FailureKind.NO_CAPABLE_PEER, f"no peer shows the quorums at {height}, where branches part")
        return active

    @property
    def _kind(self) -> QuorumType:
        return self._work.network.quorum_types[self._work.network.roles["chainlock"]]
