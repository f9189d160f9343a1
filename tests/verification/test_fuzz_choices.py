"""Bytes that decide: every input means something, and the mutator changes inputs the same way each time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.verification.fuzzing.choices import Choices, piece_of
from phasegate.verification.fuzzing.laws import LawBroken, held, same
from phasegate.verification.fuzzing.mutations import mutations


def test_an_input_that_has_ended_decides_by_zero() -> None:
    """Nothing is refused for being too short."""
    choices = Choices(b"")
    assert (choices.byte(), choices.number(), choices.below(7), choices.flag(), choices.pick("xyz")) == (
        0,
        0,
        0,
        0,
        "x",
    )
    assert (choices.piece(), choices.take(5), choices.rest(), choices.left) == (b"", b"", b"", 0)


def test_decisions_are_read_in_order() -> None:
    """One byte for a small number, two for a large one, four for any."""
    choices = Choices(b"\x05\x01\x02\x03\x00\x00\x01tail")
    assert (choices.below(3), choices.below(300), choices.number()) == (2, 0x201 % 300, 0x01000003)
    assert choices.left == 4
    assert (choices.take(2), choices.rest()) == (b"ta", b"il")


@given(st.binary(max_size=700), st.binary(max_size=9))
@settings(deadline=None)
def test_a_piece_is_read_as_it_was_written(data: bytes, rest: bytes) -> None:
    """The inverse of `piece`, whatever the length."""
    choices = Choices(piece_of(data) + rest)
    assert (choices.piece(), choices.rest()) == (data, rest)


def test_mutations_are_the_same_for_a_seed() -> None:
    """One seed, one series; another seed, another; each within its bound, most of them changed."""
    inputs = [bytes(range(40)), b"\xff" * 9, b""]
    series = list(mutations(inputs, 300, 1, 64))
    assert series == list(mutations(inputs, 300, 1, 64)) != list(mutations(inputs, 300, 2, 64))
    assert all(len(data) <= 64 for data in series)
    assert len(set(series)) > 200


def test_a_broken_law_says_what_is_wrong() -> None:
    """Bytes are shown in hex, and not without end."""
    same(b"\1", b"\1", "one byte")
    held(True, "nothing")
    with pytest.raises(LawBroken, match="one byte: 01 is not 02"):
        same(b"\1", b"\2", "one byte")
    with pytest.raises(LawBroken, match="and 1600 characters more"):
        same(bytes(1000), b"", "many bytes")
    with pytest.raises(LawBroken, match="the sky"):
        held(False, "the sky")
