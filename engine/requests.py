"""Request control: who may ask what, how much at once, and whose answer a message is.

One ledger serves the whole client. At any time at most one phase's desk is open: that of the active stay. Only through
it can a request for chain data leave. Each request has an owner (the desk), a peer, a predicate that recognises its
replies, and an idle deadline: the time since its last matching reply, never the time since it was sent, so that steady
progress never times out. A desk that closes forgets its requests; what arrives for them later is `late`, what nobody
ever asked for is `unasked`; both are dropped and counted.

A request is matched by peer, in the order in which requests were sent to that peer, because a node answers in order.
So what it still owes a forgotten request comes before its answers to later ones, and is never taken for one of them.

One desk stands beside the phase's, for errands: for what peers announce by themselves, in any phase, and keep for some
minutes only. It can send nothing but a `getdata` for announced ChainLocks and InstantSend locks, so no phase's data can
come through it. What it has under way is bounded and counted, but not `outstanding`: no phase waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
import trio

from phasegate.engine.errors import FailureKind, LocalProtocolError, PeerGone
from phasegate.p2p.messages import ClSig, GetData, InvItem, InvType, IsdLock, KnownMessage, Message, NotFound

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer

R = TypeVar("R", bound=KnownMessage)

REMEMBERED = 512
"""How many forgotten requests are remembered, to tell a late reply from one that nobody asked for."""

ANNOUNCED: Mapping[int, type[ClSig | IsdLock]] = MappingProxyType(
    {InvType.CHAINLOCK: ClSig, InvType.INSTANTSEND_LOCK: IsdLock}
)
"""What is fetched on an errand, by inventory type."""

Take = Callable[[InvItem, ClSig | IsdLock | None], None]

STEADY = 4096
"""Bytes by which an unfinished answer must grow within one idle timeout to count as being on its way."""


@attrs.define(eq=False)
class Request:
    """One request under way: `accepts` says how many of the `expected` replies a message is; it goes into `replies`."""

    desk: Desk
    peer: Peer
    command: str
    accepts: Callable[[Message], int]
    expected: int
    settled: int = 0
    replies: list[Message] = attrs.field(factory=list)
    heard: trio.Event = attrs.field(factory=trio.Event)
    lost: str = ""
    sent: bool = False

    @property
    def answered(self) -> bool:
        """Whether every expected reply has come."""
        return self.settled >= self.expected

    def wake(self) -> None:
        """Let the owner look again."""
        self.heard.set()
        self.heard = trio.Event()


@attrs.define
class Tally:
    """Counts of one client's run, either of the phases' requests or of errands."""

    sent: int = 0
    answered: int = 0
    silent: int = 0
    late: int = 0
    unasked: int = 0


class Ledger:
    """All requests of a client."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.errand_tally = Tally()
        self._desk: Desk | None = None
        self._errands: Errands | None = None
        self._open: dict[Peer, deque[Request]] = {}
        self._forgotten: deque[Request] = deque(maxlen=REMEMBERED)

    @property
    def outstanding(self) -> int:
        """Requests of the active phase under way."""
        return sum(request.desk is not self._errands for requests in self._open.values() for request in requests)

    @contextmanager
    def desk(self, phase: str, per_peer: int, idle_timeout: float) -> Iterator[Desk]:
        """The one desk of a phase's stay; closing it forgets what is still under way.

        Raises:
            LocalProtocolError: another phase's desk is still open.
        """
        if self._desk is not None:
            raise LocalProtocolError(f"{phase} wants to send while {self._desk.phase} is active")
        self._desk = desk = Desk(self, phase, per_peer, idle_timeout, self.tally)
        try:
            yield desk
        finally:
            self._desk = None
            self._forget_all(desk)

    @contextmanager
    def errand(self, per_peer: int, idle_timeout: float) -> Iterator[Errands]:
        """The desk for announced objects; it may be open beside a phase's.

        Raises:
            LocalProtocolError: it is open already.
        """
        if self._errands is not None:
            raise LocalProtocolError("errands have one desk only")
        self._errands = desk = Errands(self, "errands", per_peer, idle_timeout, self.errand_tally)
        try:
            yield desk
        finally:
            self._errands = None
            self._forget_all(desk)

    def _forget_all(self, desk: Desk) -> None:
        for request in [request for requests in self._open.values() for request in requests if request.desk is desk]:
            self._leave(request)

    def _forget(self, request: Request) -> None:
        """Keep what recognises the replies that the peer still owes, and none of those that came."""
        request.expected, request.settled = request.expected - request.settled, 0
        request.replies.clear()
        self._forgotten.append(request)

    def deliver(self, peer: Peer, message: Message) -> bool:
        """Give a peer's message to the request it answers, or count it as late; False when nobody asked for it.

        False too for a late lock: that is as good as one that comes unasked.
        """
        for request in self._forgotten:
            if request.peer is peer and (settled := request.accepts(message)):
                self._late(request, settled)
                return not isinstance(request.desk, Errands)
        for request in self._open.get(peer, ()):
            if not request.answered and (settled := request.accepts(message)):
                request.settled += settled
                request.replies.append(message)
                request.wake()
                return True
        return False

    def _late(self, request: Request, settled: int) -> None:
        request.desk.tally.late += 1
        request.expected -= settled
        if not request.expected:
            self._forgotten.remove(request)

    def drop(self) -> None:
        """Count an answer that nobody asked for."""
        self.tally.unasked += 1

    def peer_lost(self, peer: Peer, detail: str) -> None:
        """The connection is gone: nothing that was asked of this peer will be answered, not even late."""
        for request in [request for request in self._forgotten if request.peer is peer]:
            self._forgotten.remove(request)
        for request in self._open.get(peer, ()):
            request.lost = detail
            request.wake()

    @contextmanager
    def enter(
        self, desk: Desk, peer: Peer, message: Message, accepts: Callable[[Message], int], expected: int
    ) -> Iterator[Request]:
        """Register a request for as long as its owner waits."""
        if desk is not self._desk and not (desk is self._errands and _is_errand(message)):
            raise LocalProtocolError(f"{desk.phase} is not the active phase and may not send {message.command}")
        request = Request(desk, peer, message.command, accepts, expected)
        self._open.setdefault(peer, deque()).append(request)
        try:
            yield request
        finally:
            self._leave(request)

    def _leave(self, request: Request) -> None:
        requests = self._open.get(request.peer, deque())
        if request not in requests:
            return
        requests.remove(request)
        if not requests:
            del self._open[request.peer]
        if request.sent and not request.answered and not request.lost:
            self._forget(request)


