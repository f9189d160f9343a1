"""The checksum of a row: what is in files keeps its meaning."""

from __future__ import annotations

import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from phasegate.store.checksum import checksum

FIELDS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.binary(max_size=40))


@given(fields=st.lists(FIELDS, max_size=6))
def test_it_is_the_crc_of_all_fields_with_their_lengths(fields: list[int | str | bytes | None]) -> None:
    raws = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    assert checksum(*fields) == zlib.crc32(b"".join([b"%d:%b" % (len(raw), raw) for raw in raws]))


@given(data=st.binary(max_size=400), value=st.integers(0, 2**32 - 1))
def test_the_fast_crc_is_zlibs(data: bytes, value: int) -> None:
    assert zlib_ng.crc32(data, value) == zlib.crc32(data, value)


@pytest.mark.parametrize("size", [1 << 12, (1 << 16) - 1, (1 << 16) + 17, 1 << 20])
def test_the_fast_crc_of_long_pieces_is_zlibs(size: int) -> None:
    data = Random(size).randbytes(size)
    assert zlib_ng.crc32(data, size) == zlib.crc32(data, size)
