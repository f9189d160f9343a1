"""The seams through which everything uncertain reaches the engine, and nothing goes round them.

CPU work, the store's writer, the wall clock, the source of randomness and the stream opener are injected. In
production the first two use worker threads; in simulation they run inline, because a virtual clock with autojump does
not see threads. With Trio's scheduler seeded as well, one seed gives one run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import attrs
import trio

from phasegate.store import Change, Store, Watermarks

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Compute(Protocol):
    """Runs a pure, CPU-heavy function."""

    def __call__(self, fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> Awaitable[T]: ...


class OpenStream(Protocol):
    """Opens a byte stream to a host and port; raises OSError when that cannot be had."""

    def __call__(self, host: str, port: int, /) -> Awaitable[trio.abc.Stream]: ...


async def compute_in_thread(fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> T:
    """Run `fn(*args)` in a worker thread; the caller gets its result even when cancelled meanwhile."""
    return await trio.to_thread.run_sync(fn, *args)


async def compute_inline(fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> T:
    """Run `fn(*args)` here and now, with a checkpoint before it."""
    await trio.lowlevel.checkpoint()
    return fn(*args)


async def open_tcp(host: str, port: int, /) -> trio.abc.Stream:
    """A TCP stream, by whichever address of `host` answers first."""
    return await trio.open_tcp_stream(host, port)


@attrs.frozen
class Seams:
    """The five seams.

    Args:
        compute: runs CPU-heavy pure functions.
        write: runs the store's commits.
        now: the wall clock, in seconds since 1970.
        random: nonces, jitter and choices.
        open_stream: connects to a peer.
    """

    compute: Compute = compute_in_thread
    write: Compute = compute_in_thread
    now: Callable[[], float] = time.time
    random: random.Random = attrs.field(factory=random.SystemRandom)
    open_stream: OpenStream = open_tcp


def inline_seams(seed: int, open_stream: OpenStream = open_tcp, now: Callable[[], float] = time.time) -> Seams:
    """Seams that use no thread, so that a virtual clock sees all work, with randomness from `seed`."""
    return Seams(compute_inline, compute_inline, now, random.Random(seed), open_stream)


class Writer:
    """The one writer of the store: commits one batch at a time and keeps the receipt.

    A batch handed over is never withdrawn: the commit is shielded, and its receipt is applied before the caller sees
    any cancellation. `marks` is therefore always the database's own truth as of the last commit.
    """

    def __init__(self, store: Store, write: Compute) -> None:
        self.store = store
        self._write = write
        self._turn = trio.Lock()
        self.marks: Watermarks = store.marks
        self.on_receipt: Callable[[Watermarks, Watermarks], None] = lambda _before, _after: None
        """Called with the marks before and after each commit that moved them."""

    @property
    def idle(self) -> bool:
        """Whether no commit is under way."""
        return not self._turn.locked()

    async def commit(self, changes: Sequence[Change]) -> Watermarks:
        """Apply `changes` in one transaction, all or none, and return the new watermarks.

        Raises:
            StoreError: the transaction was refused; nothing of it is stored.
        """
        return await self.commit_fresh(lambda: changes)

    async def commit_fresh(self, make: Callable[[], Sequence[Change]]) -> Watermarks:
        """As `commit`, of changes that are made when it is their turn, so that they fit what was committed before."""
        async with self._turn:
            before, changes = self.marks, make()
            with trio.CancelScope(shield=True):
                self.marks = await self._write(self.store.commit, changes)
            if self.marks != before:
                self.on_receipt(before, self.marks)
        return self.marks

    async def reload(self) -> None:
        """Take the watermarks from the database again."""
        async with self._turn:
            with trio.CancelScope(shield=True):
                self.marks = await self._write(self.store.read_marks)
