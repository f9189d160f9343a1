"""The journal of transitions on a disk that refuses: rows wait, keep their order and their ids, and are bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.params import SIMNET
from phasegate.engine import journal
from phasegate.engine.journal import MOST_WAITING, Journal, tell_missing, told_missing
from phasegate.engine.seams import Writer, inline_seams
from phasegate.store import AppendJournal, Change, Store, StoreFailed, Watermarks

pytestmark = pytest.mark.trio


class Bench:
    """A journal on a store whose disk refuses, or loses its answers, while a test wants it to."""

    def __init__(self, store: Store, keep: int) -> None:
        self.store = store
        self.refuses = False
        self.answers = True
        self.warned: list[tuple[str, str]] = []
        self._commit = store.commit
        self.journal = Journal(
            Writer(store, inline_seams(0).write), keep, lambda code, text: self.warned.append((code, text))
        )

    def commit(self, batch: Sequence[Change]) -> Watermarks:
        """Stands before the store's own."""
        if self.refuses:
            raise StoreFailed("full")
        marks = self._commit(batch)
        if not self.answers:
            raise StoreFailed("no answer")
        return marks

    @property
    def stored(self) -> list[tuple[int, str]]:
        """Id and reason of each row in the database."""
        return [(row.row_id, row.reason) for row in self.store.journal(0, 10 * MOST_WAITING)]


def row(text: str) -> AppendJournal:
    return AppendJournal(0.0, "headers", "mnlist", "advance", text, "{}")


@contextmanager
def made(place: Path, keep: int = 5000) -> Iterator[Bench]:
    """A bench on a new store whose journal keeps so many rows."""
    with closing(Store.open(place, SIMNET)) as store, pytest.MonkeyPatch.context() as patch:
        bench = Bench(store, keep)
        patch.setattr(store, "commit", bench.commit)
        yield bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench of the test's own."""
    with made(tmp_path) as bench:
        yield bench


async def test_refused_rows_are_written_with_the_next_one_under_the_ids_told(bench: Bench) -> None:
    """In the order in which they happened, and said once for as long as it lasts."""
    ids = [await bench.journal.append(row("a"))]
    bench.refuses = True
    ids += [await bench.journal.append(row(text)) for text in "bc"]
    assert bench.stored == [(1, "a")]
    assert bench.warned == [("journal-waits", "transitions cannot be stored, they wait in memory: full")]
    bench.refuses = False
    ids.append(await bench.journal.append(row("d")))
    assert ids == [1, 2, 3, 4]
    assert bench.stored == list(zip(ids, "abcd", strict=True))
    bench.refuses = True
    await bench.journal.append(row("e"))
    assert len(bench.warned) == 2


async def test_what_waits_can_be_written_without_a_new_row(bench: Bench) -> None:
    """`write` says whether the disk works: it raises while it does not, and leaves nothing waiting when it does."""
    bench.refuses = True
    await bench.journal.append(row("a"))
    with pytest.raises(StoreFailed):
        await bench.journal.write()
    bench.refuses = False
    await bench.journal.write()
    await bench.journal.write()
    assert bench.stored == [(1, "a")]


async def test_rows_that_stand_although_the_answer_was_lost_are_not_written_twice(bench: Bench) -> None:
    """The disk took them and said nothing: the file itself is asked before anything is written again."""
    await bench.journal.append(row("a"))
    bench.answers = False
    await bench.journal.append(row("b"))
    bench.refuses = True
    assert await bench.journal.append(row("c")) == 3
    bench.answers, bench.refuses = True, False
    assert await bench.journal.append(row("d")) == 4
    assert bench.stored == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


async def test_what_waits_is_bounded_and_the_gap_is_told(bench: Bench) -> None:
    """The beginning and the end of a long trouble are kept, with how many rows are missing between; ids go on."""
    await bench.journal.append(row("before"))
    bench.refuses = True
    ids = [await bench.journal.append(row(f"{i}")) for i in range(MOST_WAITING + 7)]
    assert ids == [*range(2, MOST_WAITING + 2), *[MOST_WAITING + 1] * 7]
    bench.refuses = False
    await bench.journal.write()
    newest = f"{MOST_WAITING + 6} (7 transitions before it were not stored)"
    assert bench.stored[0] == (1, "before")
    assert bench.stored[-2:] == [(MOST_WAITING, f"{MOST_WAITING - 2}"), (MOST_WAITING + 1, newest)]
    assert await bench.journal.append(row("after")) == MOST_WAITING + 2
    assert bench.stored[-1] == (MOST_WAITING + 2, "after")


async def test_what_is_told_of_missing_rows_can_be_read_again() -> None:
    """Whatever the reason is; what stands elsewhere in a reason tells nothing."""
    for reason in ("", "no-peer: gone", "(9 transitions before it were not stored)"):
        assert told_missing(tell_missing(reason, 7)) == 7
    assert told_missing("no-peer: gone") == told_missing("(9 transitions before it were not stored) and more") == 0


async def test_the_store_keeps_as_many_as_it_should_when_many_come_at_once(tmp_path: Path) -> None:
    """Rows are trimmed though the hundredth came in the middle of a batch."""
    with made(tmp_path, keep=10) as bench:
        bench.refuses = True
        for i in range(journal.TRIM_EVERY + 5):
            await bench.journal.append(row(f"{i}"))
        bench.refuses = False
        await bench.journal.append(row("last"))
        assert [at for at, _ in bench.stored] == list(range(journal.TRIM_EVERY - 3, journal.TRIM_EVERY + 7))


@settings(deadline=None, max_examples=30)
@given(moods=st.lists(st.sampled_from(["works", "refuses", "mute"]), min_size=1, max_size=20))
async def test_whatever_the_disk_does_in_between_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, moods: list[str]
) -> None:
    """Each row has the id it was told with as soon as the disk works again."""
    with made(tmp_path_factory.mktemp("journal")) as bench:
        ids = []
        for at, mood in enumerate(moods):
            bench.refuses, bench.answers = mood == "refuses", mood != "mute"
            ids.append((await bench.journal.append(row(f"{at}")), f"{at}"))
        bench.refuses, bench.answers = False, True
        await bench.journal.write()
        assert bench.stored == ids
        assert [at for at, _ in ids] == list(range(1, len(moods) + 1))
