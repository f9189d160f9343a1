"""The seams: work in threads or inline, and a writer that never withdraws what was handed over."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import pytest
import trio
import trio.testing

from phasegate.consensus.params import SIMNET
from phasegate.engine.seams import (
    Seams,
    Writer,
    compute_in_thread,
    compute_inline,
    inline_seams,
    open_tcp,
    proxied,
    resolve_names,
    write_in_thread,
)
from phasegate.p2p.addresses import Address
from phasegate.store import AddWatch, AppendJournal, Change, RemoveWatch, Store, StoreFailed, Watermarks

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ROW = AppendJournal(1.0, "idle", "headers", "start", "", "{}")


def watch(number: int) -> AddWatch:
    return AddWatch(((bytes([0x51, number]), ""),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of simnet."""
    store = Store.open(tmp_path, SIMNET)
    yield store
    store.close()


class SlowDisk:
    """A `write` seam that takes a second each time, and fails while `broken`."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0
        self.broken = False

    async def __call__(self, fn: Callable[[Unpack[Ts]], T], /, *args: *Ts) -> T:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await trio.sleep(1)
            if self.broken:
                raise StoreFailed("disk full")
            return fn(*args)
        finally:
            self.under_way -= 1


@pytest.mark.trio
async def test_a_commit_returns_its_receipt(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """The new watermarks, which are the writer's and the database's from then on."""
    writer = Writer(store, compute_inline)
    marks = await writer.commit([watch(1), watch(2)])
    assert marks.watch_items == 2
    assert writer.marks == marks == store.read_marks()


@pytest.mark.trio
async def test_a_cancelled_commit_still_applies_its_receipt(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """What was handed over is stored and known to be stored, before the caller sees the cancellation."""
    writer, start = Writer(store, SlowDisk()), trio.current_time()
    with trio.move_on_after(0.5) as scope:
        await writer.commit([watch(1)])
        await trio.sleep(10)
    assert scope.cancelled_caught
    assert trio.current_time() - start == 1.0
    assert writer.marks.watch_items == 1
    assert writer.marks == store.read_marks()


@pytest.mark.trio
async def test_a_commit_that_waits_for_its_turn_can_be_withdrawn(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """Cancelled before it is handed over, nothing of it is stored."""
    writer = Writer(store, SlowDisk())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.commit, [watch(1)])
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await writer.commit([watch(2)])
    assert [item.script for item in store.watch_items()] == [bytes([0x51, 1])]


@pytest.mark.trio
async def test_commits_run_one_at_a_time_in_order(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """However many tasks hand over; the receipt of each builds on the one before."""
    disk = SlowDisk()
    writer = Writer(store, disk)
    receipts: list[tuple[int, int]] = []
    writer.on_receipt = lambda before, after: receipts.append((before.watch_items, after.watch_items))
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(writer.commit, [watch(number)])
        await trio.testing.wait_all_tasks_blocked()
        assert not writer.idle
    assert (disk.most, writer.idle) == (1, True)
    assert receipts == [(n, n + 1) for n in range(5)]


@pytest.mark.trio
async def test_receipts_that_move_nothing_are_not_told(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """A journal row is no progress, and neither is forgetting what is not there."""
    writer = Writer(store, compute_inline)
    told: list[Watermarks] = []
    writer.on_receipt = lambda _, after: told.append(after)
    await writer.commit([ROW, RemoveWatch((b"\x52",))])
    assert told == []
    await writer.commit([watch(1)])
    assert told == [writer.marks]


@pytest.mark.trio
async def test_a_refused_commit_changes_nothing(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """The error reaches the caller, the marks stay, and the next commit is taken (field-bugs 21)."""
    disk = SlowDisk()
    writer = Writer(store, disk)
    before, told = writer.marks, list[Watermarks]()
    writer.on_receipt = lambda _, after: told.append(after)
    disk.broken = True
    with pytest.raises(StoreFailed, match="disk full"):
        await writer.commit([watch(1)])
    assert (writer.marks, writer.idle, told) == (before, True, [])
    disk.broken = False
    assert (await writer.commit([watch(1)])).watch_items == 1


@pytest.mark.trio
async def test_reload_takes_the_marks_from_the_database(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the writer believed before."""
    writer = Writer(store, compute_inline)
    store.commit([watch(1)])
    assert writer.marks.watch_items == 0
    await writer.reload()
    assert writer.marks == store.read_marks()
    assert writer.marks.watch_items == 1


@pytest.mark.trio
async def test_an_opened_store_gives_the_marks_of_its_last_run(tmp_path: Path) -> None:
    """The writer begins with what the database says."""
    with_one = Store.open(tmp_path, SIMNET)
    with_one.commit([watch(1)])
    with_one.close()
    again = Store.open(tmp_path, SIMNET)
    try:
        assert Writer(again, compute_inline).marks.watch_items == 1
    finally:
        again.close()


@pytest.mark.trio
async def test_threads_are_used_in_production_and_not_in_simulation() -> None:
    """The inline seams run in the caller's thread, so that a virtual clock sees all work."""
    here = threading.get_ident()
    assert await compute_in_thread(threading.get_ident) != here
    assert await compute_inline(threading.get_ident) == here
    assert await write_in_thread(threading.get_ident) != here
    assert (Seams().compute, Seams().write) == (compute_in_thread, write_in_thread)
    assert (inline_seams(1).compute, inline_seams(1).write) == (compute_inline, compute_inline)


