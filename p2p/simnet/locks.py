"""The ChainLocks of a generated chain, and what its miners know of them [DIP8, DIP29].

Most blocks are locked by the quorum that has to, a few miss their lock, and now and then no quorum signs for a while.
A miner learns of locks late and not every time, so that a coinbase names a lock of some blocks before, often the one
that the coinbase before it named. Which blocks are locked is decided as they are mined; they are signed when asked for.
"""

from __future__ import annotations

import random

import attrs

from phasegate.consensus.locks import SIGN_OFFSET, ChainLock, chainlock_quorum, chainlock_request_id, sign_hash
from phasegate.p2p.simnet.bls_keys import sign
from phasegate.p2p.simnet.dkg import QuorumKey, Quorums
from phasegate.p2p.simnet.work_blocks import Past

NULL_SIGNATURE = bytes(96)
_LOCKED, _LEARNED, _OUTAGES = 0.9, 0.3, 1 / 120
_OUTAGE = range(6, 40)
_DELAYS = (0, 0, 0, 1, 3)


class Unlockable(LookupError):
    """No quorum that may sign for this block was active when it was mined."""


@attrs.define(eq=False, repr=False)
class ChainLocks:
    """Which blocks are locked.

    Attributes:
        until: quorums sign nothing of blocks above this height; None for no such height.
        since: the height that a private fork began at: quorums mined at or below it sign nothing above it.
    """

    past: Past
    quorums: Quorums
    rng: random.Random
    until: int | None = None
    since: int = 0
    _signers: list[QuorumKey | None] = attrs.field(factory=lambda: [None])
    _named: list[int] = attrs.field(factory=lambda: [0, 0])
    _signed: dict[int, ChainLock] = attrs.field(factory=dict)
    _outage: int = 0

    def learn(self, height: int) -> tuple[int, bytes]:
        """What the coinbase of the next block, at `height`, carries: the height difference and the signature."""
        named = self._named[-1]
        if self.rng.random() < _LEARNED:
            newest = height - 1 - self.rng.choice(_DELAYS)
            named = next((h for h in range(newest, named, -1) if self._signers[h] is not None), named)
        self._named.append(named)
        return (height - named - 1 if named else 0), self.embedded_signature(height)

    def settle(self, height: int) -> None:
        """Decide whether the newest block, at `height`, is locked."""
        chance = self.rng.random()
        if chance < _OUTAGES:
            self._outage = self.rng.choice(_OUTAGE)
        self._outage = max(0, self._outage - 1)
        lockable = not self._outage and chance < _LOCKED
        self._signers.append(self._signer(height) if lockable else None)

    def embedded_signature(self, height: int) -> bytes:
        """What the coinbase at `height` carries: 96 bytes, zeros for no lock."""
        named = self._named[height]
        return self.sign(named).signature if named else NULL_SIGNATURE

    def lock(self, height: int) -> ChainLock | None:
        """The lock of the block at `height`, None when it has none."""
        return None if self._signers[height] is None else self.sign(height)

    def newest(self, height: int) -> ChainLock | None:
        """The newest lock at or below `height`."""
        locked = next((h for h in range(height, 0, -1) if self._signers[h] is not None), None)
        return None if locked is None else self.sign(locked)

    def sign(self, height: int) -> ChainLock:
        """The lock of the block at `height`, had it or not.

        Raises:
            Unlockable: nobody can sign it.
        """
        if height not in self._signed:
            self._signed[height] = self._sign(height)
        return self._signed[height]

    def _sign(self, height: int) -> ChainLock:
        key = self._signers[height] or self._signer(height)
        if key is None:
            raise Unlockable(f"no quorum can lock the block at height {height}")
        block_hash = self.past.hash_at(height)
        message = sign_hash(*key, chainlock_request_id(height), block_hash)
        return ChainLock(height, block_hash, *sign(message, self.quorums.made[key].secret))

    def _signer(self, height: int) -> QuorumKey | None:
        """The quorum that has to lock the block at `height`, if there is one and it does."""
        if self.until is not None and height > self.until:
            return None
        active = self.quorums.active_at(max(0, height - SIGN_OFFSET))
        quorum = chainlock_quorum(self.past.network, active, height)
        if quorum is None or (height > self.since and self.quorums.made[quorum.key].mined <= self.since):
            return None
        return quorum.key
