"""The simulated disk keeps what it promises, and a store on it never shows anything but a state that was committed."""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import AddWatch, Change, SetMasternodes, Store, StoreFailed
from phasegate.verification.disk import Fault, SimulatedDisk
from phasegate.verification.sectors import SECTOR, Unsynced, sectors, torn
from tests.store.conftest import FakeChain
from tests.verification.stored_lives import DEADLY, Life, random_batches, some_batches


@pytest.fixture(scope="module")
def chain() -> FakeChain:
    """A chain for all tests."""
    return FakeChain(6001)


@pytest.fixture(scope="module")
def life(chain: FakeChain, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A short sync and its states."""
    return Life.undisturbed(tmp_path_factory.mktemp("undisturbed"), some_batches(chain))


@pytest.fixture
def disk() -> Iterator[SimulatedDisk]:
    with SimulatedDisk(random.Random(7)) as simulated:
        yield simulated


def descriptors() -> int:
    """How many file descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def end_of(disk: SimulatedDisk, fault: Fault) -> None:
    """What an armed deadly fault does, now."""
    disk.kill() if fault is Fault.KILL else disk.cut_power()


# -- the store on it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", Fault)
def test_whatever_strikes_at_any_operation_a_batch_stands_or_does_not(
    tmp_path: Path, disk: SimulatedDisk, life: Life, fault: Fault
) -> None:
    """Opening, commits, folding the log at each close: the file then holds a committed state, and goes on from it."""
    struck = 0
    for after in (*range(1, 40, 3), *range(40, 100_000, 37)):
        place = tmp_path / str(after)
        disk.arm(fault, after)
        stands, may_stand = life.live(place, disk)
        reached = disk.injected[fault] > struck
        struck = disk.injected[fault]
        disk.disarm()
        disk.revive()
        found = life.found(place, disk)
        assert found <= may_stand
        assert found >= stands or fault is Fault.POWER_CUT
        assert life.live(place, disk, found) == (len(life.batches),) * 2
        assert life.found(place, disk) == len(life.batches)
        if not reached:
            break
    assert struck > (4 if fault is Fault.FAILED_SYNC else 15)
    assert +disk.injected == Counter({fault: struck})


@pytest.mark.parametrize("seed", range(24))
def test_random_batches_meet_a_random_fault_again_and_again(tmp_path: Path, chain: FakeChain, seed: int) -> None:
    """Each time the file holds a prefix of what was committed: all of it, but for a power cut, and no mixture."""
    rng = random.Random(seed)
    life = Life.undisturbed(tmp_path / "undisturbed", random_batches(chain, rng, 12))
    found = 0
    with SimulatedDisk(rng) as disk:
        for _ in range(12):
            fault, lasting = rng.choice(list(Fault)), rng.choice((1, 1, 3, 1000))
            disk.arm(fault, rng.randint(1, 120), lasting=lasting)
            stands, may_stand = life.live(tmp_path / "struck", disk, found, rests=rng.randint(1, 12))
            disk.disarm()
            disk.revive()
            found = life.found(tmp_path / "struck", disk)
            assert found <= may_stand
            assert found >= stands or fault is Fault.POWER_CUT
        assert life.live(tmp_path / "struck", disk, found) == (len(life.batches),) * 2
        assert life.found(tmp_path / "struck", disk) == len(life.batches)


@pytest.fixture(scope="module")
def big(chain: FakeChain) -> SetMasternodes:
    """What is too big for the log, so that its commit folds it in at once."""
    return SetMasternodes(1, chain.hash_at(1), random.Random(1).randbytes(10_000_000))


@pytest.fixture(scope="module")
def operations_of(chain: FakeChain, big: SetMasternodes, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """How many operations the commit of `big` takes until the log is folded in, and in all."""
    place = tmp_path_factory.mktemp("operations")
    last = operations(place / "undisturbed", chain, [big])
    return operations(place / "not folded", chain, [big], Fault.FAILED_SYNC), last


@pytest.mark.parametrize("fault", Fault)
def test_folding_ten_megabytes_of_log_meets_a_fault(
    tmp_path: Path,
    disk: SimulatedDisk,
    chain: FakeChain,
    big: SetMasternodes,
    operations_of: tuple[int, int],
    fault: Fault,
) -> None:
    """Frames, the sync of the log, pages of the file, its truncation and its sync: a torn page is mended from the log.

    The batch stands before the folding begins.
    """
    folding, last = operations_of
    assert 2000 < folding < last - 1000
    tried = (1000, *range(folding - 1, folding + 2), folding + 600, *range(last - 2, last + 1))
    for number, after in enumerate(tried):
        place = tmp_path / str(number)
        store = filled(place, disk, chain)
        disk.arm(fault, after)
        with suppress(StoreFailed):
            store.commit([big])
        assert disk.injected[fault] == number + 1
        disk.disarm()
        if fault in DEADLY:
            disk.revive()
            store.close()
            store = Store.open(place, SIMNET, vfs=disk.vfs)
        assert store.check() == ()
        stood_before = fault is Fault.FAILED_SYNC or after >= folding
        assert (store.masternode_state() is not None) == stood_before or (fault in DEADLY and after <= folding)
        if store.marks.tip == 0:
            assert fault is Fault.POWER_CUT
            store.commit([chain.append(1, 5)])
        store.commit([big])
        store.close()
        with closing(Store.open(place, SIMNET)) as again:
            assert (again.masternode_state(), again.check()) == (big.state, ())


def operations(place: Path, chain: FakeChain, batch: list[Change], fault: Fault | None = None) -> int:
    """How many operations the commit of `batch` takes, when the first one that can meets `fault`."""
    with SimulatedDisk(random.Random(1)) as disk, closing(filled(place, disk, chain)) as store:
        before = disk.operations
        if fault is not None:
            disk.arm(fault, 1)
        store.commit(batch)
        return disk.operations - before


def filled(place: Path, disk: SimulatedDisk, chain: FakeChain) -> Store:
    """An open store with six blocks."""
    store = Store.open(place, SIMNET, vfs=disk.vfs)
    store.commit([chain.append(1, 5)])
    return store


def test_a_power_cut_takes_back_what_was_not_synced(tmp_path: Path, chain: FakeChain) -> None:
    """Commits are lost, as `synchronous=NORMAL` says, from none to all since the log was folded, and none before."""
    left = Counter[int]()
    for seed in range(40):
        with SimulatedDisk(random.Random(seed)) as disk:
            store = Store.open(tmp_path / str(seed), SIMNET, vfs=disk.vfs)
            store.commit([chain.append(1, 5)])
            store.close()
            store = Store.open(tmp_path / str(seed), SIMNET, vfs=disk.vfs)
            for height in range(6, 12):
                store.commit([chain.append(height, 1)])
            disk.cut_power()
            disk.revive()
            with closing(Store.open(tmp_path / str(seed), SIMNET, vfs=disk.vfs)) as again:
                left[again.marks.tip] += 1
            with suppress(StoreFailed):
                store.close()
    assert {5, 11} < set(left) <= set(range(5, 12))


def test_a_kill_loses_nothing_and_the_dead_see_and_change_nothing(
    tmp_path: Path, disk: SimulatedDisk, chain: FakeChain
) -> None:
    """Old connections can neither read, from memory neither, nor write, nor keep anybody out, whenever they close."""
    dead = Store.open(tmp_path, SIMNET, vfs=disk.vfs)
    dead.commit([chain.append(1, 50)])
    assert dead.header(7) == chain.header(7)
    disk.kill()
    assert disk.dead
    for use in (lambda: dead.header(7), dead.read_marks, lambda: Store.open(tmp_path, SIMNET, vfs=disk.vfs)):
        with pytest.raises(StoreFailed):
            use()
    disk.revive()
    alive = Store.open(tmp_path, SIMNET, vfs=disk.vfs)
    for use in (lambda: dead.header(7), dead.read_marks, lambda: dead.commit([AddWatch(((b"a", ""),))])):
        with pytest.raises(StoreFailed):
            use()
    alive.commit([chain.append(51, 10)])
    dead.close()
    alive.commit([chain.append(61, 10)])
    assert (alive.marks.tip, alive.marks.watch_items, alive.check()) == (70, 0, ())
    alive.close()
    with closing(Store.open(tmp_path, SIMNET)) as again:
        assert again.headers(1, 70) == chain.headers(1, 70)


def test_a_kill_in_the_middle_of_a_read_and_of_a_transaction(
    tmp_path: Path, disk: SimulatedDisk, chain: FakeChain
) -> None:
    """A snapshot and a transaction that are open: their locks hold up nobody afterwards."""
    dead = Store.open(tmp_path, SIMNET, vfs=disk.vfs)
    dead.commit([chain.append(1, 50)])
    database = dead._database
    with suppress(StoreFailed), database.snapshot() as reading, database.transaction() as writing:
        reading.run("SELECT count(*) FROM tail")
        writing.run("DELETE FROM tail")
        disk.kill()
        disk.revive()
        with closing(Store.open(tmp_path, SIMNET, vfs=disk.vfs)) as alive:
            alive.commit([chain.append(51, 10)])
    with suppress(StoreFailed):
        dead.close()
    with closing(Store.open(tmp_path, SIMNET)) as again:
        assert (again.marks.tip, again.check()) == (60, ())


@pytest.mark.parametrize("lives", [50, pytest.param(200, marks=pytest.mark.soak)])  # what is left over, each leaves
@pytest.mark.parametrize("closing_first", [True, False])
def test_many_kills_leave_nothing_behind(tmp_path: Path, chain: FakeChain, closing_first: bool, lives: int) -> None:
    """No file, no descriptor and no VFS is left over, whether the dead are closed before the next open or after it."""
    vfs_before = set(apsw.vfs_names())
    with SimulatedDisk(random.Random(3)) as disk:
        Store.open(tmp_path, SIMNET, vfs=disk.vfs).close()
        before = descriptors()
        for life in range(lives):
            store = Store.open(tmp_path, SIMNET, vfs=disk.vfs)
            store.commit([chain.append(store.marks.tip + 1, 1)])
            end_of(disk, DEADLY[life % 2])
            disk.revive()
            if not closing_first:
                Store.open(tmp_path, SIMNET, vfs=disk.vfs).close()
            with suppress(StoreFailed):
                store.close()
        assert descriptors() == before
        assert disk.injected == Counter({Fault.KILL: lives // 2, Fault.POWER_CUT: lives // 2})
        assert disk.vfs in apsw.vfs_names()
    assert set(apsw.vfs_names()) == vfs_before
    Store.open(tmp_path, SIMNET).close()
    assert {path.name for path in tmp_path.iterdir()} == {"simnet.sqlite", "simnet.sqlite.lock"}


# -- the disk by itself ---------------------------------------------------------------------------------------------


def test_one_seed_is_one_run(tmp_path: Path, chain: FakeChain) -> None:
    """The same dice tear the same write and lose the same sectors."""
    contents = []
    for run in range(2):
        with SimulatedDisk(random.Random(5)) as disk:
            store = Store.open(tmp_path / str(run), SIMNET, vfs=disk.vfs)
            store.commit([chain.append(1, 5)])
            disk.arm(Fault.POWER_CUT, 7)
            with suppress(StoreFailed):
                store.commit([chain.append(6, 500)])
            disk.revive()
            files = sorted((tmp_path / str(run)).glob("*.sqlite*"))
            assert {path.suffix for path in files} >= {".sqlite", ".sqlite-wal"}
            salted = b"".join(path.read_bytes() for path in files if path.suffix == ".sqlite")
            contents.append((disk.operations, salted, [(path.name, path.stat().st_size) for path in files]))
            with suppress(StoreFailed):
                store.close()
    assert contents[0] == contents[1]


def test_a_fault_lasts_as_long_as_it_is_armed_and_is_counted(tmp_path: Path, disk: SimulatedDisk) -> None:
    """`after` counts from now, `lasting` operations fail, and what never happened is not counted."""
    store = Store.open(tmp_path, SIMNET, vfs=disk.vfs)
    begun = disk.operations
    disk.arm(Fault.IO_ERROR, 2, lasting=3)
    disk.arm(Fault.FAILED_SYNC, 1)
    for _ in range(3):
        with pytest.raises(StoreFailed, match=r"simnet\.sqlite"):
            store.commit([AddWatch(((b"a", ""),))])
    assert disk.operations - begun == 4
    assert disk.injected == Counter({Fault.IO_ERROR: 3})
    disk.disarm()
    store.commit([AddWatch(((b"a", ""),))])
    store.close()


def test_who_leaves_a_disk_with_open_files_is_not_left_without_it(tmp_path: Path, chain: FakeChain) -> None:
    """A connection that outlives its disk closes without harm."""
    with SimulatedDisk(random.Random(1)) as disk:
        store = Store.open(tmp_path, SIMNET, vfs=disk.vfs)
    del disk
    gc.collect()
    store.commit([chain.append(1, 5)])
    store.close()
    with closing(Store.open(tmp_path, SIMNET)) as again:
        assert again.marks.tip == 5


def test_sectors_are_those_that_are_touched() -> None:
    """From the first byte's to the last byte's."""
    assert list(sectors(0, 0)) == []
    assert list(sectors(0, 1)) == [0]
    assert list(sectors(511, 2)) == [0, 1]
    assert list(sectors(512, 512)) == [1]


def test_a_torn_write_ends_at_the_border_of_a_sector_or_is_whole() -> None:
    """Never in the middle of a sector, never more than was written."""
    rng = random.Random(2)
    ends = {torn(1000, 3000, rng) for _ in range(2000)}
    assert {0, 24, 3000} < ends
    assert all((1000 + end) % SECTOR == 0 for end in ends - {0, 3000})


def test_a_cut_keeps_what_was_synced_and_any_part_of_the_rest() -> None:
    """Each unsynced sector is the old one or the new one, and all combinations occur; synced ones stay."""
    old, new = b"o" * 4 * SECTOR, b"o" * SECTOR + b"n" * 2 * SECTOR + b"o" * SECTOR
    file = Unsynced(len(old))
    file.changing(sectors(SECTOR, 2 * SECTOR), lambda amount, offset: old[offset : offset + amount])
    found = {file.cut(new, random.Random(seed)) for seed in range(100)}
    assert found == {
        b"o" * SECTOR + first * SECTOR + second * SECTOR + b"o" * SECTOR
        for first in (b"o", b"n")
        for second in (b"o", b"n")
    }
    file.synced(len(new))
    assert {file.cut(new, random.Random(seed)) for seed in range(20)} == {new}


def test_a_cut_undoes_growth_and_truncation_in_part() -> None:
    """A file that grew may be short or have holes; one that was cut off may have its end back."""
    grown = Unsynced(0)
    grown.changing(sectors(0, 1000), lambda *_: b"")
    assert {len(grown.cut(b"n" * 1000, random.Random(seed))) for seed in range(100)} == {0, 512, 1000}
    assert any(b"\0" in grown.cut(b"n" * 1000, random.Random(seed)) for seed in range(100))
    short = Unsynced(1000)
    short.changing(sectors(100, 900), lambda amount, _: b"o" * amount)
    found = {short.cut(b"n" * 100, random.Random(seed)) for seed in range(200)}
    assert b"n" * 100 in found
    assert b"o" * 1000 in found
