"""Transactions of our own: announced, served, confirmed by others, told again until they are mined.

Dash nodes say nothing about a transaction that they refuse. What can be known is this, each stage worth more than the
one before: a peer fetched what we announced; a peer that we had *not* told of it announces it to us, so at least two
nodes have it in their pools; its inputs are locked by InstantSend; a block has it. So it is never announced to all
peers at once (`engine/broadcast_relay.py`). A transaction may fail in one way that can be seen: another one that spends
the same coin is locked or mined.

Every transaction is kept in the store until its block is deep enough, so a restart goes on announcing it
(`engine/broadcast_keeping.py`). To see it in a block, what it pays and spends is matched with the filters beside the
watched scripts (`scripts`), and matching blocks are searched for it as they pass through the blocks phase (`found` and
`searched`); nothing of it enters the watched history. Blocks that were stored before it was given are searched once,
when the client is synced (`engine/broadcast_search.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import attrs
import trio

from phasegate.consensus.primitives import Transaction
from phasegate.consensus.raw_blocks import RawBlock
from phasegate.engine.broadcast_keeping import Keeping, stored_as
from phasegate.engine.broadcast_relay import Relay
from phasegate.engine.broadcast_stages import AT_ONCE, BroadcastStatus, OnItsWay, Stage
from phasegate.engine.errors import ClientEnded
from phasegate.engine.events import BroadcastMoved, Event
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.seams import Seams, Writer
from phasegate.p2p.messages import GetData, Inv, InvType
from phasegate.store import Change, StoreFailed

AT_REST = 60.0
"""Seconds between two looks while nothing is being broadcast."""
LOOK_EVERY = 1.0
"""Seconds between two looks at what is due."""
JUST_NOW = 10.0
"""Seconds for which a transaction that was announced is not announced again, whatever the user wishes."""
DEEP = 6
"""Blocks, its own included, after which a mined transaction is let go, or as soon as a ChainLock covers it."""
KEPT = 14 * 86_400.0
"""Seconds after which a transaction that is not mined is told no more [Core mempoolexpiry]."""
MOST = 1000
"""Transactions that are kept at once."""


class BroadcastLimit(ValueError):
    """Too many transactions are being broadcast at once."""


class Broadcasts:
    """All transactions that are being broadcast.

    Args:
        writer: of the store.
        seams: the clock and randomness.
        publish: hands an event to the subscribers.
        warn: called with a stable code and a line for the user.
    """

    def __init__(
        self, writer: Writer, seams: Seams, publish: Callable[[Event], None], warn: Callable[[str, str], None]
    ) -> None:
        self._writer = writer
        self._seams = seams
        self._publish = publish
        self._keeping = Keeping(writer, warn)
        self._outgoing = {entry.txid: entry for entry in self._keeping.load()}
        self._relay = Relay(self._outgoing, seams.random, self._tell)
        self._told: dict[bytes, BroadcastStatus] = {}
        self._adding = trio.Lock()
        self._changed = trio.Event()
        self._stirred = trio.Event()
        self._wanted = trio.Event()
        self._ended = False

    @property
    def scripts(self) -> tuple[bytes, ...]:
        """By which filters tell of blocks that may have one of these transactions, or a rival of one."""
        return tuple(dict.fromkeys([trace for entry in self._open for trace in entry.traces()]))

    @property
    def _open(self) -> list[OnItsWay]:
        return [entry for entry in self._outgoing.values() if entry.is_open]

    @property
    def under_way(self) -> tuple[OnItsWay, ...]:
        """Those that wait for their block, oldest first."""
        return tuple(self._open)

    @property
    def any_open(self) -> bool:
        """Whether blocks are to be searched for any."""
        return any(entry.is_open for entry in self._outgoing.values())

    @property
    def unsearched(self) -> tuple[OnItsWay, ...]:
        """Those for which the newest stored blocks have still to be searched."""
        return tuple(entry for entry in self._open if not entry.searched)

    def statuses(self) -> tuple[BroadcastStatus, ...]:
        """What is known of each, oldest first."""
        return tuple(entry.status for entry in self._outgoing.values())

    def status(self, txid: bytes) -> BroadcastStatus | None:
        """What is known of one, and was known last of one that was let go in this run; None of any other."""
        entry = self._outgoing.get(txid)
        return self._told.get(txid) if entry is None else entry.status

    def knows(self, txid: bytes) -> bool:
        """Whether this is one of ours."""
        return txid in self._outgoing

    # -- what the user wishes ------------------------------------------------------------------------------------

    async def add(self, tx: Transaction) -> bytes:
        """Begin to broadcast `tx`; its txid. One that is known already is told again at once, if it was not just now.

        Raises:
            BroadcastLimit: there are too many.
            StoreError: it could not be stored.
        """
        async with self._adding:
            known = self._outgoing.get(tx.txid)
            if known is not None and known.failed is None:
                if trio.current_time() >= known.last + JUST_NOW:
                    known.begin_again()
            elif known is None and len(self._outgoing) >= MOST:
                raise BroadcastLimit(f"{MOST} transactions are being broadcast already")
            else:
                entry = OnItsWay(tx, self._seams.now(), self._stored_block(tx.txid))
                await self._keeping.put(entry)
                self._outgoing[tx.txid] = entry
                self._tell(entry)
        self._stirred.set()
        self._wanted.set()
        return tx.txid

    async def wished(self) -> None:
        """Wait until there is something to search the stored blocks for."""
        while not self.unsearched:
            self._wanted = trio.Event()
            await self._wanted.wait()

    def _stored_block(self, txid: bytes) -> tuple[int, bytes] | None:
        """Where a transaction of watched scripts is known to be mined."""
        store = self._writer.store
        height = store.transaction_height(txid)
        return None if height is None else (height, store.hash_at(height))

    async def drop(self, txid: bytes) -> None:
        """Announce a transaction no more; one that is not being broadcast is no error."""
        if self._outgoing.pop(txid, None) is not None:
            self._told.pop(txid, None)
            self._keeping.forget(txid)
            self._wake()
            await self._keeping.save()

    async def outcome(self, txid: bytes, until: Stage, timeout: float) -> BroadcastStatus:
        """Wait until a transaction has come so far, failed or was dropped, or `timeout` is over.

        Raises:
            ClientEnded: the client has ended before.
        """
        status = BroadcastStatus(txid, Stage.WAITING, 0, 0, 0)
        with trio.move_on_after(timeout):
            while not (status.stage.has_reached(until) or status.stage.has_failed or self._ended):
                known = self.status(txid)
                if known is None:
                    break
                if known == status:
                    await self._changed.wait()
                status = known
        status = self.status(txid) or status
        if self._ended and not (status.stage.has_reached(until) or status.stage.has_failed):
            raise ClientEnded(f"the client has ended; the transaction is {status.stage.value}, and kept")
        return status

    def end(self) -> None:
        """The client has ended: nobody need wait any more."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # -- what peers say ------------------------------------------------------------------------------------------

    def take(self, peer: Peer, message: Inv | GetData) -> None:
        """A peer announces something, or asks us for something."""
        if isinstance(message, GetData):
            self._relay.serve(peer, message)
            return
        for item in message.items if self._outgoing else ():
            entry = self._outgoing.get(item.hash) if item.type == InvType.TX else None
            if entry is not None and peer.address not in entry.announced:
                entry.echoed.add(peer.address)
                self._tell(entry)

    # -- what the chain says -------------------------------------------------------------------------------------

    def found(self, block: RawBlock, height: int) -> list[Change]:
        """What is to be stored, together with the rest that a block of the stored chain tells, before `searched`."""
        return [stored_as(entry, (height, block.hash)) for entry, rival in self._concerned(block) if rival is None]

    def searched(self, block: RawBlock, height: int) -> None:
        """A block of the stored chain was read: note those of our transactions that are in it, or that it defeats."""
        for entry, rival in self._concerned(block):
            if rival is None:
                entry.mined = height, block.hash
                self._keeping.keep(entry)
                self._tell(entry)
            else:
                name = rival.txid[::-1].hex()
                self._fail(entry, Stage.CONFLICTED, f"block {height} has {name}, which spends the same coin")

    def _concerned(self, block: RawBlock) -> Iterator[tuple[OnItsWay, Transaction | None]]:
        """Our transactions that `block` has, and those that it defeats, each of these with its rival."""
        waiting = self._open
        coins = {point: entry for entry in waiting for point in entry.spends}
        for tx in block.transactions if waiting else ():
            rivals = {entry: tx for txin in tx.inputs if (entry := coins.get(txin.prevout)) is not None}
            mine = self._outgoing.get(tx.txid)
            if mine is not None and mine.is_open:
                rivals.pop(mine, None)
                yield mine, None
            yield from rivals.items()

    def rewound(self, fork: int) -> None:
        """Blocks above `fork` are no longer of the chain: what was in them is announced again."""
        for entry in self._outgoing.values():
            entry.locked = entry.locked and self._writer.store.instantlock(entry.txid) is not None
            self._tell(entry)
            if entry.mined is not None and entry.mined[0] > fork:
                entry.mined = None
                entry.begin_again()
                self._keeping.keep(entry)
                self._tell(entry)
        self._stirred.set()

    def search_again(self) -> None:
        """Blocks that were to be searched may have been forgotten: begin anew with the newest."""
        for entry in self._outgoing.values():
            entry.searched = False
        self._wanted.set()

    def _fail(self, entry: OnItsWay, stage: Stage, reason: str) -> None:
        entry.failed, entry.reason = stage, reason
        self._tell(entry)

    def _tell(self, entry: OnItsWay) -> None:
        """Say what has changed, once."""
        status = entry.status
        if self._told.get(status.txid) == status:
            return
        self._told[status.txid] = status
        while len(self._told) > 2 * MOST:
            del self._told[next(iter(self._told))]
        fields = {**attrs.asdict(status), "stage": status.stage.value}
        self._publish(BroadcastMoved(time=self._seams.now(), **fields))
        self._wake()

    # -- what is due ---------------------------------------------------------------------------------------------

    async def run(self, pool: Pool, resting: Callable[[], bool]) -> None:
        """Announce until cancelled, but not while `resting` says that the client is paused."""
        looked = AT_ONCE
        while True:
            self._stirred = trio.Event()
            if trio.current_time() >= looked + LOOK_EVERY:
                looked = trio.current_time()
                with suppress(StoreFailed):  # a disk that refuses is asked again
                    self._look_for_ends()
            if not resting():
                self._relay.announce(self._open, pool.connected)
            self._relay.go_on()
            await self._keeping.save()
            with trio.move_on_after(LOOK_EVERY if self._outgoing else AT_REST):
                await self._stirred.wait()

    def _look_for_ends(self) -> None:
        now, marks = self._seams.now(), self._writer.marks
        for entry in list(self._outgoing.values()):
            self._look_for_locks(entry)
            if entry.is_open and now - entry.added > KEPT:
                self._fail(entry, Stage.EXPIRED, f"not mined within {KEPT / 86_400:.0f} days")
            settled = max(marks.tip - DEEP + 1, marks.chainlock or 0)
            if entry.failed is not None or (entry.mined is not None and entry.mined[0] <= settled):
                self._let_go(entry)

    def _let_go(self, entry: OnItsWay) -> None:
        self._tell(entry)
        del self._outgoing[entry.txid]
        self._keeping.forget(entry.txid)

    def _look_for_locks(self, entry: OnItsWay) -> None:
        if entry.locked:
            return
        if self._writer.store.instantlock(entry.txid) is not None:
            entry.locked = True
            self._tell(entry)
        elif entry.is_open:
            rival = self._writer.store.locked_for(entry.spends)
            if rival is not None and rival != entry.txid:
                self._fail(entry, Stage.CONFLICTED, f"a coin it spends is locked for {rival[::-1].hex()}")
