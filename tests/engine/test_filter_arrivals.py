"""Filters that come together are judged as those that come one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.filters import chain_slowly, filter_hash
from phasegate.consensus.packed import Packed
from phasegate.engine.phases.filter_arrivals import Arrivals
from phasegate.engine.phases.filter_spans import Span
from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.messages import CFilter

pytestmark = pytest.mark.timeout(300)  # the first run compiles

FIRST, COUNT = 40, 12
NAMES = [bytes((i + 1,)) * 32 for i in range(COUNT)]
FILTERS = [bytes((i,)) * (3 * i) for i in range(COUNT)]


class Stored:
    """What the store is asked for."""

    def hashes(self, start: int, count: int) -> bytes:
        assert (start, count) == (FIRST, COUNT)
        return b"".join(NAMES)

    def filter_header_at(self, height: int) -> bytes:
        assert height == FIRST - 1
        return b"\7" * 32

    def filter_headers(self, start: int, count: int) -> bytes:
        assert (start, count) == (FIRST, COUNT)
        return chain_slowly(b"\7" * 32, b"".join(map(filter_hash, FILTERS)))


def arrivals(cancelled: list[int]) -> Arrivals:
    return Arrivals(Stored(), Span(FIRST, FIRST + COUNT - 1), lambda: cancelled.append(1))  # type: ignore[arg-type]


def run_of(messages: Sequence[CFilter]) -> CFilterRun:
    return CFilterRun(b"".join([m.block_hash for m in messages]), Packed.of([m.filter for m in messages]))


def taken(coming: Arrivals, messages: Sequence[CFilter], *, together: bool) -> list[CFilter]:
    """Deliver `messages` as a ledger does; which ones were taken."""
    found, left = list[CFilter](), list(messages)
    while left:
        count = coming.takes_run(run_of(left)) if together else 0
        if count or coming.takes(left[0]):
            found += left[: count or 1]
        left = left[count or 1 :]
    return found


Places = st.one_of(st.just(list(range(COUNT))), st.permutations(range(COUNT)), st.lists(st.integers(0, COUNT)))


@settings(deadline=None, max_examples=200)
@given(places=Places, wrong=st.integers(0, 30))
def test_runs_get_the_verdict_of_single_filters(places: list[int], wrong: int) -> None:
    """In any order, twice, of other blocks, and with a wrong one: the same are taken, the same one is refused."""
    messages = [
        CFilter(0, NAMES[place], FILTERS[place] + b"x" * (i == wrong)) if place < COUNT else CFilter(0, bytes(32), b"")
        for i, place in enumerate(places)
    ]
    ends: tuple[list[int], list[int]] = [], []
    one, many = arrivals(ends[0]), arrivals(ends[1])
    single = taken(one, messages, together=False)
    assert taken(many, messages, together=True) == single
    assert (many.wrong, ends[1]) == (one.wrong, ends[0])
    assert len(ends[0]) <= 1


@pytest.mark.parametrize("cut", range(COUNT + 1))
def test_all_of_them_are_in_order_in_the_end(cut: int) -> None:
    """The second half comes first, partly together."""
    coming = arrivals([])
    messages = [CFilter(0, name, raw) for name, raw in zip(NAMES, FILTERS, strict=True)]
    replies = list[CFilter | CFilterRun]()
    for half in (messages[cut:], messages[:cut]):
        if len(half) > 3:
            assert coming.takes_run(run_of(half[:-1])) == len(half) - 1
            replies.append(run_of(half[:-1]))
            half = half[-1:]
        assert all(map(coming.takes, half))
        replies += half
    assert list(coming.in_order(replies)) == FILTERS
    assert coming.wrong is None


def test_a_filter_of_another_type_is_not_wanted() -> None:
    assert not arrivals([]).takes(CFilter(1, NAMES[0], FILTERS[0]))
