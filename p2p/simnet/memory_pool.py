"""Transactions that are not in a block yet, as the nodes of one network share them [Core txmempool, net_processing].

A pool of its own makes a node an island. Given to several nodes, one pool stands for a network that relays at once:
what one node accepts, each tells its own peers. Nothing is checked but that no input is spent twice: no signature, no
value, no coin. As with Core, a transaction is given to those who ask only when somebody has been told of it, or when it
has been here for two minutes; who broadcasts one cannot ask for it and call that an echo.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import attrs
import trio

from phasegate.consensus.primitives import Block, OutPoint, Transaction
from phasegate.p2p.simnet.chain import SimulatedChain

UNCONDITIONAL_RELAY_DELAY = 120.0


class Listener(Protocol):
    """Whoever is told of accepted transactions."""

    def tell(self, txid: bytes) -> None:
        """A transaction (txid in wire order) is in the pool now."""


@attrs.define
class _Waiting:
    """A transaction in the pool, since Trio's time `since`; `told` when an inv of it has been sent."""

    tx: Transaction
    since: float
    told: bool = False


@attrs.define(eq=False)
class MemoryPool:
    """A memory pool.

    Attributes:
        listeners: are told of each transaction that comes in, except by the one who brought it.
    """

    listeners: list[Listener] = attrs.field(factory=list, init=False)
    _waiting: dict[bytes, _Waiting] = attrs.field(factory=dict, init=False)
    _spent: dict[OutPoint, bytes] = attrs.field(factory=dict, init=False)
    _mined: dict[bytes, tuple[int, Transaction]] = attrs.field(factory=dict, init=False)

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """What waits to be mined, the oldest first."""
        return tuple([waiting.tx for waiting in self._waiting.values()])

    def knows(self, txid: bytes) -> bool:
        """Whether it waits here or was mined from here."""
        return txid in self._waiting or txid in self._mined

    def add(self, tx: Transaction, sender: Listener | None = None) -> bool:
        """Accept `tx` and tell everybody but its `sender`; False for one that is known, conflicting or a coinbase."""
        if not self._accept(tx):
            return False
        for listener in [listener for listener in self.listeners if listener is not sender]:
            listener.tell(tx.txid)
        return True

    def told(self, txid: bytes) -> None:
        """An inv of this transaction is out: from now on it is given to who asks."""
        if waiting := self._waiting.get(txid):
            waiting.told = True

    def served(self, txid: bytes) -> Transaction | None:
        """What is given to a peer that asks for `txid`."""
        waiting = self._waiting.get(txid)
        if waiting is None:
            return None
        old = trio.current_time() - waiting.since >= UNCONDITIONAL_RELAY_DELAY
        return waiting.tx if waiting.told or old else None

    def settle(self, chain: SimulatedChain, heights: Iterable[int]) -> None:
        """Take out what the blocks at `heights` hold, and what conflicts with it."""
        for height in heights:
            raw = chain.block(height) if self._waiting else None
            for tx in Block.from_bytes(raw).transactions if raw else ():
                self._settle_one(height, tx)

    def reorganised(self, fork: int) -> None:
        """What was mined above the height `fork` waits again; nobody is told."""
        for txid, (height, tx) in list(self._mined.items()):
            if height > fork:
                del self._mined[txid]
                self._accept(tx)

    def _accept(self, tx: Transaction) -> bool:
        spent = [tx_in.prevout for tx_in in tx.inputs]
        if self.knows(tx.txid) or not spent or tx.is_coinbase or any(point in self._spent for point in spent):
            return False
        self._waiting[tx.txid] = _Waiting(tx, trio.current_time())
        self._spent |= dict.fromkeys(spent, tx.txid)
        return True

    def _settle_one(self, height: int, tx: Transaction) -> None:
        if tx.txid in self._waiting:
            self._mined[tx.txid] = height, tx
        for point in [tx_in.prevout for tx_in in tx.inputs]:
            if loser := self._spent.get(point):
                self._drop(loser)

    def _drop(self, txid: bytes) -> None:
        for tx_in in self._waiting.pop(txid).tx.inputs:
            del self._spent[tx_in.prevout]
