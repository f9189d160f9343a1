"""Variants of a filter stay until the dispute is decided, reopen what was matched, and follow the chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.blocks import BlockFindings
from phasegate.consensus.params import SIMNET
from phasegate.store import (
    AddWatch,
    Corroborate,
    ForgetDisputes,
    MarkMatched,
    PutFilterVariants,
    RecordBlock,
    RollBackFilters,
    Store,
)

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

A = b"script a"


@pytest.fixture
def filled(store: Store, trunk: FakeChain) -> Store:
    """Filters to 80, item A matched to them."""
    store.commit([trunk.append(1, 100), trunk.append_filter_headers(0, 91), trunk.put_filters(range(81))])
    store.commit([AddWatch(((A, "a"),)), MarkMatched((A,), 0, 80, (7,))])
    return store


def test_variants_of_a_span_come_in_order(filled: Store) -> None:
    filled.commit([PutFilterVariants(((50, b"x"), (40, b"y"), (50, b"a")))])
    assert filled.filter_variants(0, 91) == [(40, b"y"), (50, b"x"), (50, b"a")]
    assert filled.filter_variants(41, 9) == []
    assert filled.filter_variants(50, 1) == [(50, b"x"), (50, b"a")]
    assert filled.marks.disputed == 40


def test_a_late_variant_opens_what_was_matched_again(filled: Store) -> None:
    digest = filled.digest()
    assert filled.commit([PutFilterVariants(((50, b"x"), (60, b"y")))]).matched == 49
    assert filled.commit([MarkMatched((A,), 50, 80, (50,))]).matched == 80
    assert filled.commit([PutFilterVariants(((50, b"x"),))]).matched == 80
    assert filled.commit([ForgetDisputes(51)]).disputed == 50
    assert filled.commit([ForgetDisputes(0)]).disputed is None
    assert filled.digest() != digest
    filled.commit([RecordBlock(50, BlockFindings(50))])
    assert filled.digest() == digest
    assert filled.matched_heights() == [7, 50]


def test_corroboration_grows_and_falls_with_the_filter_headers(filled: Store, trunk: FakeChain) -> None:
    assert filled.marks.corroborated == -1
    assert filled.commit([Corroborate(60, trunk.filter_headers(60, 1))]).corroborated == 60
    assert filled.commit([Corroborate(30, trunk.filter_headers(30, 1))]).corroborated == 60
    filled.commit([PutFilterVariants(((40, b"y"), (70, b"x")))])
    marks = filled.commit([RollBackFilters(50)])
    assert (marks.corroborated, marks.disputed, filled.filter_variants(0, 91)) == (50, 40, [(40, b"y")])
    marks = filled.commit([trunk.roll_back(20)])
    assert (marks.corroborated, marks.disputed) == (20, None)


def test_neither_is_part_of_the_digest(filled: Store, trunk: FakeChain) -> None:
    digest = filled.digest()
    filled.commit([Corroborate(60, trunk.filter_headers(60, 1)), PutFilterVariants(((85, b"x"),))])
    assert filled.digest() == digest


def test_a_variant_below_the_birthday_opens_nothing(tmp_path: Path, trunk: FakeChain) -> None:
    born = Store.open(tmp_path / "born", SIMNET, birthday=60)
    born.commit([trunk.append(1, 100), trunk.append_filter_headers(0, 91), trunk.put_filters(range(60, 81))])
    born.commit([AddWatch(((A, ""),)), MarkMatched((A,), 60, 80, ())])
    marks = born.commit([PutFilterVariants(((20, b"x"),))])
    assert (marks.disputed, marks.matched) == (20, 80)
    born.close()
