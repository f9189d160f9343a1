"""Downloads of integers from scripted peers: `in_order` with nothing but time in it."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import attrs
import trio
import trio.testing

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.params import SIMNET
from phasegate.engine.config import Address, Config, Limits
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.limits import MIB
from phasegate.engine.peers import Peer
from phasegate.engine.pipeline import in_order
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Ledger
from phasegate.engine.seams import Writer, inline_seams
from phasegate.engine.work import Live, Work

WINDOW = 4
HOLD = 32 * MIB
Serve = Callable[[int], Awaitable[None]]


class FakePeer(Peer):
    """A peer that does jobs as its script says: `serve(job)` waits, or raises what goes wrong.

    It `owes` an answer to each job that is taken from it, for ever; or else it gives that at once, too late.
    """

    def __init__(self, name: str, serve: Serve, *, owes: bool = True) -> None:
        self.name = name
        self.address = Address(name, 1)
        self.serve = serve
        self.gone = ""
        self.answers = 0
        self.jobs: list[int] = []
        self.under_way: list[int] = []
        self.owing = 0
        self.owes = owes

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    async def do(self, job: int) -> str:
        if self.gone:
            raise PeerGone(self.name, FailureKind.PEER_LOST, self.gone)
        self.jobs.append(job)
        self.under_way.append(job)
        try:
            await self.serve(job)
        except trio.Cancelled:
            self.owing += self.owes
            raise
        finally:
            self.under_way.remove(job)
        return f"result {job}"

    def lost(self) -> PeerGone:
        return PeerGone(self.name, FailureKind.PEER_LOST, "hung up")

    def silent(self) -> PeerGone:
        return PeerGone(self.name, FailureKind.PEER_SILENT, "no answer")


class FakePool(Pool):
    """A pool of fake peers that keeps who was dropped and who was banned."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.there = list(peers)
        self._changed = trio.Event()
        self.dropped: list[tuple[str, bool]] = []
        self.lied: list[str] = []

    @property
    def ready(self) -> list[Peer]:
        return self.there

    @property
    def hopeless(self) -> str:
        return "all banned" if self.lied and not self.there else ""

    @property
    def trouble(self) -> str:
        return "nobody there"

    def drop(self, peer: Peer, why: str, *, silent: bool = False) -> None:
        self.dropped.append((str(peer), silent))
        self._go(peer, why)

    def ban(self, peer: Peer, fault: PeerMisbehaved) -> None:
        self.lied.append(str(peer))
        self._go(peer, str(fault))

    def _go(self, peer: Peer, why: str) -> None:
        peer.gone = peer.gone or why
        if peer in self.there:
            self.there.remove(peer)

    def stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class FakeLedger(Ledger):
    """A ledger that knows what fake peers owe."""

    def owed(self, peer: Peer) -> int:
        assert isinstance(peer, FakePeer)
        return peer.owing


@attrs.define
class Download:
    """One run of `in_order` over integers, and what has been applied; `size`: what each result takes in memory.

    `racing` is the most peers that were at one job, `held` the most results, whole or not, that there were at once.
    """

    peers: Sequence[FakePeer]
    jobs: Sequence[int]
    per_peer: int = 2
    apply_time: float = 0.0
    window: int = WINDOW
    steal_after: float = math.inf
    size: int | None = None
    choose: Callable[[], Sequence[Peer]] | None = None
    applied: list[int] = attrs.field(factory=list)
    brought: set[int] = attrs.field(factory=set)
    ahead: int = 0
    racing: int = 0
    held: int = 0
    applying: bool = False
    live: Live = attrs.field(factory=Live)
    ledger: Ledger = attrs.field(factory=FakeLedger)
    pool: FakePool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pool = FakePool(self.peers)

    def work(self) -> Work:
        limits = Limits(window=self.window, steal_after=self.steal_after, hold_bytes=HOLD)
        config = Config(SIMNET, peers=(Address("a", 1),), datadir=Path("nowhere"), limits=limits)
        writer = cast(Writer, None)  # nothing is written here
        return Work(config, inline_seams(0), writer, self.pool, self.ledger, self.live, _unheard, _unheard)

    async def run(self) -> list[int]:
        """Run to the end, and return what was applied."""
        size = None if self.size is None else partial(_constant, self.size)
        peers, fetch, apply = self.choose or self.peers, self.fetch, self.apply
        await in_order(self.work(), peers, self.jobs, fetch, apply, per_peer=self.per_peer, size=size)
        return self.applied

    async def fetch(self, peer: Peer, job: int) -> str:
        assert isinstance(peer, FakePeer)
        at_work = [job, *[at for other in self.peers for at in other.under_way]]
        self.racing = max(self.racing, at_work.count(job))
        self.held = max(self.held, len(at_work) + len(self.brought))
        self.ahead = max(self.ahead, self.jobs.index(job) - len(self.applied))
        result = await peer.do(job)
        self.brought.add(job)
        return result

    async def apply(self, job: int, result: str) -> None:
        assert result == f"result {job}"
        assert not self.applying, "two jobs are applied at once"
        self.applying = True
        await trio.sleep(self.apply_time)
        self.applying = False
        self.applied.append(job)
        self.brought.discard(job)


def _unheard(*_: object) -> None:
    return


def _constant(size: int, _: str) -> int:
    return size


async def at_once(_: int) -> None:
    await trio.lowlevel.checkpoint()


def after(seconds: float) -> Serve:
    return lambda _: trio.sleep(seconds)


async def never(_: int) -> None:
    await trio.sleep_forever()


def shuffled(seed: int) -> Serve:
    """Takes a while for each job, a different one."""
    source = random.Random(seed)
    return lambda _: trio.sleep(source.uniform(0, 10))


def run(download: Download) -> list[int]:
    """The download under a virtual clock of its own."""
    return trio.run(download.run, clock=trio.testing.MockClock(autojump_threshold=0))
