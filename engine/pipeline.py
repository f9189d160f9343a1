"""Download from several peers at once, apply in order, hold only a window in memory.

`fetch(peer, job)` brings and verifies the result of one job, whichever order they come in. `apply(job, result)` is
called for each job in the order given, one at a time. A job whose peer is lost, silent or caught lying goes back to the
queue for the others; the peer is dropped or banned. An idle peer gets the lowest job that is open, and none that is
`window` or more ahead of what has been applied, so that memory stays bounded however fast the peers are. Of several
idle peers the first in the given order is preferred: a download of few jobs is the first peer's.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.engine.errors import PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.work import Work, unwrapped

J = TypeVar("J")
R = TypeVar("R")


async def in_order(
    work: Work,
    peers: Sequence[Peer],
    jobs: Sequence[J],
    fetch: Callable[[Peer, J], Awaitable[R]],
    apply: Callable[[J, R], Awaitable[None]],
    *,
    per_peer: int,
) -> None:
    """Do all `jobs`.

    Args:
        work: the workbench.
        peers: who may be asked.
        jobs: in the order in which they are to be applied.
        fetch: brings one verified result; may raise PeerGone or PeerMisbehaved.
        apply: stores one result.
        per_peer: jobs under way to one peer.

    Raises:
        Failure: no peer of `peers` is left and jobs are not done.
    """
    with unwrapped():
        async with trio.open_nursery() as nursery:
            line = _Line(work, jobs, fetch, nursery, [peer for _ in range(per_peer) for peer in peers])
            for index, job in enumerate(jobs):
                await apply(job, await line.result(index))


class _Line(Generic[J, R]):
    """The jobs of one download: open, under way, or waiting for their turn to be applied."""

    def __init__(
        self,
        work: Work,
        jobs: Sequence[J],
        fetch: Callable[[Peer, J], Awaitable[R]],
        nursery: trio.Nursery,
        slots: Sequence[Peer],
    ) -> None:
        self._work = work
        self._jobs = jobs
        self._fetch = fetch
        self._nursery = nursery
        self._rank = {peer: rank for rank, peer in enumerate(dict.fromkeys(slots))}
        self._idle = list(slots)
        self._busy = 0
        self._open = list(range(len(jobs)))
        self._results: dict[int, R] = {}
        self._applied = 0
        self._moved = trio.Event()

    async def result(self, index: int) -> R:
        """The result of the job at `index`, all before it having been applied."""
        self._applied = index
        self._hand_out()
        while index not in self._results:
            if not self._busy:
                raise self._work.no_peer()
            await self._moved.wait()
        return self._results.pop(index)

    def _hand_out(self) -> None:
        """Give open jobs, lowest first, to idle peers, first in rank first, as far as the window allows."""
        self._idle = sorted((peer for peer in self._idle if not peer.gone), key=self._rank.__getitem__)
        while self._idle and self._open and self._open[0] < self._applied + self._work.limits.window:
            self._busy += 1
            self._nursery.start_soon(self._do, self._idle.pop(0), heapq.heappop(self._open))

    async def _do(self, peer: Peer, index: int) -> None:
        try:
            with self._work.blame(peer):
                self._results[index] = await self._fetch(peer, self._jobs[index])
        except (PeerGone, PeerMisbehaved):
            heapq.heappush(self._open, index)
        self._busy -= 1
        self._idle.append(peer)
        self._hand_out()
        self._moved.set()
        self._moved = trio.Event()
