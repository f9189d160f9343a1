"""Compressed headers expanded by compiled code, held against the expansion record by record."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.p2p import compressed
from phasegate.p2p.compressed import Expansion, Headers2, compress
from phasegate.p2p.simnet.grinding import grind
from phasegate.p2p.simnet.mining import mine_plainly

Outcome = tuple[bytes, bytes, str]


@pytest.fixture(autouse=True, scope="module")
def _always_compiled() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "worth_compiling", lambda count: count > 0)
        yield


def taken(message: Headers2, pieces: list[int], *, plainly: bool) -> Outcome:
    """All that comes out of a message that is expanded in pieces, and what is said where it breaks."""
    expansion, headers, hashes = Expansion(message), b"", b""
    for count in [*pieces, message.count]:
        try:
            made = expansion.take_plainly(count) if plainly else expansion.take(count)
        except PeerMisbehaved as error:
            return headers, hashes, f"{error.fault.code} {error.detail}"
        headers, hashes = headers + made[0], hashes + made[1]
    assert expansion.left == 0
    return headers, hashes, ""


def message_of(count: int, seed: int, announcement: bool) -> Headers2:
    """Headers that need every kind of record, and more versions than are remembered."""
    rnd, raw, time = random.Random(seed), b"", 1_500_000_000
    versions = rnd.choice(((4, 4, 0x20000000), range(9)))
    for _ in range(count):
        time += rnd.choice((150, 150, -20, 40_000))
        raw += rnd.choice(versions).to_bytes(4, "little") + rnd.randbytes(64)
        raw += time.to_bytes(4, "little") + rnd.choice((b"ABCD", b"ABCE")) + rnd.randbytes(4)
    return compress(raw, announcement=announcement)


PIECES = st.lists(st.integers(0, 12), max_size=3)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 30), st.integers(0, 1 << 32), st.booleans(), PIECES)
def test_both_expand_a_message_alike(count: int, seed: int, announcement: bool, pieces: list[int]) -> None:
    message = message_of(count, seed, announcement)
    outcome = taken(message, pieces, plainly=False)
    assert outcome == taken(message, pieces, plainly=True)
    assert (len(outcome[0]), outcome[2]) == (80 * count, "")
    assert Expansion(message)._take_compiled(count) == outcome[:2]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(0, 1 << 32), PIECES, st.integers(0, 60), st.integers(-2, 2))
def test_both_say_the_same_of_a_message_that_breaks_a_rule(
    count: int, seed: int, pieces: list[int], cut: int, more: int
) -> None:
    """Bytes that are changed or cut off, and a count that is not that of the records."""
    rnd, message = random.Random(seed), message_of(count, seed, True)
    records = bytearray(message.records[: len(message.records) - cut * (seed % 2)])
    for _ in range(rnd.randrange(4)):
        at = rnd.choice((0, rnd.randrange(len(records) + 1)))
        records[at : at + 1] = rnd.randbytes(1)
    broken = Headers2(max(0, count + more), bytes(records))
    assert taken(broken, pieces, plainly=False) == taken(broken, pieces, plainly=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 63), max_size=20), st.integers(-3, 3), st.integers(0, 22), st.sampled_from([0, 64, 255]))
def test_records_are_skipped_by_a_table_as_they_are_one_by_one(
    flags: list[int], more: int, count: int, undefined: int
) -> None:
    """Cut off or not, and with flags that nobody defined."""
    data = b"xy" + b"".join(bytes((flag,)) + bytes((undefined,)) * compressed._SIZES[flag] for flag in flags)
    data = data[: len(data) + more] if more < 0 else data + bytes((undefined,)) * more

    def skipped(*, one_by_one: bool) -> tuple[int, str]:
        r = Reader(data, "headers2")
        try:
            r.take(2)
            if one_by_one:
                for _ in range(count):
                    compressed._skip_record(r)
            else:
                compressed._skip_records(r, count)
        except PeerMisbehaved as error:
            return -1, error.detail
        return r.pos, ""

    assert skipped(one_by_one=False) == skipped(one_by_one=True)


@pytest.mark.parametrize("bits", [1, 4, 7, 9])
def test_both_find_the_same_nonce(bits: int) -> None:
    rnd = random.Random(bits)
    for target in (rnd.randrange(1 << 255 - bits, 1 << 256 - bits), (1 << 256 - bits) - 1):
        prefix = rnd.randbytes(76)
        assert grind(prefix, target) == mine_plainly(prefix, target)
