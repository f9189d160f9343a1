"""Transactions in no block that concern the wallet, as peers show them while the client is synced.

What a peer announces is fetched once, looked at, and kept only if it pays to a watched script, spends a known coin or
mentions something watched in its payload.
Nothing of it is believed: a light client cannot check a signature against a coin that it does not have, so anybody can
make up a payment. That is why none of it is stored, none counts in a confirmed balance, and all of it has a bound. What
does prove something is a verified InstantSend lock, and that is told with it, whichever of the two came first.

A transaction leaves when a block has it, when another one holds what it spends (in a block, or by a verified lock),
when two weeks have passed, or when too many newer ones were seen; and with it, unless a block has it, all that spend of
it. What it comes to for the wallet may be known only when those are seen that it spends of: then it is told again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

import attrs
import trio

from phasegate.consensus.locks import InstantLock
from phasegate.consensus.primitives import OutPoint, Transaction
from phasegate.consensus.special_txs import mentioned
from phasegate.consensus.transactions import RefusedTransaction, relayable
from phasegate.engine.config import Config
from phasegate.engine.errands import TRANSACTIONS
from phasegate.engine.events import Event, InstantLocked, TransactionConflicted, TransactionDropped, TransactionSeen
from phasegate.engine.lock_fetch import fetch_announced
from phasegate.engine.lock_offers import Offers
from phasegate.engine.mempool import Effect, Held, Mempool, UnconfirmedTransaction
from phasegate.engine.peers import Peer
from phasegate.engine.seams import Seams
from phasegate.engine.work import Work
from phasegate.p2p.messages import GetData, Inv, InvItem, InvType, TxMessage
from phasegate.store import Fate, Store, StoreFailed, Unmined

LOOKED_AT = 1024
"""The newest items of one announcement that are looked at."""
KNOWN = 10_000
"""Txids that are remembered to have been looked at."""
LOOK_EVERY = 60.0
"""Seconds between two looks at what is too old."""
KEPT = 14 * 86_400.0
"""Seconds for which one is kept [Core mempoolexpiry]; what is locked stays, and what it spends of."""


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
        self._mempool = Mempool()
        self._known: dict[bytes, None] = {}
        self._stale = set[bytes]()
        self._changed = trio.Event()

    @property
    def transactions(self) -> list[UnconfirmedTransaction]:
        """What is kept, the first seen first."""
        return [held.told for held in self._mempool]

    @property
    def unmined(self) -> list[Unmined]:
        """The same, for the store to tell what became of them."""
        return [held.unmined for held in self._mempool]

    def pending(self, fates: Mapping[bytes, Fate]) -> Counter[bytes]:
        """What they add to or take from each script, in duffs; of those that spend the same coin only one counts.

        Args:
            fates: what became of `unmined`: neither what is mined counts, nor what can never be.
        """
        mined = {txid for txid, fate in fates.items() if fate.height is not None}
        defeated = {txid for txid, fate in fates.items() if fate.conflict is not None} - mined
        pending = Counter[bytes]()
        for held in self._mempool.counted(mined, defeated):
            pending.update(dict(held.told.changes))
        return pending

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
            if item.type == InvType.TX and not self._is_known(item.hash) and not self._ours(item.hash):
                self.offers.add(peer, item)
                self.wake()

    def _is_known(self, txid: bytes) -> bool:
        return txid in self._known or txid in self._mempool

    def received(self, peer: Peer, message: TxMessage) -> None:
        """Look at a transaction that was asked for."""
        del peer  # nobody is blamed for what other clients may have let pass
        self.offers.got(InvItem(InvType.TX, message.tx.txid))
        self.take(message.tx)

    def take(self, tx: Transaction, seen: float | None = None) -> None:
        """Keep `tx` and tell of it, if it concerns the wallet, could be mined as far as one can see, and is news.

        A disk that refuses is told of by those who need it; what could not be looked at is no less news afterwards.

        Args:
            tx: the transaction.
            seen: when it was first seen, in seconds since 1970; None: now.
        """
        if not self._enabled or self._is_known(tx.txid):
            return
        with suppress(StoreFailed):
            held = self._looked_at(tx, self._seams.now() if seen is None else seen)
            self._remember(tx.txid)
            if held is not None:
                self._keep(held)

    def _keep(self, held: Held) -> None:
        self._mempool.put(held)
        self._tell(held)
        self._stale.update([child.txid for child in self._mempool.spending_of({held.txid})])
        while (oldest := self._mempool.surplus()) is not None:
            self._drop(oldest, "let-go")
        self._value_again()

    def _tell(self, held: Held) -> None:
        told = held.told
        amounts = told.received, told.sent
        self._publish(TransactionSeen(self._seams.now(), told.txid, told.scripts, *amounts, told.instantlock))

    def _remember(self, txid: bytes) -> None:
        self._known[txid] = None
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def _looked_at(self, tx: Transaction, seen: float) -> Held | None:
        """What `tx` is to the wallet; None if it is nothing, is mined, can never be, or breaks a rule."""
        raw, spends = tx.to_bytes(), [txin.prevout for txin in tx.inputs]
        try:
            relayable(raw)
        except RefusedTransaction:
            return None
        effect, settled = self._effect(tx, spends), self._store.transaction_height(tx.txid) is not None
        if not effect.changes or settled or self._store.rival(tx.txid, spends) is not None:
            return None
        locked, age = self._store.instantlock(tx.txid) is not None, max(0.0, self._seams.now() - seen)
        told = UnconfirmedTransaction(tx.txid, seen, raw, effect.changes, *effect.amounts, locked)
        return Held(told, frozenset(spends), effect.pays, trio.current_time() - age)

    def _effect(self, tx: Transaction, spends: Iterable[OutPoint]) -> Effect:
        """What `tx` does to the wallet, as far as the coins that it spends are known."""
        watched = self._store.watched({out.script for out in tx.outputs})
        paid = {place: out for place, out in enumerate(tx.outputs) if out.script in watched}
        known = (*self._mempool.coins_at(spends), *self._store.coins_at(spends))
        mentions = self._store.watched(mentioned(tx))
        return Effect(paid, tuple({coin.outpoint: coin for coin in known}.values()), mentions)

    def _value_again(self) -> None:
        """Look once more at those of which what they spend is known only now, or no longer watched."""
        while self._stale:
            held = self._mempool.get(txid := next(iter(self._stale)))
            if held is not None:
                self._take_anew(held, self._effect(Transaction.from_bytes(held.told.raw), held.spends))
            self._stale.discard(txid)

    def _take_anew(self, held: Held, effect: Effect) -> None:
        received, sent = effect.amounts
        told = attrs.evolve(held.told, changes=effect.changes, received=received, sent=sent)
        if not told.changes:
            self._mempool.remove(held.txid)
        elif told != held.told:
            held.told, held.pays = told, effect.pays
            self._tell(held)

    # -- what becomes of them ------------------------------------------------------------------------------------

    def locked(self, lock: InstantLock) -> None:
        """A lock was verified: it holds one of these, or stands against some."""
        held = self._mempool.get(lock.txid)
        if held is not None and not held.told.instantlock:
            held.told = attrs.evolve(held.told, instantlock=True)
            self._publish(InstantLocked(self._seams.now(), lock.txid))
        for rival in self._mempool.rivals(lock.txid, lock.inputs):
            self._conflicted(rival.txid, lock.txid)

    def rewound(self) -> None:
        """Blocks left the chain: what was in them may be announced again."""
        self._known.clear()

    def sweep(self, found: Collection[bytes] = ()) -> None:
        """Let go of what is mined, defeated, too old, or concerns nothing that is watched any more.

        Args:
            found: txids of transactions that were just found in blocks, whose coins some of these may spend.
        """
        self._stale.update([child.txid for child in self._mempool.spending_of(found)])
        for txid, fate in (self._store.fates(self.unmined) if self._mempool else {}).items():
            held = self._mempool.get(txid)
            if held is not None:  # it has not gone with another
                self._settle(held, fate)
        self._value_again()

    def _settle(self, held: Held, fate: Fate) -> None:
        if fate.height is not None or not fate.watched:
            self._mempool.remove(held.txid)
        elif fate.conflict is not None:
            self._conflicted(held.txid, fate.conflict)
        elif trio.current_time() - held.since > KEPT and self._mempool.is_loose(held.txid):
            self._drop(held.txid, "expired")
        elif len(fate.watched) < len(held.told.changes):
            self._stale.add(held.txid)

    def _conflicted(self, txid: bytes, rival: bytes) -> None:
        if txid in self._mempool:
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
        for held in self._mempool.give_up(txid):
            self._publish(TransactionDropped(self._seams.now(), held.txid, reason))
