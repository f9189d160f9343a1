"""The InstantSend locks of a generated chain: of most payments that concern watched scripts [DIP22].

A lock is signed before the payment is mined, by the quorum that its inputs choose, of the newest cycle in which that
quorum was made as seen 8 blocks below the tip of then. Locks are signed when they are asked for.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import attrs

from phasegate.consensus.locks import SIGN_OFFSET, InstantLock, instantlock_index, instantlock_request_id, sign_hash
from phasegate.consensus.primitives import Transaction
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.p2p.simnet.bls_keys import sign
from phasegate.p2p.simnet.dkg import Quorums
from phasegate.p2p.simnet.work_blocks import Past

_LOCKED = 0.85


@attrs.frozen
class _Promise:
    """A lock that will be signed: of this transaction, by this quorum of the cycle that begins at this block."""

    tx: Transaction
    quorum: QuorumCommitment
    cycle_hash: bytes


@attrs.define(eq=False, repr=False)
class InstantLocks:
    """Which transactions are locked.

    Attributes:
        until: quorums sign nothing that is mined above this height; None for no such height.
        since: the height that a private fork began at: quorums mined at or below it sign nothing above it.
    """

    past: Past
    quorums: Quorums
    rng: random.Random
    until: int | None = None
    since: int = 0
    _promised: dict[bytes, _Promise] = attrs.field(factory=dict)
    _by_height: dict[int, list[bytes]] = attrs.field(factory=dict)
    _signed: dict[bytes, InstantLock] = attrs.field(factory=dict)

    @property
    def txids(self) -> tuple[bytes, ...]:
        """The locked transactions, in chain order."""
        return tuple(self._promised)

    def book(self, height: int, transactions: Iterable[Transaction]) -> None:
        """Decide which of the `transactions` mined at `height` were locked before; some had a lock granted."""
        for tx in transactions:
            lucky = self.rng.random() < _LOCKED
            if tx.txid in self._promised:
                self._by_height.setdefault(height, []).append(tx.txid)
            elif lucky and tx.inputs and not tx.is_coinbase and (promise := self._promise(height, tx)):
                self._promised[tx.txid] = promise
                self._by_height.setdefault(height, []).append(tx.txid)

    def grant(self, height: int, tx: Transaction) -> InstantLock | None:
        """Lock a transaction that could be mined at `height`; None when no quorum can."""
        if tx.txid not in self._promised and (promise := self._promise(height, tx)):
            self._promised[tx.txid] = promise
        return self.lock(tx.txid)

    def lock(self, txid: bytes) -> InstantLock | None:
        """The lock of a transaction, None when it has none."""
        if txid not in self._signed and (promise := self._promised.get(txid)):
            self._signed[txid] = _signed(promise, self.quorums.made[promise.quorum.key].secret)
        return self._signed.get(txid)

    def at(self, height: int) -> list[InstantLock]:
        """The locks of the transactions mined at `height`."""
        return [lock for txid in self._by_height.get(height, ()) if (lock := self.lock(txid))]

    def newest(self, count: int) -> list[InstantLock]:
        """The locks of the newest `count` locked transactions, in chain order."""
        return [lock for txid in self.txids[-count:] if (lock := self.lock(txid))]

    def _promise(self, height: int, tx: Transaction) -> _Promise | None:
        if self.until is not None and height > self.until:
            return None
        network = self.past.network
        place = network.roles["instantsend"], instantlock_index(network, _request_id(tx))
        active = self.quorums.active_at(max(0, height - 1 - SIGN_OFFSET))
        quorum = next((q for q in active if (q.type, q.index) == place), None)
        if quorum is None or (height > self.since and self.quorums.made[quorum.key].mined <= self.since):
            return None
        return _Promise(tx, quorum, self.past.hash_at(self.quorums.made[quorum.key].start))


def _request_id(tx: Transaction) -> bytes:
    return instantlock_request_id([tx_in.prevout for tx_in in tx.inputs])


def _signed(promise: _Promise, secret: int) -> InstantLock:
    tx, key = promise.tx, promise.quorum.key
    (signature,) = sign(sign_hash(*key, _request_id(tx), tx.txid), secret)
    return InstantLock(tuple([tx_in.prevout for tx_in in tx.inputs]), tx.txid, promise.cycle_hash, signature)
