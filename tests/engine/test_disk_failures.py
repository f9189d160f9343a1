"""A disk that refuses: no crash and no loss; it is said, and the sync goes on by itself when the disk works again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine import lock_news, sync
from phasegate.engine.client import ClientFailed
from phasegate.engine.errors import leaves
from phasegate.engine.events import Transition
from phasegate.engine.opening import open_store
from phasegate.engine.phases import headers
from phasegate.store import (
    AppendJournal,
    Change,
    Store,
    StoreCorrupt,
    StoreError,
    StoreFailed,
    StoreLocked,
    Watermarks,
)
from tests.faulty_disk import Disk
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from phasegate.engine.work import Work
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

PHASES = ["headers", "mnlist", "cfheaders", "filters", "blocks"]
WALK = [*PHASES, "synced"]
DAY = 86_400.0
STORES = {
    "headers": "AppendHeaders",
    "mnlist": "SetMasternodes",
    "cfheaders": "AppendFilterHeaders",
    "filters": "PutFilters",
    "blocks": "RecordBlock",
}
"""What each phase stores."""


@attrs.define
class FullDisk:
    """Stands before `Store.commit` and refuses what `full` says; `refused` counts, `breaches` must stay empty."""

    commit: Callable[[Store, Sequence[Change]], Watermarks]
    full: Callable[[Sequence[Change]], bool] = lambda _: False
    refused: int = 0
    breaches: list[str] = attrs.field(factory=list)

    def before(self, store: Store, batch: Sequence[Change]) -> Watermarks:
        """The commit that the engine sees."""
        if self.full(batch):
            self.refused += 1
            if store.marks != store.read_marks():
                self.breaches.append(f"{store.marks} in memory, {store.read_marks()} on disk")
            raise StoreFailed("simnet.sqlite: database or disk is full")
        return self.commit(store, batch)

    def fill_at(self, phase: str) -> None:
        """Nothing goes onto the disk any more as soon as `phase` has something to store."""

        def full(batch: Sequence[Change]) -> bool:
            if STORES[phase] in {type(change).__name__ for change in batch}:
                self.full = lambda _: True
                return True
            return False

        self.full = full

    def clear(self) -> None:
        """There is room again."""
        self.full = lambda _: False


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FullDisk]:
    """A disk that a test may fill; what is in memory never was ahead of it."""
    full_disk = FullDisk(Store.commit)
    monkeypatch.setattr(Store, "commit", lambda store, batch: full_disk.before(store, batch))
    yield full_disk
    assert full_disk.breaches == []


@pytest.fixture(autouse=True)
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are judged beside the phases, and cost real time for each virtual second; they are no matter here."""

    async def judge_nothing(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(lock_news, "judge_locks", judge_nothing)


async def undisturbed(world: World, running: Start) -> str:
    """The digest of the same sync with a good disk."""
    config = attrs.evolve(world.config(1, watch=small_chain().watch), datadir=world.directory / "undisturbed")
    async with running(config) as run:
        await run.until("synced")
        digest: str = run.client.store.digest()
        return digest


def told(run: Run) -> list[Transition]:
    """The transitions told."""
    return [event for event in run.told if isinstance(event, Transition)]


async def assert_journal_is_what_was_told(run: Run) -> None:
    """Every transition stands in the database under the row id it was told with, in order."""
    await run.settled()
    rows = [(row.row_id, row.source, row.target, row.event, row.reason) for row in run.client.history()]
    assert rows == [(e.row_id, e.source, e.target, e.trigger, e.reason) for e in told(run)]


@pytest.mark.parametrize("phase", PHASES)
async def test_a_disk_that_is_full_for_a_moment_is_tried_again(
    world: World, running: Start, autojump_clock: MockClock, disk: FullDisk, phase: str
) -> None:
    """In every phase: back off, walk again, and end with the very store of an undisturbed sync."""
    expected = await undisturbed(world_with_a_node(world), running)
    disk.fill_at(phase)
    async with running(world.config(1, watch=small_chain().watch)) as run:
        await run.until("backoff")
        assert "disk" in run.client.status.reason
        await trio.sleep(1)
        disk.clear()
        await run.until("synced")
        at = PHASES.index(phase)
        assert run.path[: at + 2] == [*PHASES[: at + 1], "backoff"]
        assert set(run.path) == {*WALK, "backoff"}
        assert told(run)[at + 1].reason.startswith("disk-failed: the disk refuses: ")
        await assert_journal_is_what_was_told(run)
        assert run.client.store.digest() == expected
        assert not any(code.startswith("bad-") for code in run.warnings)


def world_with_a_node(world: World) -> World:
    world.add(small_chain(), 1)
    return world


@pytest.mark.parametrize("phase", PHASES)
async def test_21_a_disk_that_is_full_for_a_day_degrades_and_is_survived(
    world: World, running: Start, autojump_clock: MockClock, disk: FullDisk, phase: str
) -> None:
    """In every phase: visibly degraded for the disk's sake all day, and synced within a minute of its working again.

    Field bug 21: a write failed after its batch had left the queue, and the watermark had already moved.
    """
    expected = await undisturbed(world_with_a_node(world), running)
    disk.fill_at(phase)
    config = world.config(1, watch=small_chain().watch, limits={"tick": 20.0})  # the guards need not be asked so often
    async with running(config) as run:
        await run.until("degraded")
        tried, path, marks = disk.refused, run.path, run.client.status.marks
        await trio.sleep(DAY)
        assert run.client.status.state == "degraded"
        assert run.client.status.reason == "the disk refuses: simnet.sqlite: database or disk is full"
        assert (run.path, run.client.status.marks) == (path, marks)  # no churn, nothing claimed that is not stored
        assert 1000 < disk.refused - tried < 10_000  # looked after all the time, never in a hurry
        disk.clear()
        await run.until("synced", within=60)
        assert run.path == [*path, *WALK]
        assert path.count("backoff") == 5
        assert run.warnings.count("journal-waits") == 1
        await assert_journal_is_what_was_told(run)
        assert run.client.store.digest() == expected
    with closing(reopened(run)) as store:
        assert store.check() == ()


def reopened(run: Run) -> Store:
    """The store after its client has ended."""
    return open_store(run.client.config.datadir, run.client.config.network)[0]


async def test_a_disk_with_room_for_small_things_only_is_no_endless_retry(
    world: World, running: Start, autojump_clock: MockClock, disk: FullDisk
) -> None:
    """The journal still fits, the filters do not: degraded again and again, each time later, until there is room."""
    world.add(small_chain(), 1)
    disk.full = lambda batch: "PutFilters" in {type(change).__name__ for change in batch}
    async with running(world.config(1)) as run:
        await run.until("degraded")
        await trio.sleep(600)
        assert "synced" not in run.path
        assert run.path.count("backoff") == 5
        assert 600 / 31 < run.path.count("degraded") < 600 / 14
        disk.clear()
        await run.until("synced", within=60)
        assert run.warnings.count("journal-waits") == 0
        await assert_journal_is_what_was_told(run)


async def test_a_journal_that_cannot_be_written_holds_nothing_up(
    world: World, running: Start, autojump_clock: MockClock, disk: FullDisk
) -> None:
    """Transitions are told with the ids that they get later; nothing else is wrong, so nothing fails."""
    world.add(small_chain(), 1)
    disk.full = lambda batch: any(isinstance(change, AppendJournal) for change in batch)
    async with running(world.config(1)) as run:
        await run.until("synced")
        assert run.path == WALK
        assert run.client.history() == []
        assert run.warnings == ["journal-waits"]
        assert "disk is full" in run.said("journal-waits")
        disk.clear()
        await run.client.pause()
        await run.until("paused")
        await assert_journal_is_what_was_told(run)
        assert [event.row_id for event in told(run)] == list(range(1, len(WALK) + 2))


async def test_a_client_with_a_full_disk_is_stopped_at_once(
    world: World, running: Start, autojump_clock: MockClock, disk: FullDisk
) -> None:
    """Degraded or in the middle of a phase: `stop` waits for no disk, and what was committed is there afterwards."""
    world.add(small_chain(), 1)
    disk.fill_at("filters")
    async with running(world.config(1)) as run:
        await run.until("degraded")
        with trio.fail_after(2):
            await run.client.stop()
            await run.until("stopped")
    disk.clear()
    with closing(reopened(run)) as store:
        assert (store.marks.tip, store.marks.filter_headers, store.marks.filters) == (300, 300, -1)
        assert [row.target for row in store.journal()] == PHASES[:4]


@pytest.mark.parametrize("error", [StoreCorrupt("headers 5..9 are damaged"), StoreLocked("in use")], ids=type)
async def test_damage_is_no_full_disk(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    """What trying again cannot mend crashes the client as before, and keeps its error."""

    async def broken(work: Work) -> None:
        raise ExceptionGroup("two at once", [StoreFailed("full"), error])

    monkeypatch.setattr(sync, "download_masternodes", broken)
    world.add(small_chain(), 1)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(world.config(1)) as run:
            await run.until("failed")
    (failed,) = leaves(caught.value)
    assert isinstance(failed, ClientFailed)
    assert failed.__cause__ is not None
    assert error in leaves(failed.__cause__)
    assert run.path == ["headers", "mnlist", "failed"]


async def test_a_disk_that_fails_a_recovery_degrades(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`restarting` reads the watermarks again; if the disk does not give them, that is said, and tried again later."""
    world.add(small_chain(), 1)
    reads, read_marks, real = [], Store.read_marks, headers.download_headers

    def unreadable_at_first(store: Store) -> Watermarks:
        reads.append(store)
        if len(reads) == 1:
            raise StoreFailed("simnet.sqlite: disk I/O error")
        return read_marks(store)

    async def idle_until_then(work: Work) -> None:
        if reads:
            await real(work)

    monkeypatch.setattr(Store, "read_marks", unreadable_at_first)
    monkeypatch.setattr(sync, "download_headers", idle_until_then)
    async with running(attrs.evolve(world.config(1), check_facts=False)) as run:
        await run.until("synced")
        assert run.path[: 3 + len(WALK)] == ["headers", "restarting", "degraded", *WALK]
        assert "disk I/O error" in told(run)[2].reason


# -- SQLite's own errors, from a disk below it ----------------------------------------------------------------------


@pytest.mark.parametrize("fail_at", [1, 2, 5, 9, 17, 30, 45, 70, 100, 140])
async def test_a_disk_that_dies_in_the_middle_of_anything_loses_nothing(
    world: World, running: Start, autojump_clock: MockClock, faulty: Disk, fail_at: int
) -> None:
    """Whatever write is torn, with nothing written after it for ten minutes: the store ends as that of a good disk."""
    expected = await undisturbed(world_with_a_node(world), running)
    async with running(world.config(1, watch=small_chain().watch)) as run:
        faulty.arm(fail_at, dead=True)
        await trio.sleep(600)
        assert faulty.failed
        assert run.client.state == "degraded"
        assert "disk" in run.client.status.reason
        faulty.disarm()
        await run.until("synced", within=90)
        await assert_journal_is_what_was_told(run)
        assert run.client.store.digest() == expected
    with closing(reopened(run)) as store:
        assert store.check() == ()
