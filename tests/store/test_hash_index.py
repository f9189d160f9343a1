"""The index from hash to height: exact for any appends and cuts, with few runs."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.store.index import HashIndex


def hashes(start: int, count: int) -> list[bytes]:
    return [hashlib.sha256(b"%d" % height).digest() for height in range(start, start + count)]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=40))
def test_the_index_knows_exactly_the_stored_heights(steps: list[tuple[bool, int]]) -> None:
    index, tip = HashIndex(), -1
    for grows, count in steps:
        if grows:
            index = index.append(tip + 1, b"".join(hashes(tip + 1, count)))
            tip += count
        else:
            tip = max(tip - count, -1)
            index = index.cut(tip)
    assert len(index) == tip + 1
    for height, block_hash in enumerate(hashes(0, tip + 30)):
        assert index.candidates(block_hash) == ([height] if height <= tip else [])


def test_hashes_that_begin_alike_are_all_candidates() -> None:
    alike = [bytes(8) + bytes([i]) * 24 for i in range(3)]
    index = HashIndex().append(5, alike[0] + alike[1]).append(7, alike[2])
    assert sorted(index.candidates(alike[1])) == [5, 6, 7]


def test_an_index_is_never_changed_in_place() -> None:
    old = HashIndex().append(0, b"".join(hashes(0, 10)))
    old.append(10, b"".join(hashes(10, 10)))
    old.cut(3)
    assert [old.candidates(h) for h in hashes(0, 12)] == [*([i] for i in range(10)), [], []]


def test_many_small_appends_leave_few_runs() -> None:
    index = HashIndex()
    for height in range(1000):
        index = index.append(height, hashes(height, 1)[0])
    assert len(index._runs) <= 11
