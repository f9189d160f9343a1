"""Request control: who may ask what, how much at once, and whose answer a message is.

One ledger serves the whole client. At any time at most one desk is open: that of the active phase's stay. Only through
it can a request leave. Each request has an owner (the desk), a peer, a predicate that recognises its replies, and an
idle deadline: the time since its last matching reply, never the time since it was sent, so that steady progress never
times out. A desk that closes forgets its requests; what arrives for them later is `late`, what nobody ever asked for
is `unasked`; both are dropped and counted.

A request is matched by peer, in the order in which requests were sent to that peer, because a node answers in order.
So what it still owes a forgotten request comes before its answers to later ones, and is never taken for one of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
import trio

from phasegate.engine.errors import FailureKind, LocalProtocolError, PeerGone
from phasegate.p2p.messages import KnownMessage, Message

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer

R = TypeVar("R", bound=KnownMessage)

REMEMBERED = 512
"""How many forgotten requests are remembered, to tell a late reply from one that nobody asked for."""

STEADY = 4096
"""Bytes by which an unfinished answer must grow within one idle timeout to count as being on its way."""


@attrs.define(eq=False)
class Request:
    """One request under way: `expected` replies are recognised by `accepts` and collected in `replies`."""

    peer: Peer
    command: str
    accepts: Callable[[Message], bool]
    expected: int
    replies: list[Message] = attrs.field(factory=list)
    heard: trio.Event = attrs.field(factory=trio.Event)
    lost: str = ""
    sent: bool = False

    @property
    def answered(self) -> bool:
        """Whether every expected reply has come."""
        return len(self.replies) >= self.expected

    def wake(self) -> None:
        """Let the owner look again."""
        self.heard.set()
        self.heard = trio.Event()


@attrs.define
class Tally:
    """Counts of one client's run."""

    sent: int = 0
    answered: int = 0
    silent: int = 0
    late: int = 0
    unasked: int = 0


class Ledger:
    """All requests of a client."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._desk: Desk | None = None
        self._open: dict[Peer, deque[Request]] = {}
        self._forgotten: deque[Request] = deque(maxlen=REMEMBERED)

    @property
    def outstanding(self) -> int:
        """Requests under way."""
        return sum(map(len, self._open.values()))

    @contextmanager
    def desk(self, phase: str, per_peer: int, idle_timeout: float) -> Iterator[Desk]:
        """The one desk of a phase's stay; closing it forgets what is still under way.

        Raises:
            LocalProtocolError: another phase's desk is still open.
        """
        if self._desk is not None:
            raise LocalProtocolError(f"{phase} wants to send while {self._desk.phase} is active")
        self._desk = desk = Desk(self, phase, per_peer, idle_timeout)
        try:
            yield desk
        finally:
            self._desk = None
            self._forget_all()

    def _forget_all(self) -> None:
        for request in [request for requests in self._open.values() for request in requests]:
            self._leave(request)

    def _forget(self, request: Request) -> None:
        """Keep what recognises the replies that the peer still owes, and none of those that came."""
        request.expected -= len(request.replies)
        request.replies.clear()
        self._forgotten.append(request)

    def deliver(self, peer: Peer, message: Message) -> bool:
        """Give a peer's message to the request it answers, or count it as late; False when nobody asked for it."""
        for request in self._forgotten:
            if request.peer is peer and request.accepts(message):
                self._late(request)
                return True
        for request in self._open.get(peer, ()):
            if not request.answered and request.accepts(message):
                request.replies.append(message)
                request.wake()
                return True
        return False

    def _late(self, request: Request) -> None:
        self.tally.late += 1
        request.expected -= 1
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
        self, desk: Desk, peer: Peer, message: Message, accepts: Callable[[Message], bool], expected: int
    ) -> Iterator[Request]:
        """Register a request for as long as its owner waits."""
        if desk is not self._desk:
            raise LocalProtocolError(f"{desk.phase} is not the active phase and may not send {message.command}")
        request = Request(peer, message.command, accepts, expected)
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

    def __init__(self, ledger: Ledger, phase: str, per_peer: int, idle_timeout: float) -> None:
        self.phase = phase
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
        turn = self._turns.setdefault(peer, trio.Semaphore(self._per_peer))
        async with turn:
            matches = _Matches(reply, accepts)
            with self._ledger.enter(self, peer, message, matches, expected) as request:
                if peer.gone:
                    raise PeerGone(str(peer), FailureKind.PEER_LOST, peer.gone)
                await self._send(request, message)
                self._ledger.tally.sent += 1
                await self._wait(request, reply.command)
                self._ledger.tally.answered += 1
                peer.answers += 1
                return [m for m in request.replies if isinstance(m, reply)]

    async def _send(self, request: Request, message: Message) -> None:
        """Queue a request; a peer that reads nothing makes no room for it."""
        with trio.move_on_after(self._idle_timeout):
            await request.peer.send(message)
            request.sent = True
        if not request.sent:
            self._ledger.tally.silent += 1
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
                self._ledger.tally.silent += 1
                detail = f"no answer to {request.command} within {self._idle_timeout:g} s"
                raise PeerGone(str(request.peer), FailureKind.PEER_SILENT, detail)
        if request.lost and not request.answered:
            raise PeerGone(str(request.peer), FailureKind.PEER_LOST, request.lost)


@attrs.frozen
class _Matches(Generic[R]):
    kind: type[R]
    accepts: Callable[[R], bool]

    def __call__(self, message: Message) -> bool:
        return isinstance(message, self.kind) and self.accepts(message)
