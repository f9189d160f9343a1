"""Events from a known row on: what was missed is read from the database, then it goes on live.

Transitions, found and lost transactions stand in the database before they are told, each kind under row ids that only
grow. So a consumer that remembers the ids that it has seen last (`Seen`) can be given the rest, after a restart of its
own or of the whole program, without a gap and without seeing anything twice:

1. The live events are subscribed to first; from then on nothing can be missed, only told twice.
2. The rows above those seen are read, page by page, until there are none.
3. The buffered live events follow. One whose row was read already is skipped, for its id is not above the last one.

Whoever takes found and lost transactions in the order in which they are told holds in the end what the store holds. So
a loss is told before what was found again since: losses come first, and a page of found transactions is told only if no
loss was stored until it had been read. And what was found and buffered before a read is dropped: either it is read, or
it is in no block any more, and its loss is read. A loss is told also to who never heard of the transaction, and for as
long as the store keeps the record.

A power cut may take the last rows of a run, and their ids come again for others. So `Seen` knows the run that it is of:
ids of another one count only as far as the store had come when this run began.

A consumer that is too slow gets the rows that it missed in the same way. `Lagged` counts what it missed and cannot be
read: rows that the journal did not keep (`keep_history`), and all else that is told, such as warnings, which stands
nowhere and begins with the subscription. When the client ends, and its store with it, rows that can be read no more are
counted, too; they are told in the next run.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from phasegate.engine.events import Event, Lagged, Subscription, TransactionFound, TransactionLost, Transition
from phasegate.store import JournalRow, LostTransaction, Store, StoredTransaction

PAGE = 1000
"""Rows that are read at once."""
_ROWS = Transition, TransactionFound, TransactionLost
"""What stands in the database."""


@attrs.frozen
class Seen:
    """What a consumer has seen: the row ids of the newest of each kind, 0 before the first.

    Args:
        transition: of the newest `Transition`.
        transaction: of the newest `TransactionFound`.
        lost: of the newest `TransactionLost`.
        run: of which run of a client they are, as that says it; "" for ids that were put together by hand.
    """

    transition: int = 0
    transaction: int = 0
    lost: int = 0
    run: str = attrs.field(default="", eq=False)

    def after(self, event: Event) -> Seen:
        """What has been seen with `event`."""
        match event:
            case Transition(row_id=row_id):
                return attrs.evolve(self, transition=row_id)
            case TransactionFound(row_id=row_id):
                return attrs.evolve(self, transaction=row_id)
            case TransactionLost(row_id=row_id):
                return attrs.evolve(self, lost=row_id)
        return self

    def covers(self, event: Event) -> bool:
        """Whether `event` has been seen."""
        match event:
            case Transition(row_id=row_id):
                return row_id <= self.transition
            case TransactionFound(row_id=row_id):
                return row_id <= self.transaction
            case TransactionLost(row_id=row_id):
                return row_id <= self.lost
        return False

    def within(self, ends: Seen) -> Seen:
        """This, but no further than `ends`, nothing below 0, and of its run."""

        def bound(seen: int, end: int) -> int:
            return max(0, min(seen, end))

        transition, transaction = bound(self.transition, ends.transition), bound(self.transaction, ends.transaction)
        return Seen(transition, transaction, bound(self.lost, ends.lost), ends.run)


class Following(Subscription):
    """A subscription that begins with what was missed; `seen` tells what has been handed over so far.

    Args:
        capacity: live events that may wait.
        seen: what the consumer has seen already.
        read: what stands in the database after that, a page of it; nothing when there is no more.
    """

    def __init__(self, capacity: int, seen: Seen, read: Callable[[Seen], Awaitable[Sequence[Event]]]) -> None:
        super().__init__(capacity)
        self.seen = seen
        self._read = read
        self._page = deque[Event]()
        self._behind = True
        self._gap = 0

    async def __anext__(self) -> Event:
        while True:
            event = await (self._missed() if self._behind else self._live())
            if event is None or self.seen.covers(event):
                continue
            self.seen = self.seen.after(event)
            return event

    async def _missed(self) -> Event | None:
        """The next of the missed events; None when there are no more."""
        if self._page:
            await trio.lowlevel.checkpoint()
            return self._page.popleft()
        self._gap = 0
        self._forget(TransactionFound, TransactionLost)
        self._page.extend(await self._read(self.seen))
        self._behind = bool(self._page)
        return None

    async def _live(self) -> Event | None:
        """The next live event; None when there was no room for a row, so that it has to be read."""
        await self._arrival()
        if self._gap and not self._ended:
            self._behind = True
            return None
        if self._gap:  # the store closes with the client
            self._lost += self._gap + self._forget(*_ROWS)
            self._gap = 0
        return self._take()

    def _forget(self, *kinds: type) -> int:
        """Drop what is buffered of these kinds; how many it were."""
        before = len(self._buffer)
        self._buffer = deque([event for event in self._buffer if not isinstance(event, kinds)])
        return before - len(self._buffer)

    def _drop(self, event: Event) -> None:
        if isinstance(event, _ROWS):
            self._gap += not self.seen.covers(event)
        else:
            super()._drop(event)


async def missed(
    store: Store,
    compute: Callable[[Callable[[Store, Seen, float], list[Event]], Store, Seen, float], Awaitable[list[Event]]],
    waiting: Callable[[int], Sequence[JournalRow]],
    seen: Seen,
    now: float,
) -> list[Event]:
    """A page of what comes after `seen`: transitions, then losses, then transactions, in the order of their row ids.

    Args:
        store: where it stands.
        compute: runs what takes time.
        waiting: the journal rows above an id that the disk has not taken yet.
        seen: what is not wanted.
        now: seconds since 1970, the time of transactions that are told late.

    Raises:
        StoreError: the store is closed, or cannot be read.
    """
    waits = waiting(seen.transition)  # looked at first: a row that is stored meanwhile must not be in neither
    if stored := await compute(_transitions, store, seen, now):
        return stored
    if unstored := list(_told(waits, seen.transition)):
        return unstored
    return await compute(_wallet, store, seen, now)


def _transitions(store: Store, seen: Seen, _now: float) -> list[Event]:
    return list(_told(store.journal(seen.transition, PAGE), seen.transition))


def _told(rows: Sequence[JournalRow], last: int) -> Iterator[Event]:
    for row in rows:
        if row.row_id > last + 1:
            yield Lagged(row.row_id - last - 1)
        yield Transition(row.row_id, row.time, row.source, row.target, row.event, row.reason, facts_of(row))
        last = row.row_id


def facts_of(row: JournalRow) -> Mapping[str, Any]:
    """The facts of a row; none if they cannot be read: the journal is told as far as it goes."""
    try:
        facts = json.loads(row.facts_json)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _lost(store: Store, seen: Seen) -> list[Event]:
    return [lost_then(record) for record in store.lost_transactions(seen.lost)[:PAGE]]


def lost_then(record: LostTransaction) -> TransactionLost:
    """A stored loss as it is told."""
    amounts = record.received, record.sent
    return TransactionLost(record.row_id, record.time, record.txid, record.height, record.scripts, *amounts)


def _wallet(store: Store, seen: Seen, now: float) -> list[Event]:
    found = _transactions(store, seen, now)
    return _lost(store, seen) or found  # in this order, so that nothing found is told before what it supersedes


def _transactions(store: Store, seen: Seen, now: float) -> list[Event]:
    rows = sorted(store.transactions(seen.transaction, PAGE), key=lambda row: row.row_id)
    return [found_now(row, now) for row in rows]


def found_now(row: StoredTransaction, now: float) -> TransactionFound:
    """A stored transaction as it is told."""
    return TransactionFound(row.row_id, now, row.txid, row.height, row.scripts, row.received, row.sent)
