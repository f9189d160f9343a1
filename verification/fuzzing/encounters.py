"""One connection from beginning to end, without a store: a peer that says what a script says, and our side of it.

Our side is the engine's: the pool with its book and its bans, the ledger with an open desk, the locks that are fetched
on errands, the allowance for chatter, all on a virtual clock over a pipe in memory. Beside it a client asks some of the
questions that its phases would ask. Whatever happens, the encounter ends with a closed connection and a reason, all
queues stay within their bounds, and nothing is owed or remembered of a peer that is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import attrs
import trio
import trio.testing
from trio._core import _run as scheduler

from phasegate.engine.config import Config, Limits
from phasegate.engine.errors import PeerGone
from phasegate.engine.lock_fetch import fetch_locks
from phasegate.engine.lock_offers import MOST_OFFERS
from phasegate.engine.locks import Locks
from phasegate.engine.outgoing import MOST_BYTES, MOST_MESSAGES
from phasegate.engine.peers import Peer, PeerContext
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Desk, Ledger
from phasegate.engine.seams import inline_seams
from phasegate.p2p.addresses import Address
from phasegate.p2p.connection import PIECE
from phasegate.p2p.framing import HEAD_SIZE
from phasegate.p2p.messages import MAX_PAYLOAD, KnownMessage, Message
from phasegate.p2p.simnet.pipe import PipeEnd, pipe
from phasegate.verification.fuzzing.laws import held
from phasegate.verification.fuzzing.lean_peer import LeanPeer
from phasegate.verification.fuzzing.samples import sample_chain

if TYPE_CHECKING:
    from phasegate.engine.work import Work

START = 1_800_000_000.0
ADDRESS = Address("192.0.2.7", 29899)
LIMITS = Limits(chatter_rate=4.0, chatter_burst=24, chatter_bytes=2048.0, chatter_burst_bytes=16_384)
"""Small allowances, so that short inputs can overdraw them."""
BEFORE_THE_END = 0.5
"""Seconds that the peer stays on the line after its last word, so that what comes of it is seen."""


@attrs.frozen
class Question:
    """What a phase asks of a peer: how often it is answered by what, and which answers fit."""

    message: Message
    reply: type[KnownMessage]
    fits: Callable[[Any], bool]
    expected: int = 1


@attrs.frozen
class Script:
    """What happens: what the peer sends (bytes) with its pauses (seconds), what we ask, and whether we fetch locks."""

    steps: Sequence[bytes | float]
    questions: Sequence[Question] = ()
    fetches: bool = False


@attrs.frozen
class Ended:
    """How an encounter ended: why, the fault if there was one, and whether the peer was ever ready."""

    why: str
    fault: str
    was_ready: bool


@attrs.frozen
class _Bench:
    """As much of a `Work` as fetching locks looks at."""

    locks: Locks
    limits: Limits
    ledger: Ledger


class WatchedPool(Pool):
    """A pool of one peer that looks at the bounds with every message."""

    faults: list[str]

    @property
    def context(self) -> PeerContext:
        """What the peer shares with the pool."""
        taken, joined, left = self._watched, self._joined, self._left
        seams, height = self._seams, sample_chain().height
        return PeerContext(sample_chain().network, LIMITS, seams, lambda: height, taken, joined, left, True, True)

    def _watched(self, peer: Peer, message: Message) -> bool:
        if isinstance(peer, LeanPeer):
            check_bounds(peer)
        return self._take_message(peer, message)

    def _left(self, peer: Peer) -> None:
        if peer.fault is not None:
            self.faults.append(peer.fault.fault.code)
        super()._left(peer)


def check_bounds(peer: LeanPeer) -> None:
    """Hold the queues of a connection to their bounds.

    Raises:
        LawBroken: one is beyond.
    """
    messages, size = peer.waiting
    held(messages <= MOST_MESSAGES and size <= MOST_BYTES + MAX_PAYLOAD, f"{messages} messages, {size} bytes wait")
    held(peer.buffered <= HEAD_SIZE + MAX_PAYLOAD + PIECE, f"{peer.buffered} bytes are buffered")


@cache
def _config() -> Config:
    return Config(sample_chain().network, peers=(ADDRESS,), limits=LIMITS)


def meet(script: Script, kind: type[Peer] = LeanPeer) -> Ended:
    """Live through one encounter.

    Args:
        script: what happens.
        kind: the peer's class; `Peer` for one that is executed by its chart.

    Raises:
        LawBroken: something is out of bounds, or is left over.
    """
    with _one_order():
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(_meet, script, kind, clock=clock)


@contextmanager
def _one_order() -> Iterator[None]:
    """Trio's scheduler runs tasks in one order for one script."""
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r  # noqa: SLF001 - Trio offers no other way
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r = True, random.Random(0)  # type: ignore[misc]  # noqa: SLF001
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r = before  # type: ignore[misc]  # noqa: SLF001


