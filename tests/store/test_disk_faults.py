"""A disk that fails at any operation: the batch stands or does not, memory agrees with the file, and life goes on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import attrs
import pytest

from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    AppendJournal,
    BroadcastRow,
    Change,
    ForgetBroadcast,
    PeerRow,
    PutBroadcast,
    PutPeers,
    RecordInstantLock,
    RollBack,
    SetMasternodes,
    SetQuorumSet,
    Store,
    StoreFailed,
    Watermarks,
)
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from tests.faulty_disk import Disk
    from tests.store.conftest import FakeChain

AT_MOST = 3000


def prepared(place: Path, trunk: FakeChain, disk: Disk) -> Store:
    store = Store.open(place, SIMNET, vfs=disk.vfs)
    store.commit([trunk.append(1, 4000), trunk.append_filter_headers(0, 1000), AddWatch(((b"old", ""),))])
    return store


def batch(trunk: FakeChain, branch: FakeChain) -> list[Change]:
    """Seals, unseals and rolls back: 700 kB of changes."""
    state = SetMasternodes(2000, trunk.hash_at(2000), bytes(100_000))
    active = SetQuorumSet(2000, trunk.hash_at(2000), tuple(commitment(100, trunk.hash_at(h)) for h in range(90)))
    lock = RecordInstantLock(b"\1" * 32, (OutPoint(b"\2" * 32, 0),), b"lock", 100, trunk.hash_at(7))
    return [state, active, lock, trunk.roll_back(3500), branch.append(3501, 3000), AddWatch(((b"new", ""),))]


def tried(store: Store, changes: list[Change]) -> tuple[bool, Watermarks]:
    """Whether the commit says that it stands, and what memory says then."""
    try:
        store.commit(changes)
    except StoreFailed:
        return False, store.marks
    return True, store.marks


@pytest.fixture
def outcomes(tmp_path: Path, trunk: FakeChain, branch: FakeChain) -> tuple[str, str]:
    """The digests without and with the batch."""
    store = Store.open(tmp_path / "outcomes", SIMNET)
    store.commit([trunk.append(1, 4000), trunk.append_filter_headers(0, 1000), AddWatch(((b"old", ""),))])
    before = store.digest()
    store.commit(batch(trunk, branch))
    after = store.digest()
    store.close()
    return before, after


def steps(first: int = 1) -> list[int]:
    """Each of the first operations, then ever wider strides."""
    return [*range(first, 40), *range(40, 130, 9), *range(130, AT_MOST, 100)]


def test_a_passing_fault_stores_nothing_and_the_next_try_succeeds(
    tmp_path: Path, disk: Disk, trunk: FakeChain, branch: FakeChain, outcomes: tuple[str, str]
) -> None:
    for fail_at in steps():
        store = prepared(tmp_path / str(fail_at), trunk, disk)
        disk.arm(fail_at)
        stands, marks = tried(store, batch(trunk, branch))
        reached = disk.failed
        disk.disarm()
        assert store.read_marks() == marks
        assert store.digest() == outcomes[stands]
        assert (store.quorum_set(2000) is not None) == (store.instantlock(b"\1" * 32) is not None) == stands
        assert store.height_of(branch.hash_at(3501)) == (3501 if stands else None)
        assert store.height_of(trunk.hash_at(3501)) == (None if stands else 3501)
        if not stands:
            store.commit(batch(trunk, branch))
        assert store.digest() == outcomes[True]
        store.close()
        if not reached:
            assert fail_at > 30
            return
    pytest.fail("the batch has more writes than were tried")


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError], ids=["ENOSPC", "EIO"])
def test_the_same_store_takes_the_same_batch_once_the_disk_works_again(
    tmp_path: Path, disk: Disk, trunk: FakeChain, branch: FakeChain, error: type[apsw.Error]
) -> None:
    """Scenario 21: no mark runs ahead of a failed write, and a batch that failed twice is stored by the third try."""
    first = everything(trunk, branch)
    second: list[Change] = [branch.append(6501, 3), ForgetBroadcast(b"\4" * 32)]
    undisturbed = prepared(tmp_path / "undisturbed", trunk, disk)
    before, after_first, after_second = (view_after(undisturbed, changes) for changes in ([], first, second))
    undisturbed.close()
    for refused, fail_at in enumerate(steps()[::3]):
        place = tmp_path / str(fail_at)
        store = prepared(place, trunk, disk)
        disk.arm(fail_at, dead=True, error=error)
        if tried(store, first)[0]:
            disk.disarm()
            store.close()
            assert refused > 10
            return
        assert tried(store, first) == (False, before[0])
        assert disk.failed > 1
        disk.disarm()
        assert (view(store), store.height_of(branch.hash_at(3501))) == (before, None)
        assert view_after(store, first) == after_first
        assert view_after(store, second) == after_second
        assert (store.height_of(branch.hash_at(6503)), store.check()) == (6503, ())
        store.close()
        store = Store.open(place, SIMNET)
        assert (store.marks, view(store)) == (after_second[0], after_second)
        store.close()
    pytest.fail("the batch has more writes than were tried")


def everything(trunk: FakeChain, branch: FakeChain) -> list[Change]:
    """A batch in which all kinds of data change."""
    peer = PeerRow("192.0.2.1", 9999, "dns", 1, 1.0, 0.0, 0.0, 0, in_tried=False)
    pending = BroadcastRow(b"\4" * 32, b"transaction", 1.0, 0.0, "new")
    journal = AppendJournal(1.0, "a", "b", "advance", "", "{}")
    return [*batch(trunk, branch), PutPeers((peer, attrs.evolve(peer, port=1))), PutBroadcast(pending), journal]


def view(store: Store) -> tuple[Watermarks, str, object, object, object]:
    """All that a store says, read from its file."""
    remembered = store.peers(), store.broadcasts()
    locked = store.quorum_set(2000), store.instantlock(b"\1" * 32)
    return store.read_marks(), store.digest(), locked, remembered, store.journal()


def view_after(store: Store, changes: list[Change]) -> tuple[Watermarks, str, object, object, object]:
    """The same after a commit, whose receipt has to be what the file says."""
    assert store.commit(changes) == store.marks == store.read_marks()
    return view(store)


def test_after_a_dead_disk_the_file_holds_the_batch_or_nothing_of_it(
    tmp_path: Path, disk: Disk, trunk: FakeChain, branch: FakeChain, outcomes: tuple[str, str]
) -> None:
    """The write that fails is torn in its middle, and nothing works after it: what a crash leaves behind."""
    for fail_at in steps():
        place = tmp_path / str(fail_at)
        store = prepared(place, trunk, disk)
        disk.arm(fail_at, dead=True)
        stands, _ = tried(store, batch(trunk, branch))
        reached = disk.failed
        with suppress(StoreFailed):
            store.close()
        disk.disarm()
        store = Store.open(place, SIMNET)
        assert store.digest() == outcomes[stands]
        assert (store.quorum_set(2000) is not None) == (store.instantlock(b"\1" * 32) is not None) == stands
        assert store.check() == ()
        store.close()
        if not reached:
            return
    pytest.fail("the batch has more writes than were tried")


def test_a_fault_while_the_log_is_folded_in_loses_nothing(tmp_path: Path, disk: Disk, trunk: FakeChain) -> None:
    """Ten megabytes in one batch make SQLite fold its log into the file at once; the batch stands before that."""
    big = SetMasternodes(1, trunk.hash_at(1), bytes(10_000_000))
    for fail_at in (1000, 1200, 1250, 1300, 1500, 2000, 2400):
        place = tmp_path / str(fail_at)
        store = prepared(place, trunk, disk)
        disk.arm(fail_at)
        stands, marks = tried(store, [big])
        assert disk.count >= fail_at
        disk.disarm()
        assert store.read_marks() == marks
        assert (store.masternode_state() is not None) == stands
        store.commit([big])
        store.close()
        store = Store.open(place, SIMNET)
        assert store.masternode_state() == big.state
        store.close()


def test_an_open_on_a_failing_disk_is_refused_and_leaves_no_half_store(tmp_path: Path, disk: Disk) -> None:
    for fail_at in range(1, 200):
        place = tmp_path / str(fail_at)
        disk.arm(fail_at)
        with suppress(StoreFailed):
            Store.open(place, SIMNET, vfs=disk.vfs).close()
        reached = disk.failed
        disk.disarm()
        store = Store.open(place, SIMNET)
        assert store.header(0) == SIMNET.genesis
        store.close()
        if not reached:
            return
    pytest.fail("opening has more writes than were tried")


def test_a_commit_whose_answer_was_lost_is_recognised(
    tmp_path: Path, disk: Disk, trunk: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction stands but its end is reported as a failure: the commit counter in the file tells."""
    store = prepared(tmp_path, trunk, disk)
    run = type(store._database._writer).run

    def lose_the_answer(self: object, sql: str, *values: object) -> object:
        answer = run(self, sql, *values)  # type: ignore[arg-type]
        if sql == "COMMIT":
            raise StoreFailed("the answer was lost")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(type(store._database._writer), "run", lose_the_answer)
        marks = store.commit([trunk.append(4001, 5)])
    assert marks == store.marks == store.read_marks()
    assert (marks.tip, store.height_of(trunk.hash_at(4003))) == (4005, 4003)
    store.close()


