"""Download from several peers at once, apply in order, hold only a window in memory.

`fetch(peer, job)` brings and verifies the result of one job, whichever order they come in. `apply(job, result)` is
called for each job in the order given, one at a time. A job whose peer is lost, silent or caught lying goes back to the
queue for the others; the peer is dropped or banned. One that is unfit for its job is neither, and whether it is asked
again is for `peers` to say.

The lowest open job goes to an idle peer, as `staff` ranks them. None is given out that is `window` or more ahead of
what has been applied, nor one for which `holding` sees no room beside what other downloads of the client take. The job
that all wait for is let in all the same, as soon as it is this download's turn (`room`).

A job that was with one peer for `steal_after`, and for twice as long as such jobs take now, is overdue: an idle peer is
asked for it too, the first result counts, and the other fetch is cancelled. The job that all wait for comes first,
before any that is open; the others follow when none is open any more. Who was asked earlier and lost has been outrun.
Where everything takes long nothing is overdue for long, so a slow line is not filled with the same things twice. Two at
one job may both be slow, and bring something now and then, so that neither is silent: for the job that all wait for one
peer more is asked after each `FURTHER` seconds.

Peers that were silent come back, and new ones come. So a download ends when one job met `PERSISTENCE` silences and
every peer that is there had its turn: what is asked for may not be there any more, because the peers have gone over to
another branch, and only a walk from the headers can tell. When some peer has hinted at another tip, one silence is
enough.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from statistics import median
from typing import Generic, TypeVar

import attrs
import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.engine.errors import FailureKind, PeerGone, Unfit
from phasegate.engine.holding import Holding
from phasegate.engine.peers import Peer
from phasegate.engine.room import Share
from phasegate.engine.staff import Staff
from phasegate.engine.work import Work, unwrapped
from phasegate.p2p.addresses import Address

J = TypeVar("J")
R = TypeVar("R")
Choice = Sequence[Peer] | Callable[[], Sequence[Peer]]

RECENT = 16
"""Results from which it is told how long the next ones will take."""
RACERS = 2
"""Peers that may be at the same job, unless all wait for it."""
FURTHER = 60.0
"""Seconds after which a further peer is asked for that."""
PERSISTENCE = 4
"""Silences that one job may meet while nobody hints at another tip."""


async def in_order(
    work: Work,
    peers: Choice,
    jobs: Sequence[J],
    fetch: Callable[[Peer, J], Awaitable[R]],
    apply: Callable[[J, R], Awaitable[None]],
    *,
    per_peer: int,
    size: Callable[[R], int] | None = None,
    expected: int = 0,
) -> None:
    """Do all `jobs`.

    Args:
        work: the workbench.
        peers: who may be asked; a function is asked again whenever the pool has changed, so that newcomers join, and
            when a peer was unfit, whom it must leave out then.
        jobs: in the order in which they are to be applied.
        fetch: brings one verified result; may raise PeerGone, PeerMisbehaved or Unfit.
        apply: stores one result.
        per_peer: jobs under way to one peer.
        size: the bytes that a result takes in memory; without it they are not counted.
        expected: the bytes that a result may take, as long as there is none; 0: nobody knows.

    Raises:
        Failure: no peer of `peers` is left and jobs are not done, or too many were silent; or `peers` raised it at the
            first call.
    """
    choose = peers if callable(peers) else lambda: peers
    with unwrapped():
        async with trio.open_nursery() as nursery:
            held = Holding(work.limits.hold_bytes, size, expected)
            line = _Line(work, Staff(work, choose, per_peer), jobs, fetch, nursery, held)
            if callable(peers):
                nursery.start_soon(line.follow)
            with work.ledger.room.shared_by(line.share):
                for index, job in enumerate(jobs):
                    await apply(job, await line.result(index))
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _Fetch:
    """One peer at one job."""

    peer: Peer
    index: int
    began: float
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class _Line(Generic[J, R]):
    """The jobs of one download: open, under way, or waiting for their turn to be applied."""

    def __init__(
        self,
        work: Work,
        staff: Staff,
        jobs: Sequence[J],
        fetch: Callable[[Peer, J], Awaitable[R]],
        nursery: trio.Nursery,
        held: Holding[R],
    ) -> None:
        self._work = work
        self._staff = staff
        self._jobs = jobs
        self._fetch = fetch
        self._nursery = nursery
        self._held = held
        self._room = work.ledger.room
        self._open = list(range(len(jobs)))
        self._under_way: dict[int, list[_Fetch]] = {}
        self._results: dict[int, R] = {}
        self._head = 0
        self._silent: dict[int, list[Address]] = {}
        self._hopeless = False
        self._taken = -1
        self._times: deque[float] = deque(maxlen=RECENT)
        self._usual = 0.0
        self._moved = trio.Event()
        self.share = Share(self._takes, self._look_again)

    async def result(self, index: int) -> R:
        """The result of the job at `index`, all before it having been applied."""
        self._head = index
        self._held.applied()
        self._room.end_turn(self.share)
        self._hand_out()
        while index not in self._results:
            if self._hopeless or not (self._under_way or self._room.waits(self.share)):
                raise self._work.no_peer()
            moved = self._moved
            with trio.move_on_at(self._next_race()):
                await moved.wait()
            self._hand_out()
        self._taken = index
        self._held.take(index)
        return self._results.pop(index)

    def _takes(self) -> int:
        return self._held.takes(self._fetches())

    def _fetches(self) -> int:
        return sum(map(len, self._under_way.values()))

    def _look_again(self) -> None:
        self._hand_out()
        self._stir()

    async def follow(self) -> None:
        """Take in the peers that come, until cancelled."""
        while True:
            await self._work.pool.changed()
            self._staff.look_again()
            self._look_again()

    def _hand_out(self) -> None:
        """Give idle peers what there is to do."""
        while (choice := self._choice()) is not None:
            self._start(*choice)

    def _choice(self) -> tuple[Peer, int] | None:
        """Who does what next; None when nobody can, or nothing has to be done."""
        if idle := self._staff.idle():
            for index in self._wanted():
                racing = [fetch.peer for fetch in self._under_way.get(index, ())]
                for peer in idle:
                    if peer not in racing:
                        return peer, index
        return None

    def _wanted(self) -> Iterator[int]:
        """What could be given to a peer now, the most urgent first."""
        room, share = self._room, self.share
        has_room = self._held.has_room(self._fetches(), room.taken_beside(share))
        if self._is_overdue(self._head) and (has_room or room.may_exceed(share)):
            yield self._head
        within = self._head + (self._work.limits.window if has_room else 1)
        if self._open and self._open[0] < within and (has_room or room.may_exceed(share)):
            yield self._open[0]
        if has_room:
            yield from filter(self._is_overdue, sorted(self._under_way))

    def _is_in_vain(self, index: int) -> bool:
        """Whether so many were silent that what the job at `index` asks for may not be there any more."""
        silent = self._silent.get(index, ())
        if self._work.live.tip_hint:
            return bool(silent)
        asked = len(silent) >= PERSISTENCE
        return asked and all(peer.address in silent for peer in self._work.pool.ready)

    def _is_done(self, index: int) -> bool:
        return index <= self._taken or index in self._results

    def _is_overdue(self, index: int) -> bool:
        return self._may_race(index) and self._due(index) <= trio.current_time()

    def _may_race(self, index: int) -> bool:
        most = math.inf if index == self._head else RACERS
        return 0 < len(self._under_way.get(index, ())) < most and not self._is_done(index)

    def _due(self, index: int) -> float:
        """When the job at `index`, which is under way, is overdue."""
        racers = self._under_way[index]
        wait = self._work.limits.steal_after if len(racers) < RACERS else FURTHER
        return racers[-1].began + max(wait, 2 * self._usual)

    def _next_race(self) -> float:
        """When the next job will be overdue; those that are already wait for a peer."""
        times = [self._due(index) for index in self._under_way if self._may_race(index)]
        return min([time for time in times if time > trio.current_time()], default=math.inf)

    def _start(self, peer: Peer, index: int) -> None:
        if self._open and self._open[0] == index:
            heapq.heappop(self._open)
        fetch = _Fetch(peer, index, trio.current_time())
        self._under_way.setdefault(index, []).append(fetch)
        self._staff.load[peer] += 1
        self._nursery.start_soon(self._do, fetch)

    async def _do(self, fetch: _Fetch) -> None:
        try:
            with suppress(PeerMisbehaved), fetch.scope, self._work.blame(fetch.peer):
                result = await self._fetch(fetch.peer, self._jobs[fetch.index])
                if not self._is_done(fetch.index):
                    self._put(fetch, result)
        except PeerGone as gone:
            if gone.kind is FailureKind.PEER_SILENT and not self._is_done(fetch.index):
                self._silent.setdefault(fetch.index, []).append(fetch.peer.address)
                self._hopeless = self._hopeless or self._is_in_vain(fetch.index)
        except Unfit:
            self._staff.look_again()
        self._end(fetch)

    def _put(self, fetch: _Fetch, result: R) -> None:
        """The first result of a job: whoever else is at it need not go on."""
        self._results[fetch.index] = result
        self._held.put(fetch.index, result)
        self._times.append(trio.current_time() - fetch.began)
        self._usual = median(self._times)
        self._staff.did(fetch.peer)
        for other in self._under_way[fetch.index]:
            if other is not fetch:
                other.scope.cancel()
            if other.began < fetch.began:
                self._staff.lost_race(other.peer)

    def _end(self, fetch: _Fetch) -> None:
        self._staff.load[fetch.peer] -= 1
        self._under_way[fetch.index].remove(fetch)
        if not self._under_way[fetch.index]:
            del self._under_way[fetch.index]
            if not self._is_done(fetch.index):
                heapq.heappush(self._open, fetch.index)
        self._look_again()
        self._room.given_back(self.share)

    def _stir(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
