"""Filters that are not kept: what goes, what is remembered, and how all of them come back when one is missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import (
    AddWatch,
    MarkMatched,
    PruneFilters,
    PutFilterVariants,
    RemoveWatch,
    Store,
    StoreMismatch,
)
from tests.store.conftest import FakeChain

END, BIRTHDAY = 4300, 50
A, B = b"a", b"b"


@pytest.fixture(scope="module")
def chain() -> FakeChain:
    return FakeChain(END + 1)


@pytest.fixture
def store(tmp_path: Path, chain: FakeChain) -> Store:
    """Watching A, matched to 3500."""
    opened = Store.open(tmp_path, SIMNET, birthday=BIRTHDAY)
    opened.commit([chain.append(1, END), chain.append_filter_headers(0, END + 1)])
    opened.commit([chain.put_filters(range(BIRTHDAY, END + 1)), AddWatch(((A, ""),))])
    opened.commit([MarkMatched((A,), BIRTHDAY, 3500, (60,))])
    return opened


def test_whole_segments_go_from_below(store: Store, chain: FakeChain, tmp_path: Path) -> None:
    """Filters to 2,900 may go, so 2,000 and more stay; another opening finds all in order."""
    marks = store.commit([PruneFilters(2900)])
    assert (marks.filters_base, marks.birthday, marks.filters, marks.matched) == (2000, BIRTHDAY, END, 3500)
    assert store.filters(2000, END - 1999) == [chain.filter(height) for height in range(2000, END + 1)]
    with pytest.raises(LookupError, match=r"filters 1999\.\.1999 are not stored"):
        store.filters(1999, 1)
    assert store.matched_heights() == [60]
    assert store.check() == ()
    store.close()
    for birthday in (None, BIRTHDAY):
        again = Store.open(tmp_path, SIMNET, birthday=birthday)
        assert again.marks == marks
        again.close()
    with pytest.raises(StoreMismatch, match="has filters from height 50 on, which is above the wanted 49"):
        Store.open(tmp_path, SIMNET, birthday=BIRTHDAY - 1)


def test_what_was_not_matched_stays(store: Store) -> None:
    """A is matched to 3,500 only: nothing above the border below that goes, and nothing goes twice."""
    assert store.commit([PruneFilters(END)]).filters_base == 3000
    assert store.commit([PruneFilters(END)]).filters_base == 3000
    assert store.commit([MarkMatched((A,), 3501, END, ()), PruneFilters(END)]).filters_base == 4000


def test_filters_that_are_not_stored_cannot_go(store: Store) -> None:
    with pytest.raises(ValueError, match=f"filters to {END + 1} cannot go: they are stored to {END}"):
        store.commit([PruneFilters(END + 1)])


def test_an_item_watched_later_has_all_of_them_wanted_again(store: Store, chain: FakeChain) -> None:
    """It is matched from the birthday on, and the older one where it was."""
    store.commit([PruneFilters(2900)])
    marks = store.commit([AddWatch(((A, "known"), (B, "")))])
    assert (marks.filters_base, marks.birthday, marks.filters, marks.matched) == (BIRTHDAY, BIRTHDAY, 49, 49)
    assert {item.script: item.matched_to for item in store.watch_items()} == {A: 3500, B: 49}
    assert store.check() == ()
    heights = range(BIRTHDAY, END + 1)
    marks = store.commit([chain.put_filters(heights), MarkMatched((B,), BIRTHDAY, 3500, (70,))])
    assert (marks.filters, marks.matched) == (END, 3500)
    assert store.filters(BIRTHDAY, len(heights)) == [chain.filter(height) for height in heights]
    assert store.matched_heights() == [60, 70]
    assert store.commit([PruneFilters(2900)]).filters_base == 2000


def test_what_is_watched_already_changes_nothing(store: Store) -> None:
    marks = store.commit([PruneFilters(2900)])
    assert store.commit([AddWatch(((A, "again"),))]).filters_base == marks.filters_base


def test_a_roll_back_below_them_has_them_wanted_again(store: Store, chain: FakeChain) -> None:
    """One that ends above does not."""
    store.commit([PruneFilters(2900)])
    marks = store.commit([chain.roll_back(2500)])
    assert (marks.filters_base, marks.filters, marks.matched) == (2000, 2500, 2500)
    marks = store.commit([chain.roll_back(1500)])
    assert (marks.filters_base, marks.birthday, marks.filters, marks.matched) == (BIRTHDAY, BIRTHDAY, 49, 1500)
    assert store.check() == ()


def test_where_nothing_is_watched_a_roll_back_leaves_it_at_that(store: Store, chain: FakeChain) -> None:
    """Until something is."""
    store.commit([RemoveWatch((A,)), PruneFilters(2900)])
    marks = store.commit([chain.roll_back(1500)])
    assert (marks.tip, marks.filters_base, marks.filters) == (1500, 2000, 1999)
    marks = store.commit([AddWatch(((B, ""),))])
    assert (marks.filters_base, marks.filters, marks.matched) == (BIRTHDAY, 49, 49)


def test_a_dispute_about_one_of_them_has_them_wanted_again(store: Store) -> None:
    """The other filter has to be matched, too."""
    store.commit([PruneFilters(2900)])
    marks = store.commit([PutFilterVariants(((700, b"other"),))])
    assert (marks.filters_base, marks.filters, marks.matched) == (BIRTHDAY, 49, 699)


def test_a_repair_that_searches_anew_has_them_wanted_again(store: Store, tmp_path: Path) -> None:
    """Coins that are damaged are found again only by matching everything."""
    store.commit([PruneFilters(2900)])
    store.close()
    harm(tmp_path, "UPDATE matches SET height = 61")
    repaired = Store.repair(tmp_path, SIMNET)
    assert [damage.table for damage in repaired.damages] == ["matches"]
    again = Store.open(tmp_path, SIMNET)
    marks = again.marks
    assert (marks.filters_base, marks.birthday, marks.filters, marks.matched) == (BIRTHDAY, BIRTHDAY, 49, 49)
    assert again.check() == ()
    again.close()


def test_a_repair_that_begins_again_has_them_wanted_again(store: Store, tmp_path: Path) -> None:
    store.commit([PruneFilters(2900)])
    store.close()
    harm(tmp_path, "UPDATE segments SET crc = 0 WHERE series = 1 AND start = 0")
    Store.repair(tmp_path, SIMNET)
    again = Store.open(tmp_path, SIMNET, birthday=BIRTHDAY)
    marks = again.marks
    assert (marks.tip, marks.filters_base, marks.birthday, marks.filters) == (0, BIRTHDAY, BIRTHDAY, 49)
    assert again.check() == ()
    again.close()


def harm(place: Path, sql: str) -> None:
    import apsw

    connection = apsw.Connection(str(next(place.glob("*.sqlite"))))
    connection.execute(sql)
    connection.close()
