"""Items in one piece of bytes are, to whoever reads them, the list of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.store.segments import Stretch, split

PLACES = st.integers(-12, 12)


@given(st.binary(max_size=40), st.sampled_from([1, 2, 5]), PLACES | st.none(), PLACES | st.none())
def test_a_stretch_is_cut_like_a_list(raw: bytes, width: int, first: int | None, end: int | None) -> None:
    raw = raw[: len(raw) // width * width]
    items, stretch = split(raw, width), Stretch(raw, width)
    assert (len(stretch), list(stretch)) == (len(items), items)
    assert list(stretch[first:end]) == items[first:end]
    assert b"".join(items[first:end]) == stretch[first:end].raw


@given(st.binary(min_size=8, max_size=40), PLACES)
def test_its_items_are_those_of_the_list(raw: bytes, at: int) -> None:
    raw = raw[: len(raw) // 4 * 4]
    items, stretch = split(raw, 4), Stretch(raw, 4)
    if -len(items) <= at < len(items):
        assert stretch[at] == items[at]
    else:
        with pytest.raises(IndexError):
            stretch[at]


def test_it_is_cut_in_steps_of_one() -> None:
    with pytest.raises(ValueError, match="steps of 1"):
        Stretch(b"abcd", 1)[::2]
