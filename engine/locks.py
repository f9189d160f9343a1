"""ChainLocks and InstantSend locks: from what a peer announces to what the store records.

Three things go on beside the phases, for as long as the client runs. What peers announce is noted, within bounds, and
fetched on errands. What has come is queued. And the queue is gone through whenever what a lock waits for may have come:
when the tip moved, when quorums or verdicts were stored, and at intervals besides, so that no missed signal can leave
a lock waiting for the next block. Each lock has one of three answers: verified, and it is recorded; false, and its
sender is banned; not yet to be judged, and it stays in the queue, neither believed nor forgotten. When the queue has no
more room its oldest are let go, which is counted and said.

What is missing is asked for, not waited for: a ChainLock of an unknown block is a hint at a better tip, and a missing
quorum set is noted for the next walk and makes a synced client walk. Locks that were verified lately are judged again
after a roll-back, if it took their record away. Without masternode lists no lock could ever be judged, so then none is
fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.consensus.faults import Malformed
from phasegate.consensus.locks import ChainLock, InstantLock, embedded_chainlock
from phasegate.consensus.primitives import COINBASE, CoinbasePayload
from phasegate.engine.lock_offers import Offers
from phasegate.engine.lock_queue import Entry, LockQueue
from phasegate.engine.requests import ANNOUNCED
from phasegate.p2p.messages import ClSig, InvItem, IsdLock

if TYPE_CHECKING:
    from phasegate.consensus.primitives import Transaction
    from phasegate.engine.config import Address
    from phasegate.engine.peers import Peer
    from phasegate.store import Store

LOOKED_AT = 1024
"""The newest items of one announcement that are looked at."""
PATIENCE = 1.0
"""Seconds that a walk waits at most for the locks to be looked at."""
RECENT, RECENT_BYTES = 2048, 1 << 20
"""Verified locks of one source that are kept to be judged again after a roll-back."""


@attrs.define
class LockTally:
    """What became of locks in one client's run.

    Args:
        chainlocks: verified ones.
        instantlocks: verified ones.
        covered: ChainLocks that tell nothing new, because a higher one is verified.
        false: of either kind; their senders are banned.
        missed: announced, and nobody sent them.
        let_go: waited for their answer and had to make room for others.
    """

    chainlocks: int = 0
    instantlocks: int = 0
    covered: int = 0
    false: int = 0
    missed: int = 0
    let_go: int = 0


class Locks:
    """All locks that are on their way: `offers` that can be fetched, a `queue` of what waits for its answer.

    Args:
        enabled: whether masternode lists are downloaded; without them no lock is fetched.
        per_peer: errands that may be under way to one peer.
    """

    def __init__(self, *, enabled: bool = True, per_peer: int = 4) -> None:
        self.tally = LockTally()
        self.per_peer = per_peer
        self.offers = Offers(per_peer)
        self.queue = LockQueue()
        self.recent = LockQueue(RECENT, RECENT_BYTES)
        self.walks: dict[int, bytes] = {}
        """The quorum sets that are wanted of the next walk, each with the tip for which one was asked to bring it."""
        self._enabled = enabled
        self._embedded: Entry | None = None
        self._changed = trio.Event()
        self._looked = trio.Event()
        self._looking = False

    @property
    def pending(self) -> int:
        """Locks that are announced and not here yet, or here and not answered yet."""
        return len(self.offers) + len(self.queue)

    @property
    def changed(self) -> trio.Event:
        """Set when there is something new to fetch or to judge."""
        return self._changed

    def waiting_chainlocks(self) -> list[ChainLock]:
        """The ChainLocks that wait, the highest first."""
        found = [entry.lock for entry in self.queue if isinstance(entry.lock, ChainLock)]
        return sorted(found, key=lambda lock: -lock.height)

    def to_try(self, wanted: Callable[[ChainLock], bool], most: int) -> list[ChainLock]:
        """Of the waiting ChainLocks that are `wanted` the highest `most` of each source, the highest first.

        So who brings many false ones cannot keep that of another from being tried.
        """
        found: list[ChainLock] = []
        tried: Counter[Address | None] = Counter()
        for entry in sorted(self.queue, key=lambda entry: -entry.height):
            if isinstance(entry.lock, ChainLock) and wanted(entry.lock):
                sources: list[Address | None] = [*entry.sources] or [None]
                found += [entry.lock] if any(tried[source] < most for source in sources) else []
                tried.update(sources)
        return found

    # -- what comes in -------------------------------------------------------------------------------------------

    def announced(self, peer: Peer, items: Sequence[InvItem]) -> None:
        """Note the locks among the newest announced `items`; those that are known are not fetched again."""
        if not self._enabled:
            return
        for item in items[-LOOKED_AT:]:
            if item.type not in ANNOUNCED:
                continue
            if self.queue.knows(item.hash):
                self.queue.credit(item.hash, peer.address)
            else:
                self.offers.add(peer, item)
        self.wake()

    def pushed(self, peer: Peer, message: ClSig | IsdLock) -> None:
        """Take a lock that was sent without having been asked for."""
        if self._enabled:
            self.received(peer, message)

    @property
    def enabled(self) -> bool:
        """Whether locks are wanted at all."""
        return self._enabled

    def offer_coinbase(self, coinbase: Transaction, store: Store) -> None:
        """Take the ChainLock that the coinbase of a stored block carries, if it carries one that is news.

        Of these only the highest waits: it stands for all below it.
        """
        lock = _embedded(coinbase, store) if self._enabled else None
        if lock is None:
            return
        waiting = self._embedded
        if waiting is not None and waiting in self.queue:
            if lock.height <= waiting.height:
                return
            self.queue.remove(waiting)
        message = ClSig(lock.height, lock.block_hash, lock.signature)
        if not self.queue.knows(message.inventory_hash):
            self._embedded = Entry(message.inventory_hash, lock, message.to_bytes())
            self._put(self._embedded)

    def look_again(self) -> None:
        """What locks wait for may have come: the tip moved, or quorums or verdicts were stored."""
        self.queue.look_again()
        self.wake()

    def rewound(self, store: Store) -> None:
        """Judge again, on the chain as it is now, what was verified lately and lost its record by a roll-back."""
        locked = {lock.height: lock.block_hash for lock in store.chainlocks(-1)}
        for entry in self.recent:
            lock = entry.lock
            if isinstance(lock, ChainLock):
                kept = locked.get(lock.height) == lock.block_hash
            else:
                kept = store.instantlock(lock.txid) is not None
            if not kept:
                self.recent.remove(entry)
                self.queue.put(entry)
        for entry in self.queue:
            entry.refuted.clear()
            entry.outlived = True
        self.look_again()

    @contextmanager
    def look(self) -> Iterator[list[Entry]]:
        """What is due, to be judged now."""
        self._looking = True
        try:
            yield self.queue.take_due()
        finally:
            self._looking = False
            self._looked.set()
            self._looked = trio.Event()

    async def noted(self) -> None:
        """Wait a moment until what is announced by now is looked at, so that a walk knows what sets are wanted."""
        announced = self.offers.items
        with trio.move_on_after(PATIENCE):
            while announced & self.offers.items or self.queue.due or self._looking:
                await self._looked.wait()

    def take_walk(self, tip_hash: bytes) -> bool:
        """Whether a lock waits for a quorum set that only another walk can bring; said once for each set and tip."""
        due = any(asked != tip_hash for asked in self.walks.values())
        self.walks = dict.fromkeys(self.walks, tip_hash)
        return due

    def received(self, peer: Peer, message: ClSig | IsdLock) -> None:
        """Take a lock that was asked for."""
        self._take(peer, message, self.offers.got(_item(message)))

    def _take(self, peer: Peer, message: ClSig | IsdLock, owners: Iterable[Peer]) -> None:
        name, addresses = message.inventory_hash, dict.fromkeys([peer.address, *(owner.address for owner in owners)])
        if not self.queue.knows(name):
            self._put(Entry(name, _lock(message), message.to_bytes(), peer, list(addresses)))
        for address in addresses:
            self.queue.credit(name, address)

    def _put(self, entry: Entry) -> None:
        self.queue.put(entry)
        self.wake()

    def wake(self) -> None:
        """Have whoever fetches and judges look again."""
        self._changed.set()
        self._changed = trio.Event()


def _item(message: ClSig | IsdLock) -> InvItem:
    kind = next(number for number, known in ANNOUNCED.items() if isinstance(message, known))
    return InvItem(kind, message.inventory_hash)


def _lock(message: ClSig | IsdLock) -> ChainLock | InstantLock:
    if isinstance(message, ClSig):
        return ChainLock(message.height, message.block_hash, message.signature)
    return InstantLock(message.inputs, message.txid, message.cycle_hash, message.signature)


def _embedded(coinbase: Transaction, store: Store) -> ChainLock | None:
    """The ChainLock in a coinbase of the stored chain; None where there is none, or none above the newest stored one.

    Where its block is not stored there is none either.
    """
    newest = store.marks.chainlock or 0

    def hash_of_news(height: int) -> bytes:
        if height <= newest:
            raise LookupError(height)
        return store.hash_at(height)

    if coinbase.type == COINBASE:
        with suppress(Malformed, LookupError):
            return embedded_chainlock(CoinbasePayload.from_bytes(coinbase.payload), hash_of_news)
    return None
