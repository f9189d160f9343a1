"""What is remembered of peers between runs: all of it, whatever the disk does meanwhile, and within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, Network
from phasegate.engine.config import Address, Config
from phasegate.engine.peer_memory import SAVED_EVERY, PeerMemory, acceptable
from phasegate.engine.peer_rows import MOST, PIECE, Backlog, Name, entry_of, record_of, row_of
from phasegate.engine.seams import Writer, compute_inline, inline_seams
from phasegate.p2p.address_book import Entry
from phasegate.p2p.addresses import Kind
from phasegate.p2p.reputation import Ban, Record
from phasegate.store import Change, ForgetPeers, ForgetReputation, PutPeers, PutReputation, Store, StoreFailed
from tests.peer_internet import FULL, LIE, START, at

SEAMS = inline_seams(3, now=lambda: START)


class Desk:
    """A store that can be closed and opened again, and whose disk can refuse."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits: list[Sequence[Change]] = []
        self.warnings: list[tuple[str, str]] = []
        self.refuses = False
        self.open()

    def open(self) -> PeerMemory:
        """Open the store, and a memory on it."""
        self.store = Store.open(self.path, MAINNET)
        writer = Writer(self.store, compute_inline)
        commit = writer.commit

        async def watched(changes: Sequence[Change]) -> object:
            if self.refuses:
                await trio.lowlevel.checkpoint()
                raise StoreFailed("database or disk is full")
            self.commits.append(changes)
            return await commit(changes)

        writer.commit = watched  # type: ignore[method-assign, assignment]
        self.memory = PeerMemory(Config(MAINNET), SEAMS, writer, lambda code, line: self.warnings.append((code, line)))
        return self.memory

    def reopen(self) -> PeerMemory:
        """As after a kill."""
        self.store.close()
        return self.open()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def book_of(memory: PeerMemory) -> tuple[Entry, ...]:
    return memory.book.dump()


@pytest.mark.trio
async def test_a_restart_forgets_nothing(desk: Desk) -> None:
    """Addresses with all that is known of them, the secret of their places, anchors, bans and scores."""
    onion = Address.of(Kind.TORV3, bytes(31) + b"\1", 9999)
    desk.memory.learn([(at(n), FULL | (n << 60)) for n in range(15)], "dns")
    desk.memory.learn([(onion, 0), (Address("2600::1", 1), 1)], "user")
    desk.memory.book.good(at(1), FULL, START)
    desk.memory.book.attempt(at(2), START)
    desk.memory.keep_anchors([at(1), onion])
    desk.memory.blame(at(3), LIE)
    await desk.memory.save()
    before, key = book_of(desk.memory), desk.store.peer_key()
    memory = desk.reopen()
    assert book_of(memory) == before
    assert (memory.anchors, desk.store.peer_key()) == ((at(1), onion), key)
    assert str(memory.banned(at(3))) == str(LIE)
    await memory.save()
    assert len(desk.commits) == 1, "nothing has changed since"


@pytest.mark.trio
async def test_what_is_forgotten_is_forgotten_on_disk(desk: Desk) -> None:
    """An address that left the book, and a ban that was lifted."""
    desk.memory.learn([(at(1), 0), (at(2), 0)], "dns")
    desk.memory.blame(at(3), LIE)
    await desk.memory.save()
    desk.memory.book.forget(at(1))
    desk.memory.reputation.unban(at(3).host)
    await desk.memory.save()
    memory = desk.reopen()
    assert [entry.address for entry in book_of(memory)] == [at(2)]
    assert memory.reputation.records == ()


@pytest.mark.trio
async def test_a_disk_that_refuses_loses_nothing_and_is_named_once(desk: Desk) -> None:
    """What waits is kept, the newest of each; when the disk takes it all is there, and the next trouble is told."""
    desk.refuses = True
    for n in range(20):
        desk.memory.learn([(at(n), 0)], "dns")
        desk.memory.book.attempt(at(0), START + n)
        desk.memory.keep_anchors([at(n), at(n + 1)])
        await desk.memory.save()
    assert len(desk.memory._left) == 20 + 2
    assert desk.warnings == [
        ("peers-not-stored", "what is known of peers could not be stored: database or disk is full")
    ]
    desk.refuses = False
    await desk.memory.save()
    before = book_of(desk.memory)
    assert len(desk.memory._left) == 0
    memory = desk.reopen()
    assert (book_of(memory), memory.anchors) == (before, (at(19), at(20)))
    desk.refuses = True
    memory.blame(at(5), LIE)
    await memory.save()
    assert len(desk.warnings) == 2


