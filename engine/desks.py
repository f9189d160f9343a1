"""The desk: the right to send, held by the active phase, and the way of one request from its turn to its answer.

A request first waits for its turn (`turns`), then for a token (`buckets`); only then does it enter the ledger, leave,
and have a clock that runs. The clock is an idle one: each sign of life sets it back, and how much it is set to is the
phase's `patience`. A node answers in order, so a reply to one request is a sign of life for those that were sent to the
same peer after it; without that a row of requests to a peer that takes its time would time out from behind. What an
answer may take in all, while somebody else could give it, is its `pace`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
import trio

from phasegate.engine.buckets import Bucket
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.patience import Patience
from phasegate.engine.turns import Turns
from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.messages import CFilter, GetCFilters, KnownMessage, Message

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer
    from phasegate.engine.requests import Ledger, Request, Tally

R = TypeVar("R", bound=KnownMessage)

Part = Callable[["Peer", str, str], bool]
"""Drops a peer that takes too long for an answer of that name, for that reason, if another one can be asked instead;
whether it did."""

STEADY = 4096
"""Bytes by which an unfinished answer must grow within one idle timeout to count as being on its way."""
LEAST_LOOK = 1.0
"""Seconds at least between two looks at one answer that takes long."""


def keep(_peer: Peer, _answer: str, _why: str) -> bool:
    """Nobody else can be asked."""
    return False


@attrs.define(eq=False)
class Desk:
    """The right to send, for one stay of one phase; `Ledger.desk` opens it."""

    phase: str
    stay: int
    tally: Tally
    patience: Patience
    _ledger: Ledger
    _bucket: Bucket
    _turns: Turns
    _part: Part = keep

    def allows(self, message: Message) -> bool:
        """Whether `message` may leave here at all."""
        del message
        return True

    async def ask(self, peer: Peer, message: Message, reply: type[R], accepts: Callable[[R], bool]) -> R:
        """Send `message` and wait for its one reply, a `reply` that `accepts` recognises.

        Raises:
            PeerGone: the peer was silent for the idle timeout, took too long while another one could be asked, or its
                connection was lost.
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

    async def ask_filters(
        self,
        peer: Peer,
        message: GetCFilters,
        accepts: Callable[[CFilter], bool],
        accepts_run: Callable[[CFilterRun], int] | None,
        expected: int,
    ) -> list[CFilter | CFilterRun]:
        """As `ask_many`, for filters: if many may come together, `accepts_run` says how many of the first it takes."""
        matches = _Matches(CFilter, accepts)
        replies = await self._exchange(peer, message, matches, expected, CFilter.command, accepts_run=accepts_run)
        peer.answers += 1
        return [reply for reply in replies if isinstance(reply, CFilter | CFilterRun)]

    async def _exchange(
        self,
        peer: Peer,
        message: Message,
        accepts: Callable[[Message], int],
        expected: int,
        answer: str,
        longest: float = math.inf,
        accepts_run: Callable[[CFilterRun], int] | None = None,
        *,
        keeps: bool = True,
    ) -> list[Message | CFilterRun]:
        """Have the turn and a token, send, and wait for messages named `answer`, for `longest` seconds in all.

        The result is empty unless it `keeps` them.
        """
        async with self._turns.turn(peer):
            if not peer.gone:
                await self._bucket.take()
            what = peer, message, accepts, expected, answer, accepts_run
            with self._ledger.enter(self, *what, keeps=keeps) as request:
                if peer.gone:
                    raise PeerGone(str(peer), FailureKind.PEER_LOST, peer.gone)
                with trio.move_on_after(longest):
                    await self._send(request, message)
                    await self._wait(request)
                    self.tally.answered += 1
                    self.patience.answered(request.pause)
                    self._ledger.pace.answered(request)
                    return request.replies
                missing = f"{request.expected - request.settled} of {request.expected} answers"
                raise self._silence(request, f"{missing} to {request.command} are missing", longest)

    async def _send(self, request: Request, message: Message) -> None:
        """Queue a request; a peer that reads nothing makes no room for it."""
        with trio.move_on_at(request.deadline):
            await request.peer.send(message)
            self._ledger.depart(request)
        if not request.sent:
            raise self._silence(request, f"takes no {request.command}", request.wait.timeout)
        self.tally.sent += 1

    async def _wait(self, request: Request) -> None:
        """Until `request` is answered; an unfinished answer that grows is a sign of life, chatter is none."""
        settled, arrived = request.settled, request.arriving
        while not request.answered and not request.lost:
            idle = await self._hear(request)
            if idle and request.deadline <= trio.current_time():
                if request.arriving - arrived < STEADY:
                    raise self._silence(request, f"no answer to {request.command}", request.wait.timeout)
                self._ledger.alive(request)
            arrived = request.arriving if request.settled == settled else 0  # a reply was whole: the next began then
            settled = request.settled
        if request.lost and not request.answered:
            raise PeerGone(str(request.peer), FailureKind.PEER_LOST, request.lost, dragged=request.cut_off)

    async def _hear(self, request: Request) -> bool:
        """Wait until the deadline of `request` as it is now, or until it is over; whether it is not over then.

        Raises:
            PeerGone: the whole of the answer takes too long, and another peer can be asked.
        """
        heard, until = request.heard, request.deadline
        while not heard.is_set() and trio.current_time() < until:
            with trio.move_on_at(min(until, self._due(request))):
                await heard.wait()
            self._part_if_slow(request)
        return not heard.is_set()

    def _due(self, request: Request) -> float:
        """When to look whether `request` takes too long; never while that is so and there is nobody else."""
        due, now = request.turn_at + self._ledger.pace.allowed(request), trio.current_time()
        return max(due, now + LEAST_LOOK) if due > now else math.inf

    def _part_if_slow(self, request: Request) -> None:
        took = trio.current_time() - request.turn_at
        if request.answered or request.lost or not self._ledger.is_next(request):
            return
        if took < self._ledger.pace.allowed(request):
            return
        what = f"no whole answer to {request.command} within {took:.0f} s, {request.arriving} bytes of it"
        if self._part(request.peer, request.answer, what):
            self._ledger.pace.overrun(request)
            self.tally.silent += 1
            raise PeerGone(str(request.peer), FailureKind.PEER_SILENT, what, dragged=True)

    def _silence(self, request: Request, what: str, within: float) -> PeerGone:
        self.tally.silent += 1
        self.patience.silent(request.wait, request.peer)
        return PeerGone(str(request.peer), FailureKind.PEER_SILENT, f"{what} within {within:g} s")


@attrs.frozen
class _Matches(Generic[R]):
    kind: type[R]
    accepts: Callable[[R], bool]

    def __call__(self, message: Message) -> bool:
        return isinstance(message, self.kind) and self.accepts(message)
