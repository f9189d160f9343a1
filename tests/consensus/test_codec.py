"""The byte grammar: strict, bounded, canonical."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader, compact_size, dsha, i16, i32, i64, u16, u16be, u32, u64, var_bytes
from phasegate.consensus.faults import Fault, Malformed

LIMIT = 1 << 64


@given(st.integers(0, LIMIT - 1))
def test_a_compact_size_reads_back_and_has_one_form(value: int) -> None:
    r = Reader(compact_size(value))
    assert r.compact_size(LIMIT) == value
    r.end()


@pytest.mark.parametrize("raw", ["fdfc00", "feffff0000", "ffffffffff00000000", "fd", "fe0000", "ff00000000"])
def test_a_longer_form_than_needed_or_a_cut_one_is_malformed(raw: str) -> None:
    with pytest.raises(Malformed):
        Reader(bytes.fromhex(raw)).compact_size(LIMIT)


def test_a_count_beyond_its_limit_is_malformed() -> None:
    assert Reader(compact_size(300)).compact_size(300) == 300
    with pytest.raises(Malformed, match="things 300 exceeds 299"):
        Reader(compact_size(300), "x").compact_size(299, "things")


def test_a_list_that_cannot_fit_is_refused_before_anything_is_read() -> None:
    r = Reader(compact_size(1000) + bytes(31_999))
    with pytest.raises(Malformed, match="cannot fit"):
        r.many(1000, Reader.hash32, at_least=32)


def test_every_number_reads_back() -> None:
    raw = u16(1) + i16(-2) + u16be(443) + u32(3) + i32(-4) + u64(5) + i64(-6) + var_bytes(b"abc")
    r = Reader(raw)
    assert (r.u16(), r.i16(), r.u16be(), r.u32(), r.i32(), r.u64(), r.i64()) == (1, -2, 443, 3, -4, 5, -6)
    assert r.var_bytes(3) == b"abc"
    assert r.since(len(raw) - 3) == b"abc"
    r.end()


def test_what_is_cut_or_left_over_is_malformed_and_the_reader_does_not_move() -> None:
    r = Reader(b"abc")
    with pytest.raises(Malformed, match="truncated"):
        r.take(4)
    assert (r.pos, r.left) == (0, 3)
    with pytest.raises(Malformed, match="3 bytes too many") as caught:
        r.end()
    assert caught.value.fault is Fault.MALFORMED_MESSAGE


def test_the_hash_of_nothing_is_known() -> None:
    assert dsha(b"").hex() == "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456"