@pytest.mark.trio
async def test_a_ban_is_stored_at_once_and_hearsay_within_a_minute(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    """So that a kill loses no ban."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.memory.run)
        await trio.sleep(1)
        desk.memory.learn([(at(1), 0)], "dns")
        await trio.sleep(SAVED_EVERY - 2)
        assert desk.commits == []
        await trio.sleep(2)
        assert len(desk.commits) == 1
        desk.memory.blame(at(2), LIE)
        await trio.testing.wait_all_tasks_blocked()
        assert len(desk.commits) == 2
        await trio.sleep(3600)
        assert len(desk.commits) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_many_rows_are_written_in_pieces(desk: Desk) -> None:
    """So that no commit takes long; all of them arrive."""
    desk.memory.learn([(at(n % 9000, 1 + n // 9000), 0) for n in range(12_000)], "dns")
    count = len(desk.memory.book)
    await desk.memory.save()
    sizes = [len(change.rows) for changes in desk.commits for change in changes if isinstance(change, PutPeers)]
    assert max(sizes) == PIECE
    assert len(sizes) == -(-count // PIECE) > 1
    assert len(book_of(desk.reopen())) == count


@pytest.mark.trio
async def test_anchors_are_kept_while_too_few_are_there(desk: Desk) -> None:
    """When all peers but one are lost, the other anchor stays; when all are, both do."""
    desk.memory.keep_anchors([at(1), at(2)])
    desk.memory.keep_anchors([])
    assert desk.memory.anchors == (at(1), at(2))
    desk.memory.keep_anchors([at(2)])
    assert set(desk.memory.anchors) == {at(1), at(2)}
    desk.memory.keep_anchors([at(7)])
    assert desk.memory.anchors == (at(7), at(2))


@pytest.mark.trio
async def test_without_a_store_it_lasts_for_one_run() -> None:
    """And grows no backlog."""
    memory = PeerMemory(Config(MAINNET), SEAMS)
    memory.learn([(at(1), 0)], "dns")
    memory.blame(at(2), LIE)
    await memory.save()
    assert (len(memory.book), memory.banned(at(2)) is not None, len(memory._left)) == (1, True, 0)


@pytest.mark.parametrize(
    ("network", "host", "taken"),
    [
        (MAINNET, "11.0.0.1", True),
        (MAINNET, "127.0.0.1", False),
        (MAINNET, "seed.example", False),
        (REGTEST, "127.0.0.1", True),
        (REGTEST, "10.1.2.3", True),
        (REGTEST, "11.0.0.1", False),
        (SIMNET, "127.4.5.6", True),
        (SIMNET, "::1", True),
        (SIMNET, "10.1.2.3", False),
        (SIMNET, "11.0.0.1", False),
        (DEVNET, "10.1.2.3", True),
        (DEVNET, "11.0.0.1", True),
        (SIMNET, "seed.example", False),
    ],
)
def test_only_addresses_of_use_are_kept(network: Network, host: str, taken: bool) -> None:
    """On a public network what anybody can reach; names nowhere, for they are resolved, not gossiped."""
    assert acceptable(network)(Address(host, 9999)) is taken
    assert not acceptable(network)(Address(host, 22)) or network in (SIMNET, REGTEST)


names = st.integers(0, 5)
entries = st.builds(Entry, st.builds(at, names), st.just("dns"), services=st.integers(0, 2**64 - 1))


@given(entries)
def test_rows_hold_all_that_is_known(entry: Entry) -> None:
    """There and back again."""
    assert entry_of(row_of(entry)) == entry


def held(name: int, score: float) -> Record:
    """What is held against somebody."""
    return Record(at(name).host, 0, score, START, Ban(START, "x", ""))


@attrs.define
class Disk:
    """What a store keeps of peers, or should keep."""

    entries: dict[Name, Entry] = attrs.field(factory=dict)
    records: dict[Name, Record] = attrs.field(factory=dict)

    def apply(self, changes: Sequence[Change]) -> None:
        """As a store does, one after the other."""
        for change in changes:
            if isinstance(change, PutPeers):
                self.entries.update({(row.host, row.port): entry_of(row) for row in change.rows})
            elif isinstance(change, ForgetPeers):
                for name in change.addresses:
                    self.entries.pop(name, None)
            elif isinstance(change, PutReputation):
                self.records[change.row.host, change.row.port] = record_of(change.row)
            else:
                assert isinstance(change, ForgetReputation)
                self.records.pop((change.host, change.port), None)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), entries),
            st.tuples(st.just("forget"), st.builds(at, names)),
            st.tuples(st.just("blame"), st.builds(held, names, st.floats(1, 100))),
            st.tuples(st.just("pardon"), st.builds(at, names)),
            st.tuples(st.just("write"), st.booleans()),
        ),
        max_size=40,
    )
)
def test_the_newest_row_is_written_whatever_fails(steps: list[tuple[str, object]]) -> None:
    """Pieces that are written, or not, between changes of all kinds: in the end the disk has what was last known."""
    backlog, disk, known = Backlog(), Disk(), Disk()
    piece: Backlog | None = None
    for what, value in [*steps, ("write", True), ("write", True)]:
        if isinstance(value, Entry):
            known.entries[value.address.host, value.address.port] = value
            backlog.add_entries([value], [])
        elif isinstance(value, Record):
            known.records[value.host, value.port] = value
            backlog.add_records([value], [])
        elif isinstance(value, Address) and what == "forget":
            known.entries.pop((value.host, value.port), None)
            backlog.add_entries([], [value])
        elif isinstance(value, Address):
            known.records.pop((value.host, 0), None)
            backlog.add_records([], [(value.host, 0)])
        elif piece is None or not value:
            piece = backlog.piece()
        else:
            disk.apply(piece.changes())
            backlog.stored(piece)
            piece = None
    if len(backlog):
        last = backlog.piece()
        disk.apply(last.changes())
        backlog.stored(last)
    assert (disk, len(backlog)) == (known, 0)


def test_the_backlog_is_bounded() -> None:
    """Two hundred thousand addresses that come and go while the disk refuses."""
    backlog = Backlog()
    for start in range(0, 200_000, 20_000):
        gone = [Address(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1) for n in range(start, start + 20_000)]
        backlog.add_entries([], gone)
    assert len(backlog) == MOST
