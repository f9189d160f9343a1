"""Transactions in no block that concern the wallet, as peers show them while the client is synced.

What a peer announces is fetched once, looked at, and kept only if it pays to a watched script or spends a known coin.
Nothing of it is believed: a light client cannot check a signature against a coin that it does not have, so anybody can
make up a payment. That is why none of it is stored, none counts in a confirmed balance, and all of it has a bound. What
does prove something is a verified InstantSend lock, and that is told with it, whichever of the two came first.

A transaction leaves when a block has it, when another one holds what it spends (in a block, or by a verified lock),
when two weeks have passed, or when too many newer ones were seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import attrs
import trio

from phasegate.consensus.blocks import Coin
from phasegate.consensus.locks import InstantLock
from phasegate.consensus.primitives import OutPoint, Transaction
from phasegate.consensus.transactions import RefusedTransaction, relayable
from phasegate.engine.config import Config
from phasegate.engine.errands import TRANSACTIONS
from phasegate.engine.events import Event, InstantLocked, TransactionConflicted, TransactionDropped, TransactionSeen
from phasegate.engine.lock_fetch import fetch_announced
from phasegate.engine.lock_offers import Offers
from phasegate.engine.peers import Peer
from phasegate.engine.seams import Seams
from phasegate.engine.work import Work
from phasegate.p2p.messages import GetData, Inv, InvItem, InvType, TxMessage
from phasegate.store import Store, StoreFailed

LOOKED_AT = 1024
"""The newest items of one announcement that are looked at."""
KNOWN = 10_000
"""Txids that are remembered to have been looked at."""
MOST, MOST_BYTES = 1000, 4 << 20
"""Transactions that are kept at once, and their bytes."""
LOOK_EVERY = 60.0
"""Seconds between two looks at what is too old."""
KEPT = 14 * 86_400.0
"""Seconds for which one is kept [Core mempoolexpiry]; what is locked stays."""


@attrs.frozen
class UnconfirmedTransaction:
    """A transaction that was seen in no block.

    Args:
        txid: 32 bytes in wire order.
        time: when it was first seen, in seconds since 1970.
        raw: its whole serialisation.
        changes: what it adds to or takes from each watched script, in duffs, by script.
        received: duffs that it pays to watched scripts.
        sent: duffs of coins of watched scripts that it spends.
        instantlock: whether a verified InstantSend lock holds it.
    """

    txid: bytes
    time: float
    raw: bytes
    changes: tuple[tuple[bytes, int], ...]
    received: int
    sent: int
    instantlock: bool = False

    @property
    def scripts(self) -> tuple[bytes, ...]:
        """The watched scripts that it concerns, sorted."""
        return tuple([script for script, _ in self.changes])


@attrs.define
class _Held:
    told: UnconfirmedTransaction
    tx: Transaction
    since: float

    @property
    def spends(self) -> list[OutPoint]:
        return [txin.prevout for txin in self.tx.inputs]


class Unconfirmed:
    """What is seen of one client's wallet outside of blocks.

    Args:
        config: says whether anything is looked at, and how much is asked of one peer at once.
        store: for reading.
        seams: the clock.
        publish: hands an event to the subscribers.
        ours: whether a txid is that of a transaction that is being broadcast: no peer is asked for it.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        seams: Seams,
        publish: Callable[[Event], None],
        ours: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self._store = store
        self._seams = seams
        self._publish = publish
        self._ours = ours
        self._enabled = config.filters and config.unconfirmed
        self.per_peer = config.limits.in_flight["locks"]
        self.offers = Offers(self.per_peer)
        self._held: dict[bytes, _Held] = {}
        self._known: dict[bytes, None] = {}
        self._changed = trio.Event()

    @property
    def transactions(self) -> list[UnconfirmedTransaction]:
        """What is kept, the first seen first."""
        return [held.told for held in self._held.values()]

    # -- what peers say ------------------------------------------------------------------------------------------

    @property
    def changed(self) -> trio.Event:
        """Set when there is something new to fetch."""
        return self._changed

    def wake(self) -> None:
        """Have whoever fetches look again."""
        self._changed.set()
        self._changed = trio.Event()

    def announced(self, peer: Peer, message: Inv | GetData) -> None:
        """Note the transactions among what `peer` announces that were not looked at yet, if anything is watched."""
        wanted = self._enabled and self._store.marks.watch_items and isinstance(message, Inv)
        for item in message.items[-LOOKED_AT:] if wanted else ():
            if item.type == InvType.TX and item.hash not in self._known and not self._ours(item.hash):
                self.offers.add(peer, item)
                self.wake()

    def received(self, peer: Peer, message: TxMessage) -> None:
        """Look at a transaction that was asked for."""
        del peer  # nobody is blamed for what other clients may have let pass
        self.offers.got(InvItem(InvType.TX, message.tx.txid))
        with suppress(StoreFailed):  # a disk that refuses is told of by those who need it
            self.take(message.tx)

    def take(self, tx: Transaction) -> None:
        """Keep `tx` and tell of it, if it concerns the wallet, could be mined as far as one can see, and is news."""
        if not self._enabled or tx.txid in self._known:
            return
        self._remember(tx.txid)
        told = self._looked_at(tx)
        if told is None:
            return
        self._held[tx.txid] = _Held(told, tx, trio.current_time())
        amounts = told.received, told.sent
        self._publish(TransactionSeen(told.time, told.txid, told.scripts, *amounts, told.instantlock))
        self._make_room()

    def _remember(self, txid: bytes) -> None:
        self._known[txid] = None
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def _looked_at(self, tx: Transaction) -> UnconfirmedTransaction | None:
        """What `tx` is to the wallet; None if it is nothing, is mined, can never be, or breaks a rule."""
        raw, spends = tx.to_bytes(), [txin.prevout for txin in tx.inputs]
        try:
            relayable(raw)
        except RefusedTransaction:
            return None
        changes, received, sent = self._changes(tx, spends)
        settled = self._store.transaction_height(tx.txid) is not None
        if not changes or settled or self._store.rival(tx.txid, spends) is not None:
            return None
        locked = self._store.instantlock(tx.txid) is not None
        sorted_changes = tuple(sorted(changes.items()))
        return UnconfirmedTransaction(tx.txid, self._seams.now(), raw, sorted_changes, received, sent, locked)

    def _changes(self, tx: Transaction, spends: Iterable[OutPoint]) -> tuple[dict[bytes, int], int, int]:
        """What `tx` adds to each watched script, what it pays to them, and what it spends of theirs."""
        watched = self._store.watched({out.script for out in tx.outputs})
        paid = [(out.script, out.value) for out in tx.outputs if out.script in watched]
        spent = [(coin.script, coin.value) for coin in (*self._store.coins_at(spends), *self._unconfirmed_at(spends))]
        changes = dict[bytes, int]()
        for script, value in (*paid, *((script, -value) for script, value in spent)):
            changes[script] = changes.get(script, 0) + value
        return changes, sum(value for _, value in paid), sum(value for _, value in spent)

    def _unconfirmed_at(self, points: Iterable[OutPoint]) -> list[Coin]:
        """The coins of watched scripts at these places that transactions in no block make."""
        found = []
        for point in points:
            held = self._held.get(point.txid)
            if held is not None and point.index < len(held.tx.outputs):
                out = held.tx.outputs[point.index]
                found += [Coin(point, out.value, out.script, -1)] if out.script in held.told.scripts else []
        return found

    # -- what becomes of them ------------------------------------------------------------------------------------

    def locked(self, lock: InstantLock) -> None:
        """A lock was verified: it holds one of these, or stands against some."""
        held = self._held.get(lock.txid)
        if held is not None and not held.told.instantlock:
            held.told = attrs.evolve(held.told, instantlock=True)
            self._publish(InstantLocked(self._seams.now(), lock.txid))
        inputs = set(lock.inputs)
        for txid, other in list(self._held.items()):
            if txid != lock.txid and not inputs.isdisjoint(other.spends):
                self._conflicted(txid, lock.txid)

    def rewound(self) -> None:
        """Blocks left the chain: what was in them may be announced again."""
        self._known = dict.fromkeys(self._held)

    def sweep(self) -> None:
        """Let go of what is mined, defeated, too old, or concerns nothing that is watched any more."""
        now = trio.current_time()
        for txid, held in list(self._held.items()):
            if self._store.transaction_height(txid) is not None or not self._store.watched(held.told.scripts):
                del self._held[txid]
            elif (rival := self._store.rival(txid, held.spends)) is not None:
                self._conflicted(txid, rival)
            elif now - held.since > KEPT and not held.told.instantlock:
                self._drop(txid, "expired")

    def _conflicted(self, txid: bytes, rival: bytes) -> None:
        self._publish(TransactionConflicted(self._seams.now(), txid, rival))
        self._drop(txid, "conflicted")

    async def run(self, work: Work, resting: Callable[[], bool]) -> None:
        """Fetch and let go until cancelled; nothing is fetched while `resting` says so."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch_announced, work, self, TRANSACTIONS, resting)
            while True:
                await trio.sleep(LOOK_EVERY)
                with suppress(StoreFailed):
                    self.sweep()

    def _drop(self, txid: bytes, reason: str) -> None:
        del self._held[txid]
        self._publish(TransactionDropped(self._seams.now(), txid, reason))

    def _make_room(self) -> None:
        """Let the oldest go as long as there are too many, those that are locked last."""
        while len(self._held) > MOST or sum(len(held.told.raw) for held in self._held.values()) > MOST_BYTES:
            loose = (txid for txid, held in self._held.items() if not held.told.instantlock)
            self._drop(next(loose, next(iter(self._held))), "let-go")