class Desk:
    """The right to send, held by the active phase; at most `per_peer` requests are under way to one peer."""

    def __init__(self, ledger: Ledger, phase: str, per_peer: int, idle_timeout: float, tally: Tally) -> None:
        self.phase = phase
        self.tally = tally
        self._ledger = ledger
        self._per_peer = per_peer
        self._idle_timeout = idle_timeout
        self._turns: dict[Peer, trio.Semaphore] = {}

    async def ask(self, peer: Peer, message: Message, reply: type[R], accepts: Callable[[R], bool]) -> R:
        """Send `message` and wait for its one reply, a `reply` that `accepts` recognises.

        Raises:
            PeerGone: the peer was silent for the idle timeout, or its connection was lost.
            LocalProtocolError: this desk's phase is not the active one.
        """
        return (await self.ask_many(peer, message, reply, accepts, 1))[0]

    async def ask_many(
        self, peer: Peer, message: Message, reply: type[R], accepts: Callable[[R], bool], expected: int
    ) -> list[R]:
        """Send `message` and wait for `expected` replies; each one that comes renews the idle deadline."""
        replies = await self._exchange(peer, message, _Matches(reply, accepts), expected, reply.command)
        peer.answers += 1
        return [m for m in replies if isinstance(m, reply)]

    async def _exchange(
        self, peer: Peer, message: Message, accepts: Callable[[Message], int], expected: int, answer: str
    ) -> list[Message]:
        """Have the turn, send, and wait; `answer` is the name of the messages that are expected."""
        async with self._turn(peer):
            with self._ledger.enter(self, peer, message, accepts, expected) as request:
                if peer.gone:
                    raise PeerGone(str(peer), FailureKind.PEER_LOST, peer.gone)
                await self._send(request, message)
                self.tally.sent += 1
                await self._wait(request, answer)
                self.tally.answered += 1
                return request.replies

    @asynccontextmanager
    async def _turn(self, peer: Peer) -> AsyncIterator[None]:
        """One of the peer's `per_peer` turns; who has none under way is not remembered."""
        turns = self._turns.setdefault(peer, trio.Semaphore(self._per_peer))
        try:
            async with turns:
                yield
        finally:
            if turns.value == self._per_peer:
                self._turns.pop(peer, None)

    async def _send(self, request: Request, message: Message) -> None:
        """Queue a request; a peer that reads nothing makes no room for it."""
        with trio.move_on_after(self._idle_timeout):
            await request.peer.send(message)
            request.sent = True
        if not request.sent:
            self.tally.silent += 1
            detail = f"takes no {request.command} within {self._idle_timeout:g} s"
            raise PeerGone(str(request.peer), FailureKind.PEER_SILENT, detail)

    async def _wait(self, request: Request, answer: str) -> None:
        """Until `request` is answered; an unfinished `answer` message that grows is a sign of life, chatter is none."""
        while not request.answered and not request.lost:
            heard, got, taken = request.heard, len(request.replies), request.peer.arriving(answer)
            with trio.move_on_after(self._idle_timeout) as patience:
                await heard.wait()
            arriving = request.peer.arriving(answer) - taken >= STEADY
            if patience.cancelled_caught and len(request.replies) == got and not arriving:
                self.tally.silent += 1
                detail = f"no answer to {request.command} within {self._idle_timeout:g} s"
                raise PeerGone(str(request.peer), FailureKind.PEER_SILENT, detail)
        if request.lost and not request.answered:
            raise PeerGone(str(request.peer), FailureKind.PEER_LOST, request.lost)


