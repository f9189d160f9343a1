"""The compiled matcher against a slow one in plain Python, on honest filters and on garbage."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.addresses import parse_watch_item
from phasegate.consensus.codec import compact_size
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filters import Elements as Watched
from phasegate.consensus.filters import _golomb, build_filter, decode_filter, hashed_values, match_filters
from phasegate.consensus.packed import Packed
from phasegate.consensus.params import Network

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain

KEYS = b"".join([bytes((i,)) * 32 for i in range(1, 9)])
Elements = st.lists(st.binary(min_size=1, max_size=40), max_size=12)

pytestmark = pytest.mark.timeout(300)  # the first run compiles


def oracle(block_hashes: bytes, filters: list[bytes], elements: list[bytes]) -> list[int]:
    found = []
    for i, raw in enumerate(filters):
        key = block_hashes[32 * i : 32 * i + 32]
        values = decode_filter(raw, key)
        if not set(values).isdisjoint(hashed_values(key, elements, len(values))):
            found.append(i)
    return found


@settings(deadline=None)
@given(st.lists(Elements, max_size=8), Elements)
def test_the_kernel_finds_what_the_slow_matcher_finds(contents: list[list[bytes]], watched: list[bytes]) -> None:
    filters = [build_filter(KEYS[32 * i : 32 * i + 32], items) for i, items in enumerate(contents)]
    hashes = KEYS[: 32 * len(filters)]
    found = match_filters(hashes, filters, watched)
    assert found == oracle(hashes, filters, watched)
    assert set(found) >= {i for i, items in enumerate(contents) if set(items) & set(watched)}


LONG = st.sampled_from([1, 7, 8, 20, 23, 25, 31, 35, 40, 67])


@settings(deadline=None, max_examples=20)
@given(held=st.lists(LONG, max_size=70), watched=st.lists(LONG, max_size=40), shared=st.integers(0, 3))
def test_much_that_is_watched_is_looked_up_as_the_slow_matcher_does(
    held: list[int], watched: list[int], shared: int
) -> None:
    """Elements of all lengths that are hashed apart, enough of them for bitmaps of several sizes."""
    rnd = random.Random(len(held) * 1000 + len(watched))
    items, asked = [rnd.randbytes(size) for size in held], [rnd.randbytes(size) for size in watched]
    filters = Packed.of([build_filter(KEYS[:32], items), build_filter(KEYS[32:64], items[shared:])])
    asked += items[:shared]
    assert match_filters(KEYS[:64], filters, asked) == oracle(KEYS[:64], list(filters), asked)
    assert match_filters(KEYS[:64], filters, Watched.of(asked)) == oracle(KEYS[:64], list(filters), asked)


def test_long_runs_of_ones_are_decoded() -> None:
    """Two numbers far apart have quotients that reach over one word of the decoder, and over several."""
    for gap in (30, 36, 37, 44, 45, 63, 64, 65, 200, 5000):
        count = gap * (1 << 19) // 784_931 + 3
        numbers = [0] * (count - 1) + [gap << 19 | 5]
        raw = compact_size(count) + _golomb(numbers)
        assert decode_filter(raw, KEYS[:32]) == numbers
        assert match_filters(KEYS[:32], [raw], []) == []
        assert match_filters(KEYS[:64], [raw, b"\0" * 1], []) == []
        with pytest.raises(PeerMisbehaved):
            match_filters(KEYS[:32], [raw[:-1]], [])


@settings(deadline=None, max_examples=400)
@given(raw=st.one_of(st.binary(max_size=40), st.binary(max_size=24).map(lambda tail: b"\3" + tail)), watched=Elements)
def test_on_garbage_the_kernel_gives_the_verdict_of_the_strict_decoder(raw: bytes, watched: list[bytes]) -> None:
    try:
        expected = oracle(KEYS[:32], [raw], watched)
    except PeerMisbehaved:
        with pytest.raises(PeerMisbehaved) as caught:
            match_filters(KEYS[:32], [raw], watched)
        assert caught.value.fault is Fault.BAD_FILTER
    else:
        assert match_filters(KEYS[:32], [raw], watched) == expected


@settings(deadline=None)
@given(at=st.integers(0, 70), flip=st.integers(1, 255))
def test_a_flipped_byte_gets_the_verdict_of_the_strict_decoder(at: int, flip: int) -> None:
    raw = bytearray(build_filter(KEYS[:32], [bytes((i,)) for i in range(28)]))
    raw[at % len(raw)] ^= flip
    try:
        expected = oracle(KEYS[:32], [bytes(raw)], [b"\1", b"\2"])
    except PeerMisbehaved:
        with pytest.raises(PeerMisbehaved):
            match_filters(KEYS[:32], [bytes(raw)], [b"\1", b"\2"])
    else:
        assert match_filters(KEYS[:32], [bytes(raw)], [b"\1", b"\2"]) == expected


@pytest.mark.parametrize(
    "raw", [b"", b"\xfd\3\0" + bytes(20), b"\xfe\1\0\0", b"\xff" + bytes(20), b"\xfe\xff\xff\xff\xff"]
)
def test_a_count_that_is_missing_or_huge_is_refused_with_the_index(raw: bytes) -> None:
    good = build_filter(KEYS[:32], [b"a"])
    with pytest.raises(PeerMisbehaved, match="filter 1 of 3") as caught:
        match_filters(KEYS[: 32 * 3], [good, raw, b""], [b"a"])
    assert caught.value.fault is Fault.BAD_FILTER


def test_a_long_count_is_read() -> None:
    """300 elements need the three-byte form of the count, 70,000 the five-byte form."""
    for count in (300, 70_000):
        items = [i.to_bytes(3, "big") for i in range(count)]
        raw = build_filter(KEYS[:32], items)
        assert match_filters(KEYS[:32], [raw], [items[-1]]) == [0]
        assert match_filters(KEYS[:32], [raw], [b"something else"]) == []


def test_nothing_watched_still_tells_malformed_from_sound() -> None:
    assert match_filters(KEYS[:64], [b"\0", build_filter(KEYS[32:64], [b"a"])], []) == []
    with pytest.raises(PeerMisbehaved):
        match_filters(KEYS[:32], [b"\1"], [])


def test_no_filters_match_nothing() -> None:
    assert match_filters(b"", [], [b"a"]) == []


def test_a_hash_too_few_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes of hashes for 2 filters"):
        match_filters(KEYS[:32], [b"\0", b"\0"], [])


def test_the_recorded_payments_are_found(chain: RecordedChain, capture_watch: list[bytes]) -> None:
    found = match_filters(chain.hashes, chain.filters, capture_watch)
    assert found == [238, 241, 244, 247, 250, 253, 256, 309, 314, 319, 324]


def test_the_recorded_key_ids_are_found_in_registrations(chain: RecordedChain, recorded_network: Network) -> None:
    """A masternode is watched by its raw voting key id."""
    voting = parse_watch_item("ybDqghCvoFJjMm1pKu1zuxnGEmADS4Px9x", recorded_network)[3:23]
    assert match_filters(chain.hashes, chain.filters, [voting])[:1] == [111]


def test_a_hundred_thousand_filters_a_second() -> None:
    """A tenth of what one core does, so that a slow machine passes and a lost compilation does not."""
    rnd = random.Random(1)
    hashes = rnd.randbytes(32 * 100)
    filters = [build_filter(hashes[32 * i : 32 * i + 32], [rnd.randbytes(25) for _ in range(20)]) for i in range(100)]
    watched = [rnd.randbytes(25) for _ in range(10)]
    match_filters(hashes, filters, watched)
    started = time.perf_counter()
    match_filters(hashes * 100, filters * 100, watched)
    assert time.perf_counter() - started < 0.5


def test_the_kernel_works_where_no_cache_can_be_written() -> None:
    """Read-only installation, no home: compiled once a process instead of not at all."""
    code = """
import numba.core.caching
numba.core.caching.CacheImpl._locator_classes = []
from phasegate.consensus.filters import build_filter, match_filters
block = bytes(range(32))
print(match_filters(block, [build_filter(block, [b"abc"])], [b"abc"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[0]"
