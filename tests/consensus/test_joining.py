"""Headers judged before what is below them was known, and joined later, are those that `extend` accepts, no others."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.codec import u32
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.headers import (
    ChainTip,
    CheckedHeaders,
    compact_to_target,
    expected_bits,
    extend,
    follow,
    genesis_tip,
    target_to_compact,
    work_of,
)
from phasegate.consensus.joining import blind_tip, join, unjudged
from phasegate.consensus.params import MAINNET, SIMNET, TESTNET, Network
from phasegate.consensus.x11 import HEADER_SIZE, x11_many
from phasegate.p2p.simnet.mining import mine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.consensus.conftest import HeaderFile

EASY = attrs.evolve(SIMNET, pow_limit=(1 << 255) - 1)
"""Simnet with two hashes a block."""
FAR = 1 << 31
BEGUN = 30
"""Headers that all made chains have in common."""


def grown(network: Network, tip: ChainTip, steps: Sequence[int], odd: int, wrong: int) -> bytes:
    """Linked and proven headers, so many seconds apart; the bits of the one at `odd` are off by a `wrong` amount."""
    raw, last = bytearray(), tip
    for at, step in enumerate(steps):
        time = max(1, last.window[-1][0] + step)
        bits = expected_bits(network, last, time)
        if at == odd and wrong:
            bits = target_to_compact(min(network.pow_limit, compact_to_target(bits) * (1000 + wrong) // 1000))
        prefix = u32(0x20000000) + last.hash + bytes(32) + u32(time) + u32(bits)
        header, block_hash = mine(prefix, compact_to_target(bits))
        raw += header
        window = (*last.window, (time, bits))[-24:]
        last = ChainTip(last.height + 1, block_hash, last.work + work_of(bits), window)
    return bytes(raw)


def begun() -> ChainTip:
    """A tip with all that the next header is judged by."""
    raw = grown(EASY, genesis_tip(EASY), [150] * BEGUN, 0, 0)
    return extend(EASY, genesis_tip(EASY), raw, FAR).tip


TIP = begun()


def blindly(network: Network, tip: ChainTip, raw: bytes, cuts: Sequence[int]) -> list[CheckedHeaders]:
    """What `follow` says of `raw`, cut there, of which only the hash of `tip` is known."""
    pieces, last = [], blind_tip(tip.height, tip.hash)
    edges = sorted({0, *[min(cut * HEADER_SIZE, len(raw)) for cut in cuts], len(raw)})
    for first, end in pairwise(edges):
        pieces.append(follow(network, last, raw[first:end], FAR))
        last = pieces[-1].tip
    return pieces


def whole(checked: Sequence[CheckedHeaders]) -> tuple[bytes, bytes, ChainTip]:
    return b"".join([c.raw for c in checked]), b"".join([c.hashes for c in checked]), checked[-1].tip


@settings(max_examples=120)
@given(
    steps=st.lists(st.sampled_from([150, 150, 150, 1, 1, 600, -30, -2000]), min_size=1, max_size=70)
    | st.lists(st.just(150), min_size=40, max_size=40),
    odd=st.integers(0, 40),
    wrong=st.sampled_from([0, -300, -30, 400]),
    cuts=st.lists(st.integers(1, 69), max_size=4),
    flip=st.none() | st.tuples(st.integers(0, 70 * HEADER_SIZE - 1), st.integers(1, 255)),
)
def test_a_joined_stretch_is_what_extend_says_of_it(
    steps: list[int], odd: int, wrong: int, cuts: list[int], flip: tuple[int, int] | None
) -> None:
    """Or both refuse it: wrong times, wrong bits, and any byte changed."""
    raw = bytearray(grown(EASY, TIP, steps, odd, wrong))
    if flip is not None and flip[0] < len(raw):
        raw[flip[0]] ^= flip[1]
    try:
        expected = extend(EASY, TIP, bytes(raw), FAR)
    except PeerMisbehaved:
        with pytest.raises(PeerMisbehaved):
            join(EASY, TIP, blindly(EASY, TIP, bytes(raw), cuts), FAR)
        return
    joined = join(EASY, TIP, blindly(EASY, TIP, bytes(raw), cuts), FAR)
    assert whole(joined) == (expected.raw, expected.hashes, expected.tip)
    assert joined[0].prev == TIP
    assert [piece.prev for piece in joined[1:]] == [piece.tip for piece in joined[:-1]]


def test_real_headers_are_joined_at_any_height(header_files: list[HeaderFile]) -> None:
    """Under the rules of their heights, those of the first testnet blocks too; and what follows goes on from there."""
    for file in header_files:
        if file.start:
            known = 600
            tip = follow(file.network, ChainTip(file.start - 1, file.raw[4:36], 0, ()), file.raw[: known * 80], FAR).tip
        else:
            known, tip = 1, genesis_tip(file.network)
        for count in (1, 10, 12, 24, 25, 180):
            raw = file.raw[known * 80 : (known + count) * 80]
            rest = file.raw[(known + count) * 80 :][: 30 * 80]
            if len(raw) < count * 80 or len(tip.window) < 24 <= file.start:
                continue
            joined = join(file.network, tip, blindly(file.network, tip, raw, [7, 100]), FAR)
            assert whole(joined) == whole([extend(file.network, tip, raw, FAR)])
            if rest:
                extend(file.network, joined[-1].tip, rest, FAR)


def test_only_the_beginning_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is hashed again."""
    raw = grown(EASY, TIP, [150] * 100, 0, 0)
    pieces = blindly(EASY, TIP, raw, [50])

    def no_more(_: bytes) -> bytes:
        raise AssertionError("hashed again")

    monkeypatch.setattr("phasegate.consensus.headers.x11_many", no_more)
    assert whole(join(EASY, TIP, pieces, FAR))[1] == x11_many(raw)
    assert unjudged(EASY, TIP) == 24


def test_where_difficulty_is_vouched_for_only_times_are_judged_again() -> None:
    """Not all of what the checkpoints stand for; where Bitcoin's rule held, what it needs."""
    assert unjudged(MAINNET, ChainTip(50_000, bytes(32), 0, ((1, 1),) * 24)) == 11
    assert unjudged(TESTNET, ChainTip(576, bytes(32), 0, ((1, 1),) * 576)) > 24


def test_what_does_not_follow_is_no_stretch() -> None:
    """A gap, or a beginning elsewhere, is a mistake of the caller; headers after another block break a link."""
    raw = grown(EASY, TIP, [150] * 40, 0, 0)
    pieces = blindly(EASY, TIP, raw, [20])
    for unfit in (pieces[1:], [pieces[1], pieces[0]], [pieces[0], pieces[0]]):
        with pytest.raises(ValueError, match="do not follow each other"):
            join(EASY, TIP, unfit, FAR)
    with pytest.raises(PeerMisbehaved):
        join(EASY, attrs.evolve(TIP, hash=bytes(32)), pieces, FAR)