class Errands(Desk):
    """The desk for objects that peers announce; see the top of this module."""

    async def fetch(self, peer: Peer, items: Sequence[InvItem], take: Take) -> None:
        """Have what `peer` announced as `items`, each handed over as it comes; None for what it no longer has.

        Raises:
            PeerGone: the peer was silent for the idle timeout, or its connection was lost; what came was handed over.
        """
        left, over = dict.fromkeys(items), trio.Event()

        def settle(reply: Message) -> int:
            settled = [item for item in _named(reply) if item in left]
            for item in settled:
                del left[item]
                if not over.is_set():
                    take(item, reply if isinstance(reply, ClSig | IsdLock) else None)
            return len(settled)

        with trio.move_on_after(2 * self._idle_timeout) as patience:  # who sends them in drops keeps them from others
            try:
                await self._exchange(peer, GetData(tuple(left)), settle, len(left), ANNOUNCED[items[0].type].command)
            finally:
                over.set()
        if patience.cancelled_caught:
            self.tally.silent += 1
            detail = f"{len(left)} of {len(items)} announced locks are missing"
            raise PeerGone(str(peer), FailureKind.PEER_SILENT, detail)


def _named(reply: Message) -> tuple[InvItem, ...]:
    """What a reply brings or denies."""
    if isinstance(reply, NotFound):
        return reply.items
    return tuple([InvItem(kind, reply.inventory_hash) for kind, lock in ANNOUNCED.items() if isinstance(reply, lock)])


def _is_errand(message: Message) -> bool:
    return isinstance(message, GetData) and bool(message.items) and all(i.type in ANNOUNCED for i in message.items)


@attrs.frozen
class _Matches(Generic[R]):
    kind: type[R]
    accepts: Callable[[R], bool]

    def __call__(self, message: Message) -> bool:
        return isinstance(message, self.kind) and self.accepts(message)