def test_a_store_in_doubt_settles_before_it_writes_again(
    tmp_path: Path, disk: Disk, trunk: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost and the file could not be read either: the next commit first learns what stands."""
    store = prepared(tmp_path, trunk, disk)
    session = type(store._database._writer)
    run = session.run

    def lose_the_disk(self: object, sql: str, *values: object) -> object:
        answer = run(self, sql, *values)  # type: ignore[arg-type]
        if sql == "COMMIT":
            patch.setattr(session, "run", refuse)
            raise StoreFailed("the answer was lost")
        return answer

    def refuse(self: object, sql: str, *values: object) -> object:
        raise StoreFailed("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(session, "run", lose_the_disk)
        with pytest.raises(StoreFailed, match="the disk is away"):
            store.commit([trunk.append(4001, 5)])
    assert store.marks.tip == 4000
    with pytest.raises(ValueError, match="cannot roll back"):
        store.commit([RollBack(5000, 1)])
    assert (store.marks.tip, store.height_of(trunk.hash_at(4003))) == (4005, 4003)
    assert store.commit([trunk.append(4006, 1)]).tip == 4006
    store.close()


def test_what_could_not_be_rolled_back_at_once_is_rolled_back_later(
    tmp_path: Path, disk: Disk, trunk: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepared(tmp_path, trunk, disk)

    def refuse(_: object) -> None:
        raise StoreFailed("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(store._database._writer), "undo", refuse)
        with pytest.raises(StoreFailed):
            store.commit([trunk.append(4001, 5), RollBack(9000, 1)])
    assert store.commit([AddWatch(((b"new", ""),))]).tip == 4000
    assert store.read_marks() == store.marks
    store.close()
