"""Many byte strings in one piece are the sequence they were made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.packed import Packed

Items = st.lists(st.binary(max_size=5), max_size=8)


@given(Items)
def test_it_is_the_sequence_of_its_items(items: list[bytes]) -> None:
    packed = Packed.of(items)
    assert (list(packed), len(packed), packed.joined) == (items, len(items), b"".join(items))
    assert [packed[i] for i in range(-len(items), len(items))] == items + items
    assert packed[1:3] == items[1:3]
    assert packed.sizes.tolist() == [len(item) for item in items]
    assert Packed.of(packed) is packed


@given(Items, st.integers(0, 8), st.integers(0, 8))
def test_a_part_is_what_a_slice_is(items: list[bytes], start: int, end: int) -> None:
    start, end = min(start, len(items)), min(end, len(items))
    part = Packed.of(items).part(start, end)
    assert (list(part), part.joined) == (items[start:end], b"".join(items[start:end]))
    assert part == Packed.of(items[start:end])
    assert hash(part) == hash(Packed.of(items[start:end]))


@given(st.lists(Items, max_size=4))
def test_pieces_are_joined_in_order(pieces: list[list[bytes]]) -> None:
    assert list(Packed.join([Packed.of(items) for items in pieces])) == [item for items in pieces for item in items]


def test_only_the_same_items_are_equal() -> None:
    assert Packed.of([b"ab", b"c"]) != Packed.of([b"a", b"bc"])
    assert Packed.of([b"a"]) != [b"a"]


def test_there_is_nothing_outside() -> None:
    with pytest.raises(IndexError, match="2 of 2 items"):
        Packed.of([b"a", b"b"])[2]
