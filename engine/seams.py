"""The seams through which everything uncertain reaches the engine, and nothing goes round them.

CPU work, the store's writer, the wall clock, the source of randomness, the stream opener and the look-up of names are
injected. In production the first two and the last use worker threads; in simulation the work runs inline and no name is
known, because a virtual clock with autojump does not see threads. With Trio's scheduler seeded as well, one seed gives
one run. The disk is a seam too, by name: SQLite finds under it what reads and writes its files.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import attrs
import trio

from phasegate.p2p.addresses import Address
from phasegate.p2p.discovery import Resolve, is_hidden
from phasegate.p2p.proxy import OpenStream, through_proxy
from phasegate.store import Change, Store, StoreFailed, Watermarks

__all__ = [
    "Compute",
    "OpenStream",
    "Resolve",
    "Seams",
    "Writer",
    "compute_in_thread",
    "compute_inline",
    "inline_seams",
    "open_tcp",
    "proxied",
    "refuse_names",
    "resolve_names",
    "write_in_thread",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Compute(Protocol):
    """Runs a pure, CPU-heavy function."""

    def __call__(self, fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> Awaitable[T]: ...


_hands = trio.lowlevel.RunVar[trio.CapacityLimiter]("hands")


async def compute_in_thread(fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> T:
    """Run `fn(*args)` in a worker thread; the caller gets its result even when cancelled meanwhile.

    One thread more than there are cores works at a time, first come first served: more would hold more in memory, and
    take turns with each other and with who has to store what is there already.
    """
    try:
        hands = _hands.get()
    except LookupError:
        _hands.set(hands := trio.CapacityLimiter((os.cpu_count() or 1) + 1))
    return await trio.to_thread.run_sync(fn, *args, limiter=hands)


async def write_in_thread(fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> T:
    """As `compute_in_thread`, waiting for nobody."""
    return await trio.to_thread.run_sync(fn, *args)


async def compute_inline(fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> T:
    """Run `fn(*args)` here and now, with a checkpoint before it."""
    await trio.lowlevel.checkpoint()
    return fn(*args)


async def open_tcp(host: str, port: int, /) -> trio.abc.Stream:
    """A TCP stream, by whichever address of `host` answers first; a hidden service is not even looked up."""
    if is_hidden(host):
        await trio.lowlevel.checkpoint()
        raise OSError(f"{host}:{port} is reached through a proxy only")
    return await trio.open_tcp_stream(host, port)


async def resolve_names(host: str, port: int, /) -> Sequence[str]:
    """All numeric hosts of a name, IPv4 and IPv6, as the system's resolver gives them."""
    try:
        answers = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except UnicodeError as unfit:
        raise OSError(f"{host!r} cannot be looked up") from unfit
    return [str(place[0]) for *_, place in answers]


async def refuse_names(host: str, _port: int, /) -> Sequence[str]:
    """No name is known here."""
    await trio.lowlevel.checkpoint()
    raise OSError(f"no names are looked up here, {host} neither")


async def _leave_names(_host: str, _port: int, /) -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    raise OSError("names are resolved by the proxy")


@attrs.frozen
class Seams:
    """The seven seams.

    Args:
        compute: runs CPU-heavy pure functions.
        write: runs the store's commits.
        now: the wall clock, in seconds since 1970.
        random: nonces, jitter and choices.
        open_stream: connects to a peer.
        resolve: looks a name up, such as a DNS seed.
        vfs: the name of a registered SQLite VFS, below every database that is opened; None for the system's own.
    """

    compute: Compute = compute_in_thread
    write: Compute = write_in_thread
    now: Callable[[], float] = time.time
    random: random.Random = attrs.field(factory=random.SystemRandom)
    open_stream: OpenStream = open_tcp
    resolve: Resolve = resolve_names
    vfs: str | None = None


def inline_seams(
    seed: int,
    open_stream: OpenStream = open_tcp,
    now: Callable[[], float] = time.time,
    *,
    resolve: Resolve = refuse_names,
    vfs: str | None = None,
) -> Seams:
    """Seams that use no thread, so that a virtual clock sees all work, with randomness from `seed`."""
    return Seams(compute_inline, compute_inline, now, random.Random(seed), open_stream, resolve, vfs)


def proxied(seams: Seams, proxy: Address) -> Seams:
    """The same seams behind a SOCKS5 proxy: every connection goes through it, and nothing is looked up here."""
    return attrs.evolve(seams, open_stream=through_proxy(proxy, random=seams.random), resolve=_leave_names)


class Writer:
    """The one writer of the store: commits one batch at a time and keeps the receipt.

    A batch handed over is never withdrawn: the commit is shielded, and its receipt is applied before the caller sees
    any cancellation. `marks` is therefore always the database's own truth as of the last commit.
    """

    def __init__(self, store: Store, write: Compute) -> None:
        self.store = store
        self._write = write
        self._turn = trio.Lock()
        self._in_doubt = False
        self.marks: Watermarks = store.marks
        self.on_receipt: Callable[[Watermarks, Watermarks], None] = lambda _before, _after: None
        """Called with the marks before and after each commit that moved them."""
        self.alone: Callable[[Sequence[Change]], AbstractAsyncContextManager[None]] | None = None
        """Entered while the changes are committed that `commit` is given, where phases run beside each other."""

    @property
    def idle(self) -> bool:
        """Whether no commit is under way."""
        return not self._turn.locked()

    async def commit(self, changes: Sequence[Change]) -> Watermarks:
        """Apply `changes` in one transaction, all or none, and return the new watermarks.

        Raises:
            StoreError: the transaction was refused; nothing of it is stored.
        """
        if self.alone is None:
            return await self.commit_fresh(lambda: changes)
        async with self.alone(changes):
            return await self.commit_fresh(lambda: changes)

    async def commit_fresh(self, make: Callable[[], Sequence[Change]]) -> Watermarks:
        """As `commit`, of changes that are made when it is their turn, so that they fit what was committed before."""
        async with self._turn:
            before, changes = self.marks, make()
            with trio.CancelScope(shield=True):
                if self._in_doubt:
                    await self._settle()
                self._in_doubt = True
                self.marks = await self._write(self.store.commit, changes)
                self._in_doubt = False
            if self.marks != before:
                self.on_receipt(before, self.marks)
        return self.marks

    async def _settle(self) -> None:
        """A commit ended in an error: it may have landed all the same, which an empty one tells.

        Raises:
            StoreFailed: it did, so the changes that are to follow were made for a store as it is no more.
        """
        self.marks, before = await self._write(self.store.commit, ()), self.marks
        self._in_doubt = False
        if self.marks != before:
            self.on_receipt(before, self.marks)
            raise StoreFailed("a commit that seemed to fail had landed: what follows it is made anew")

    async def reload(self) -> None:
        """Take the watermarks from the database again."""
        async with self._turn:
            with trio.CancelScope(shield=True):
                self.marks = await self._write(self.store.read_marks)