async def _meet(script: Script, kind: type[Peer]) -> Ended:
    near, far = pipe()

    async def open_stream(_host: str, _port: int, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    seams = inline_seams(0, open_stream, lambda: START + trio.current_time())
    ledger, locks = Ledger(), Locks()
    chain = sample_chain()
    pool = WatchedPool(
        _config(),
        seams,
        ledger,
        known=lambda block: chain.height_of(block) is not None,
        our_height=lambda: chain.height,
        on_hint=lambda _peer: None,
        on_change=lambda: None,
        warn=lambda _code, _line: None,
        locks=locks,
    )
    pool.faults = []
    peer = kind(ADDRESS, pool.context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_live, peer, nursery.cancel_scope)
        if script.questions:
            nursery.start_soon(_ask, pool, ledger, script.questions)
        if script.fetches:
            nursery.start_soon(fetch_locks, cast("Work", _Bench(locks, LIMITS, ledger)), lambda: False)
        await _speak(far, script.steps)
    _check_end(peer, ledger, locks)
    return Ended(peer.gone, next(iter(pool.faults), ""), peer.was_ready)


async def _live(peer: Peer, everything: trio.CancelScope) -> None:
    await peer.run()
    everything.cancel()


async def _speak(far: PipeEnd, steps: Sequence[bytes | float]) -> None:
    """Say all of it and hang up; a client that has gone before misses the rest."""
    with suppress(trio.BrokenResourceError):
        for step in steps:
            if isinstance(step, bytes):
                await far.send_all(step)
            else:
                await trio.sleep(step)
        await trio.sleep(BEFORE_THE_END)
    await far.aclose()
    await trio.sleep_forever()


async def _ask(pool: Pool, ledger: Ledger, questions: Sequence[Question]) -> None:
    """Ask all of it at once, as a phase does."""
    peer = await pool.wait_ready()
    with ledger.desk("headers", 8, LIMITS.idle_timeout) as desk:
        async with trio.open_nursery() as nursery:
            for question in questions[1:]:
                nursery.start_soon(_put, desk, peer, question)
            await _put(desk, peer, questions[0])


async def _put(desk: Desk, peer: Peer, question: Question) -> None:
    with suppress(PeerGone):
        answers = await desk.ask_many(peer, question.message, question.reply, question.fits, question.expected)
        held(len(answers) == question.expected, f"{len(answers)} answers to {question.message.command}")


def _check_end(peer: Peer, ledger: Ledger, locks: Locks) -> None:
    held(peer.state == "closed" and bool(peer.gone), f"the peer is {peer.state}, for the reason {peer.gone!r}")
    held(not ledger.owed(peer) and not ledger.strays(peer), "something is remembered of a peer that is gone")
    held(not ledger.outstanding, "a request outlives its desk")
    held(len(locks.offers) <= MOST_OFFERS, f"{len(locks.offers)} locks are on offer")
