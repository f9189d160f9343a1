"""Reads in one thread while another commits: each sees one committed state, whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phasegate.consensus.params import SIMNET
from phasegate.store import AddWatch, AppendJournal, Store

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain


class Writer(threading.Thread):
    """Runs `work` and keeps what it raised."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[Writer]:
    """`work` in another thread while the block runs."""
    writer = Writer(work)
    writer.start()
    try:
        yield writer
    finally:
        writer.join()
    assert writer.error is None


def test_reads_are_whole_while_another_thread_seals_and_rolls_back(
    store: Store, trunk: FakeChain, branch: FakeChain
) -> None:
    """Neither a range in the middle of sealing nor a fork is ever seen half done."""
    store.commit([trunk.append(1, 3950)])

    def work() -> None:
        for chain in (branch, trunk) * 4:
            store.commit([chain.roll_back(3500), chain.append(3501, 450)])
            for start in range(3951, 8500, 450):
                store.commit([chain.append(start, 450)])

    reads = 0
    with beside(work) as writer:
        while writer.is_alive():
            marks = store.read_marks()
            assert marks.tip_hash in (trunk.hash_at(marks.tip), branch.hash_at(marks.tip))
            assert store.headers(3300, 201) == trunk.headers(3300, 201)
            assert store.headers(3501, 450) in (trunk.headers(3501, 450), branch.headers(3501, 450))
            assert store.height_of(trunk.hash_at(2000)) == 2000
            reads += 1
    assert reads
    assert store.marks == store.read_marks()
    assert store.headers(0, store.marks.tip + 1) == trunk.headers(0, store.marks.tip + 1)


def test_a_read_does_not_wait_for_a_running_commit(store: Store, trunk: FakeChain) -> None:
    """The commit is held in its middle until the reads are done, which see the state before it."""
    read, applied = threading.Event(), threading.Event()

    class Held(list[AppendJournal]):
        def __iter__(self) -> Iterator[AppendJournal]:
            yield AppendJournal(1.0, "a", "b", "e", "r", "{}")
            applied.set()
            assert read.wait(60)

    def work() -> None:
        store.commit(Held())

    with beside(work):
        assert applied.wait(60)
        assert store.journal() == []
        assert store.header(0) == SIMNET.genesis
        read.set()
    assert len(store.journal()) == 1


def test_two_commits_at_once_are_done_one_after_the_other(store: Store) -> None:
    def work() -> None:
        for number in range(50):
            store.commit([AddWatch(((b"thread %d" % number, ""),))])

    with beside(work):
        for number in range(50):
            store.commit([AddWatch(((b"main %d" % number, ""),))])
    assert store.marks == store.read_marks()
    assert store.marks.watch_items == 100


def test_readers_are_kept_and_used_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path, SIMNET)
    for _ in range(20):
        store.read_marks()
    assert len(store._database._idle) == 1
    store.close()