@pytest.mark.trio
async def test_few_compute_at_once_and_the_writer_waits_for_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than there are cores; what is to be stored has a thread of its own."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    lock, begun, go, at_once, most = threading.Lock(), threading.Semaphore(0), threading.Event(), 0, 0

    def work() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        begun.release()
        go.wait(10)
        with lock:
            at_once -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(compute_in_thread, work)
        for _ in range(3):
            await trio.to_thread.run_sync(begun.acquire)
        assert await write_in_thread(lambda: at_once) == 3
        go.set()
    assert (at_once, most) == (0, 3)


@pytest.mark.trio
async def test_a_cancelled_computation_finishes_first() -> None:
    """A thread is never abandoned: its result, or its effect, is there when the cancellation is."""
    started, go, done = threading.Event(), threading.Event(), list[int]()

    def work() -> None:
        started.set()
        go.wait(10)
        done.append(1)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(compute_in_thread, work)
            await trio.to_thread.run_sync(started.wait)
            scope.cancel()
            go.set()
    assert done == [1]


@pytest.mark.trio
async def test_inline_computation_can_be_cancelled_before_it_begins() -> None:
    """It has a checkpoint, as everything that is awaited has."""
    done: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await compute_inline(done.append, 1)
    assert scope.cancelled_caught
    assert done == []


def test_inline_seams_repeat_themselves() -> None:
    """One seed, one sequence; another seed, another."""
    first, again, other = ([inline_seams(seed).random.random() for _ in range(1)] for seed in (1, 1, 2))
    assert first == again != other
    assert isinstance(Seams().random, random.SystemRandom)


@pytest.mark.trio
async def test_an_address_where_nothing_listens_is_an_os_error() -> None:
    """The world's fault, so that the pool tries it again later."""
    listeners: Sequence[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    stream = await open_tcp("127.0.0.1", port)
    await stream.aclose()
    for listener in listeners:
        await listener.aclose()
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await open_tcp("127.0.0.1", port)


def test_changes_of_a_commit_are_a_plain_sequence() -> None:
    """What activities hand over is data: nothing in it can act later."""
    batch: Sequence[Change] = (watch(1), ROW)
    assert all(not callable(change) for change in batch)


class Resolver(trio.abc.HostnameResolver):
    """The system's resolver, replaced: it knows one name and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked.append((host, port))
        if host != b"seed.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kinds = (socket.AF_INET6, ("2001:db8::1", port, 0, 0)), (socket.AF_INET, ("203.0.113.9", port))
        return [(kind, socket.SOCK_STREAM, 6, "", place) for kind, place in kinds]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
async def resolver() -> Resolver:
    """The resolver of this run of Trio."""
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


@pytest.mark.trio
async def test_names_have_all_their_addresses(resolver: Resolver) -> None:
    """IPv4 and IPv6, as numbers; a name that nobody knows, or that is none, is an OSError."""
    assert await resolve_names("seed.example", 9999) == ["2001:db8::1", "203.0.113.9"]
    with pytest.raises(OSError, match="Name or service not known"):
        await resolve_names("dead.example", 9999)
    with pytest.raises(OSError, match="cannot be looked up"):
        await resolve_names("x" * 64 + ".example", 9999)
    assert resolver.asked == [(b"seed.example", 9999), (b"dead.example", 9999)]


@pytest.mark.trio
async def test_simulated_seams_know_no_names(resolver: Resolver) -> None:
    """Unless the simulation says what they are; the system is not asked, for it would take a thread."""
    with pytest.raises(OSError, match=r"seed\.example"):
        await inline_seams(1).resolve("seed.example", 9999)
    assert resolver.asked == []
    assert inline_seams(1, resolve=resolve_names).resolve is resolve_names is Seams().resolve


@pytest.mark.trio
@pytest.mark.parametrize("host", ["a.onion", "A.ONION.", f"{'a' * 52}.b32.i2p"])
async def test_hidden_services_are_never_looked_up(resolver: Resolver, host: str) -> None:
    """Without a proxy they cannot be reached, and a DNS query would tell the world who wanted to (RFC 7686)."""
    with pytest.raises(OSError, match="through a proxy only"):
        await open_tcp(host, 9999)
    assert resolver.asked == []


@pytest.mark.trio
async def test_behind_a_proxy_nothing_is_looked_up(resolver: Resolver) -> None:
    """Not a seed, and not a peer whose proxy cannot be reached; the other seams stay."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        before = inline_seams(1, resolve=resolve_names)
        behind = proxied(before, Address("127.0.0.1", unused.getsockname()[1]))
        with pytest.raises(OSError, match="names are resolved by the proxy"):
            await behind.resolve("seed.example", 9999)
        with pytest.raises(OSError, match=r"proxy 127\.0\.0\.1"):
            await behind.open_stream("seed.example", 9999)
    assert resolver.asked == []
    assert (behind.compute, behind.now, behind.random) == (before.compute, before.now, before.random)
