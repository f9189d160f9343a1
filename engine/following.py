"""Events from a known row on: what was missed is read from the database, then it goes on live.

Transitions and transactions stand in the database before they are told, each kind under row ids that only grow. So a
consumer that remembers the two ids that it has seen last (`Seen`) can be given the rest, after a restart of its own or
of the whole program, without a gap and without seeing anything twice:

1. The live events are subscribed to first; from then on nothing can be missed, only told twice.
2. The rows above those seen are read, page by page, until there are none.
3. The buffered live events follow. One whose row was read already is skipped, for its id is not above the last one.

A consumer that is too slow gets `Lagged` as any other, and then the rows that it missed in the same way. Rows that the
journal did not keep (`keep_history`) are counted in a `Lagged`, too. All else that is told, such as progress and
warnings, stands nowhere and begins with the subscription.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from phasegate.engine.events import Event, Lagged, Subscription, TransactionFound, Transition
from phasegate.store import JournalRow, Store, StoredTransaction

PAGE = 1000
"""Rows that are read at once."""


@attrs.frozen
class Seen:
    """The row ids of the newest transition and the newest transaction that a consumer has seen; 0 before the first."""

    transition: int = 0
    transaction: int = 0

    def after(self, event: Event) -> Seen:
        """What has been seen with `event`."""
        if isinstance(event, Transition):
            return attrs.evolve(self, transition=event.row_id)
        if isinstance(event, TransactionFound):
            return attrs.evolve(self, transaction=event.row_id)
        return self

    def covers(self, event: Event) -> bool:
        """Whether `event` has been seen."""
        if isinstance(event, Transition):
            return event.row_id <= self.transition
        return isinstance(event, TransactionFound) and event.row_id <= self.transaction


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

    async def __anext__(self) -> Event:
        while True:
            event = await (self._missed() if self._behind else super().__anext__())
            if event is None or self.seen.covers(event):
                continue
            self.seen = self.seen.after(event)
            if isinstance(event, Lagged) and not self._page:
                self._behind = not self._ended  # the store closes with the client
            return event

    async def _missed(self) -> Event | None:
        """The next of the missed events; None when there are no more."""
        if self._page:
            await trio.lowlevel.checkpoint()
            return self._page.popleft()
        self._page.extend(await self._read(self.seen))
        self._behind = bool(self._page)
        return None


async def missed(
    store: Store,
    compute: Callable[[Callable[[Store, Seen, float], list[Event]], Store, Seen, float], Awaitable[list[Event]]],
    waiting: Callable[[int], Sequence[JournalRow]],
    seen: Seen,
    now: float,
) -> list[Event]:
    """A page of what comes after `seen`; transitions first, each kind in the order of its row ids.

    Args:
        store: where it stands.
        compute: runs what takes time.
        waiting: the journal rows above an id that the disk has not taken yet.
        seen: what is not wanted.
        now: seconds since 1970, the time of transactions that are told late.

    Raises:
        StoreError: the store is closed, or cannot be read.
    """
    if stored := await compute(_transitions, store, seen, now):
        return stored
    if unstored := list(_told(waiting(seen.transition), seen.transition)):
        return unstored
    return await compute(_transactions, store, seen, now)


def _transitions(store: Store, seen: Seen, _now: float) -> list[Event]:
    return list(_told(store.journal(seen.transition, PAGE), seen.transition))


def _told(rows: Sequence[JournalRow], last: int) -> Iterator[Event]:
    for row in rows:
        if row.row_id > last + 1:
            yield Lagged(row.row_id - last - 1)
        yield Transition(row.row_id, row.time, row.source, row.target, row.event, row.reason, _facts(row))
        last = row.row_id


def _facts(row: JournalRow) -> Mapping[str, Any]:
    """The facts of a row; none if they cannot be read: the journal is told as far as it goes."""
    try:
        facts = json.loads(row.facts_json)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _transactions(store: Store, seen: Seen, now: float) -> list[Event]:
    rows = sorted(store.transactions(seen.transaction), key=lambda row: row.row_id)
    return [found_now(row, now) for row in rows[:PAGE]]


def found_now(row: StoredTransaction, now: float) -> TransactionFound:
    """A stored transaction as it is told."""
    return TransactionFound(row.row_id, now, row.txid, row.height, row.scripts, row.received, row.sent)
