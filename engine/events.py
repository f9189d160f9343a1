"""What a client tells its user: data, progress and warnings, each a type of its own.

Transitions and transactions are data: they stand in the database first and carry its row id, so that whoever missed
them can read them again. Progress is a hint and may be dropped. The engine never waits for a consumer: each
subscriber has a bounded buffer, the oldest progress goes first, and what else had to go is counted in `Lagged`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

import attrs
import trio


@attrs.frozen
class Transition:
    """The sync chart went from `source` to `target`. `facts` is what the guards saw; `time` seconds since 1970."""

    row_id: int
    time: float
    source: str
    target: str
    trigger: str
    reason: str
    facts: Mapping[str, Any]


@attrs.frozen
class Progress:
    """How far a phase is, counted in stored items; `rate` items a second, `eta` seconds (None: not measurable)."""

    time: float
    phase: str
    done: int
    total: int
    percent: float
    rate: float
    eta: float | None
    overall: float


@attrs.frozen
class TransactionFound:
    """A transaction that pays to or spends from watched scripts; txid in wire order, amounts in duffs."""

    row_id: int
    time: float
    txid: bytes
    height: int
    scripts: tuple[bytes, ...]
    received: int
    sent: int


@attrs.frozen
class ChainLocked:
    """The block at `height` (hash in wire order), and with it all below, is proven to be locked by its quorum."""

    time: float
    height: int
    block_hash: bytes


@attrs.frozen
class InstantLocked:
    """The inputs of a found transaction (txid in wire order) are proven to be locked for it and no other."""

    time: float
    txid: bytes


@attrs.frozen
class TransactionLost:
    """A found transaction (txid in wire order) is in no block any more: the one at `height` left the chain.

    `scripts`, `received` and `sent` are what `TransactionFound` told, amounts in duffs.
    """

    row_id: int
    time: float
    txid: bytes
    height: int
    scripts: tuple[bytes, ...]
    received: int
    sent: int


@attrs.frozen
class TransactionReturned:
    """A transaction (txid in wire order) that had left the chain from `old_height` is in it again, at `height`."""

    time: float
    txid: bytes
    height: int
    old_height: int


@attrs.frozen
class TransactionConflicted:
    """A verified InstantSend lock holds an input of a found transaction, or of a lost one, for another one.

    `txid` is the one found, `conflict` the one for which the input is locked; both in wire order.
    """

    time: float
    txid: bytes
    conflict: bytes


@attrs.frozen
class TransactionSeen:
    """A transaction in no block that pays to or spends from watched scripts; txid in wire order, amounts in duffs.

    Peers showed it; whether it is valid nobody proved, unless `instantlock` is true: then a verified InstantSend lock
    holds it. `confirmed` is always False. It is told again, with other amounts, when more of what it spends is known.
    """

    time: float
    txid: bytes
    scripts: tuple[bytes, ...]
    received: int
    sent: int
    instantlock: bool
    confirmed: bool = False


@attrs.frozen
class TransactionDropped:
    """A transaction (txid in wire order) that was seen in no block is given up, and each one that spends of it.

    `reason` is `conflicted` (another one holds what it spends), `expired` (no block had it for 14 days), or `let-go`
    (more than 1000, or what takes more than 4 MiB of memory, were seen).
    """

    time: float
    txid: bytes
    reason: str


@attrs.frozen
class BroadcastMoved:
    """A transaction of our own (txid in wire order) has come to another `stage`, or more peers know of it.

    `stage` is a value of `Stage`; `announced`, `fetched` and `echoed` count peers; `height` is that of its block.
    """

    time: float
    txid: bytes
    stage: str
    announced: int
    fetched: int
    echoed: int
    height: int | None
    reason: str


@attrs.frozen
class Rewound:
    """Stored headers above `fork_height` were replaced by a better branch."""

    time: float
    old_tip: int
    fork_height: int


@attrs.frozen
class Warned:
    """Something a person should know: a stable `code` and one line."""

    time: float
    code: str
    message: str


@attrs.frozen
class Lagged:
    """This subscriber was too slow: `count` events were dropped before the next one."""

    count: int


Event = (
    Transition
    | Progress
    | TransactionFound
    | TransactionLost
    | TransactionReturned
    | TransactionConflicted
    | TransactionSeen
    | TransactionDropped
    | ChainLocked
    | InstantLocked
    | BroadcastMoved
    | Rewound
    | Warned
    | Lagged
)


class Subscription:
    """One consumer's view of the events: `async for event in subscription`; ends when the client ends."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._buffer: deque[Event] = deque()
        self._lost = 0
        self._ended = False
        self._more = trio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        await self._arrival()
        return self._take()

    async def _arrival(self) -> None:
        """Wait until there is something to take."""
        while not self._buffer and not self._lost:
            if self._ended:
                raise StopAsyncIteration
            await self._more.wait()
        await trio.lowlevel.checkpoint()

    def _take(self) -> Event:
        if self._lost:
            lost, self._lost = self._lost, 0
            return Lagged(lost)
        return self._buffer.popleft()

    def put_nowait(self, event: Event) -> None:
        """Add an event, making room if there is none: the oldest progress first, then the oldest of all."""
        if len(self._buffer) >= self._capacity:
            self._make_room()
        self._buffer.append(event)
        self._wake()

    def _make_room(self) -> None:
        for i, old in enumerate(self._buffer):
            if isinstance(old, Progress):
                del self._buffer[i]
                return
        self._drop(self._buffer.popleft())

    def _drop(self, _event: Event) -> None:
        """There was no room for an event."""
        self._lost += 1

    def end(self) -> None:
        """No event will follow."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()


class Broadcast:
    """Hands every event to every subscriber; one that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self._subscribers: list[weakref.ref[Subscription]] = []
        self._ended = False

    def subscribe(self, capacity: int = 1024) -> Subscription:
        """A new subscriber, from now on."""
        subscription = Subscription(capacity)
        self.attach(subscription)
        return subscription

    def attach(self, subscription: Subscription) -> None:
        """Have `subscription` get everything from now on."""
        self._subscribers = [*map(weakref.ref, self._held()), weakref.ref(subscription)]
        if self._ended:
            subscription.end()

    def publish(self, event: Event) -> None:
        """Hand `event` to all; never waits."""
        for subscription in self._held():
            subscription.put_nowait(event)

    def end(self) -> None:
        """The client has ended."""
        self._ended = True
        for subscription in self._held():
            subscription.end()

    def _held(self) -> list[Subscription]:
        return [subscription for reference in self._subscribers if (subscription := reference()) is not None]
