"""The checksum of a row: what is in files keeps its meaning."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from phasegate.store.checksum import checksum

FIELDS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.binary(max_size=40))


@given(fields=st.lists(FIELDS, max_size=6))
def test_it_is_the_crc_of_all_fields_with_their_lengths(fields: list[int | str | bytes | None]) -> None:
    raws = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    assert checksum(*fields) == zlib.crc32(b"".join([b"%d:%b" % (len(raw), raw) for raw in raws]))
