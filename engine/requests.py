"""Request control: who may ask what, how much at once, and whose answer a message is.

One ledger serves the whole client. At any time at most one phase's desk is open: that of the active stay. Where phases
run beside each other each of these has one. Only through a desk can a request for chain data leave. Each request has an
owner (the desk), a peer, a predicate that recognises its replies, and an idle deadline: the time since its last sign of
life, never the time since it was sent, so that steady progress never times out. A desk that closes forgets its
requests; what arrives for them later is `late`, what nobody ever asked for is `unasked`; both are dropped and counted,
for the run and for each peer.

A request is matched by peer, in the order in which requests were sent to that peer, because a node answers in order.
So what it still owes a forgotten request comes before its answers to later ones, and is never taken for one of them.

What belongs to a phase and not to a stay is kept here, too: its tokens, so that a desk that closes and opens again has
no fresh burst, and its patience, so that a stay that ended in silence taught the next one something.

Desks for errands stand beside the phase's; see `errands`.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.engine.buckets import Bucket
from phasegate.engine.desks import STEADY, Desk, Part, keep
from phasegate.engine.errands import ANNOUNCED, Errands, Kinds
from phasegate.engine.errors import LocalProtocolError
from phasegate.engine.pace import Pace
from phasegate.engine.patience import Patience
from phasegate.engine.room import Room
from phasegate.engine.turns import Turns
from phasegate.engine.under_way import Request, RequestView
from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.framing import HEAD_SIZE
from phasegate.p2p.handshake import PROTOCOL_VERSION
from phasegate.p2p.messages import CFilter, Message, TxMessage

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer

__all__ = ["ANNOUNCED", "STEADY", "Desk", "Errands", "Ledger", "Request", "RequestView", "Tally"]

REMEMBERED = 128
"""How many forgotten requests of a peer are remembered, to tell a late reply from one that nobody asked for."""

ERRANDS, TRANSACTION_ERRANDS = "errands", "transactions"
"""Whose requests these are, where phases have their own names."""
MANY = 1 << 30
"""A bound that is none."""


@attrs.define
class Tally:
    """Counts of one client's run, either of the phases' requests or of errands."""

    sent: int = 0
    answered: int = 0
    silent: int = 0
    late: int = 0
    unasked: int = 0


class Ledger:
    """All requests of a client, and the room in memory for what its downloads bring.

    Args:
        beside: the phases that may have their desks open beside each other; no other may beside any.
    """

    def __init__(self, beside: Collection[str] = ()) -> None:
        self.tally = Tally()
        self.errand_tally = Tally()
        self.room = Room()
        self.pace = Pace()
        self._beside = frozenset(beside)
        self._desks: dict[str, Desk] = {}
        self._errands: list[Errands] = []
        self._stays = count(1)
        self._numbers = count(1)
        self._buckets: dict[str, Bucket] = {}
        self._patience: dict[str, Patience] = {}
        self._open: dict[Peer, deque[Request]] = {}
        self._forgotten: dict[Peer, deque[Request]] = {}
        self._strays: Counter[Peer] = Counter()
        self._for_runs = 0

    @property
    def outstanding(self) -> int:
        """Requests of the active phases under way."""
        return sum(self.under_way().values())

    def under_way(self) -> Counter[str]:
        """How many requests of each phase are under way; `synced` is none, no completeness waits for what it asks."""
        requests = (request for line in self._open.values() for request in line)
        counted = [r.desk.phase for r in requests if not isinstance(r.desk, Errands) and r.desk.phase != "synced"]
        return Counter(counted)

    def open_requests(self) -> tuple[RequestView, ...]:
        """All requests under way, errands too, in the order in which they were made."""
        requests = [request for line in self._open.values() for request in line]
        return tuple([request.view() for request in sorted(requests, key=lambda request: request.number)])

    @property
    def remembered_peers(self) -> int:
        """Of how many peers anything is remembered: open requests, and those that nobody waits for any more."""
        return len(self._open.keys() | self._forgotten.keys())

    def owed(self, peer: Peer) -> int:
        """How many requests to `peer` nobody waits for any more, though it may still answer them."""
        return len(self._forgotten.get(peer, ()))

    def strays(self, peer: Peer) -> int:
        """How many answers of `peer` were late, came twice or were never asked for, as long as it is connected."""
        return self._strays[peer]

    @contextmanager
    def desk(
        self,
        phase: str,
        per_peer: int,
        idle_timeout: float,
        *,
        concurrency: int = MANY,
        rate: float = math.inf,
        idle_cap: float = 0.0,
        part: Part = keep,
    ) -> Iterator[Desk]:
        """The one desk of a phase's stay; closing it forgets what is still under way.

        Args:
            phase: the name of the phase.
            per_peer: requests that may be under way to one peer.
            idle_timeout: seconds without a sign of life after which a request is given up.
            concurrency: requests that may be under way to all peers together.
            rate: requests that may be sent in a second.
            idle_cap: seconds up to which silence makes the idle timeout grow; not at all when that is no longer.
            part: drops a peer that is too slow (`pace`), if another one can be asked.

        Raises:
            LocalProtocolError: this phase's desk is still open, or one beside which it may not be.
        """
        for active in self._desks:
            if active == phase or not {active, phase} <= self._beside:
                raise LocalProtocolError(f"{phase} wants to send while {active} is active")
        patience, turns = self._patience_of(phase, idle_timeout, idle_cap), Turns(per_peer, concurrency)
        bucket = self._bucket_of(phase, rate)
        desk = Desk(phase, next(self._stays), self.tally, patience, self, bucket, turns, part)
        self._desks[phase] = desk
        try:
            yield desk
        finally:
            del self._desks[phase]
            self._forget_all(desk)

    @contextmanager
    def errand(
        self,
        per_peer: int,
        idle_timeout: float,
        *,
        concurrency: int = MANY,
        rate: float = math.inf,
        kinds: Kinds = ANNOUNCED,
    ) -> Iterator[Errands]:
        """The desk for announced objects of these kinds, with figures of its own; it may be open beside a phase's.

        Raises:
            LocalProtocolError: it is open already.
        """
        if any(desk.kinds is kinds for desk in self._errands):
            raise LocalProtocolError("errands of a kind have one desk only")
        name = ERRANDS if kinds is ANNOUNCED else TRANSACTION_ERRANDS
        patience, turns = self._patience_of(name, idle_timeout, 0.0), Turns(per_peer, concurrency)
        bucket = self._bucket_of(name, rate)
        desk = Errands(name, next(self._stays), self.errand_tally, patience, self, bucket, turns, kinds=kinds)
        self._errands.append(desk)
        try:
            yield desk
        finally:
            self._errands.remove(desk)
            self._forget_all(desk)

    def _patience_of(self, phase: str, base: float, cap: float) -> Patience:
        patience = self._patience.setdefault(phase, Patience(base, cap))
        patience.base, patience.cap = base, cap
        return patience

    def _bucket_of(self, phase: str, rate: float) -> Bucket:
        bucket = self._buckets.setdefault(phase, Bucket())
        bucket.rate = rate
        return bucket

    @contextmanager
    def enter(
        self,
        desk: Desk,
        peer: Peer,
        message: Message,
        accepts: Callable[[Message], int],
        expected: int,
        answer: str = "",
        accepts_run: Callable[[CFilterRun], int] | None = None,
        *,
        keeps: bool = True,
    ) -> Iterator[Request]:
        """Register a request for as long as its owner waits; `answer` is the name of the messages that are expected."""
        if self._desks.get(desk.phase) is not desk and not (desk in self._errands and desk.allows(message)):
            raise LocalProtocolError(f"{desk.phase} is not the active phase and may not send {message.command}")
        payload = message.to_payload(PROTOCOL_VERSION)  # no request depends on the version
        what = message.command, HEAD_SIZE + len(payload), accepts, expected, answer
        request = Request(next(self._numbers), desk, peer, *what, desk.patience.begin(), trio.current_time())
        request.accepts_run, request.keeps, request.question = accepts_run, keeps, message.command.encode() + payload
        self._open.setdefault(peer, deque()).append(request)
        self._for_runs += accepts_run is not None
        try:
            yield request
        finally:
            self._for_runs -= accepts_run is not None
            self._leave(request)

    def depart(self, request: Request) -> None:
        """The peer's queue has taken `request`, which makes it the last one there: its clock begins."""
        if request in (line := self._open.get(request.peer, deque())):
            line.remove(request)
            line.append(request)
        request.depart(trio.current_time())

    def _leave(self, request: Request) -> None:
        requests = self._open.get(request.peer, deque())
        if request not in requests:
            return
        place = requests.index(request)
        del requests[place]
        for following in islice(requests, place, None):
            following.turn_at = trio.current_time()
        if not requests:
            del self._open[request.peer]
        if request.sent and not request.answered and not request.lost:
            self._forget(request)

    def _forget_all(self, desk: Desk) -> None:
        for request in [request for requests in self._open.values() for request in requests if request.desk is desk]:
            self._leave(request)

    def _forget(self, request: Request) -> None:
        """Keep what recognises the replies that the peer still owes, and none of those that came."""
        request.expected, request.settled = request.expected - request.settled, 0
        request.replies.clear()
        self._forgotten.setdefault(request.peer, deque(maxlen=REMEMBERED)).append(request)

    def is_next(self, request: Request) -> bool:
        """Whether `request` is what its peer has to answer now, of all that it was asked."""
        line = self._open.get(request.peer, ())
        return next((other for other in line if other.sent and not other.answered), None) is request

    def alive(self, request: Request) -> None:
        """A sign of life for `request`, and for what phases sent to that peer later: the peer is on its way there.

        Errands are no business of the phases, nor these of errands.
        """
        line, now = self._open.get(request.peer, deque()), trio.current_time()
        is_errand = isinstance(request.desk, Errands)
        for other in islice(line, line.index(request) if request in line else len(line), None):
            if isinstance(other.desk, Errands) is is_errand:
                other.touch(now)

    def deliver(self, peer: Peer, message: Message) -> bool:
        """Give a peer's message to the request it answers, or count it as late; False when nobody asked for it.

        False too for a late lock: that is as good as one that comes unasked.
        """
        for request in self._forgotten.get(peer, ()):
            if settled := request.accepts(message):
                self._late(request, settled)
                return not isinstance(request.desk, Errands) or isinstance(message, TxMessage)
        for request in self._open.get(peer, ()):
            if not request.answered and (settled := request.accepts(message)):
                self._settle(request, message, settled)
                return True
        return False

    def awaits_runs(self, peer: Peer) -> bool:
        """Whether `peer` was asked for filters that may come together."""
        return self._for_runs > 0 and any(request.accepts_run is not None for request in self._open.get(peer, ()))

    def deliver_run(self, peer: Peer, run: CFilterRun) -> int:
        """Give as many of the first filters of `run` to the request they answer as it takes; how many these are.

        When there are none, the first one is to be delivered as a single message: it may be late, or unasked.
        """
        if any(request.answer in ("", CFilter.command) for request in self._forgotten.get(peer, ())):
            return 0
        for request in self._open.get(peer, ()):
            if request.answered or request.answer not in ("", CFilter.command):
                continue
            if request.accepts_run is None:
                return 0
            if taken := request.accepts_run(run):
                self._settle(request, run.part(0, taken), taken)
                return taken
        return 0

    def _settle(self, request: Request, reply: Message | CFilterRun, settled: int) -> None:
        self.alive(request)
        request.in_time = request.in_time and self.pace.is_in_time(request)
        request.turn_at = trio.current_time()
        request.settled += settled
        if request.keeps:
            request.replies.append(reply)
        if request.answered:
            request.wake()

    def _late(self, request: Request, settled: int) -> None:
        request.desk.tally.late += 1
        self._count_stray(request.peer)
        request.expected -= settled
        if not request.expected:
            for following in self._open.get(request.peer, ()):
                following.turn_at = trio.current_time()
            self._forgotten[request.peer].remove(request)
            if not self._forgotten[request.peer]:
                del self._forgotten[request.peer]

    def drop(self, peer: Peer | None = None) -> None:
        """Count an answer, of `peer` if that is told, that nobody asked for."""
        self.tally.unasked += 1
        if peer is not None:
            self._count_stray(peer)

    def _count_stray(self, peer: Peer) -> None:
        if not peer.gone:
            self._strays[peer] += 1

    def peer_lost(self, peer: Peer, detail: str, *, hung_up: bool = False) -> None:
        """The connection is gone, `hung_up` by the peer: nothing that it was asked will be answered, not even late."""
        self._strays.pop(peer, None)
        self._forgotten.pop(peer, None)
        for request in self._open.get(peer, ()):
            begun = (request.settled > 0 or request.arriving > 0) and self.is_next(request)
            request.cut_off = hung_up and begun and not request.lost
        for request in self._open.get(peer, ()):
            request.lost = request.lost or detail
            request.wake()
