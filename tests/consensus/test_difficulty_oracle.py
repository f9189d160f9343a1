"""The difficulty rules against a second, slow writing of them, over chains of random times on every network."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.difficulty import compact_to_target, context_size, next_target, target_to_compact
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET, Network, network

M256 = 1 << 256
HURRY = 0.05


@attrs.frozen
class Past:
    """A block with the one before it, as a node holds it."""

    height: int
    time: int
    bits: int
    prev: Past | None


def ancestor(block: Past, height: int) -> Past:
    while block.height > height:
        assert block.prev is not None
        block = block.prev
    return block


def unpack(bits: int) -> int:
    exponent, mantissa = divmod(bits, 1 << 24)
    return mantissa << 8 * (exponent - 3)


def pack(target: int) -> int:
    size = 0
    while target >> 8 * size:
        size += 1
    mantissa = (target << 24) >> 8 * size
    return (size + 1) << 24 | mantissa >> 8 if mantissa >= 1 << 23 else size << 24 | mantissa


def due(chain: Network, last: Past, time: int) -> int:
    """The bits of the block after `last`, in the order and words of Core's pow.cpp; without mainnet's second rule."""
    limit = pack(chain.pow_limit)
    if last.height < chain.min_difficulty_until:
        return limit
    if not chain.no_retargeting and last.height + 1 < chain.dgw_height:
        return bitcoin(chain, last, time, limit)
    if chain.no_retargeting:
        return limit
    if chain.allow_min_difficulty:
        if time > last.time + 7200:
            return limit
        if time > last.time + 600:
            return pack(min(unpack(last.bits) * 10 % M256, chain.pow_limit))
    return dark_gravity_wave(chain, last, limit)


def bitcoin(chain: Network, last: Past, time: int, limit: int) -> int:
    if (last.height + 1) % 576:
        if not chain.allow_min_difficulty:
            return last.bits
        if time > last.time + 300:
            return limit
        while last.prev is not None and last.height % 576 and last.bits == limit:
            last = last.prev
        return last.bits
    span = last.time - ancestor(last, last.height - 575).time
    span = 21600 if span < 21600 else 345600 if span > 345600 else span
    return pack(min(unpack(last.bits) * span % M256 // 86400, chain.pow_limit))


def dark_gravity_wave(chain: Network, last: Past, limit: int) -> int:
    if last.height < 24:
        return limit
    wrap = 1 << 999 if chain.wide_arithmetic else M256
    average, block = unpack(last.bits), last
    for count in range(2, 25):
        assert block.prev is not None
        block = block.prev
        average = (average * count % wrap + unpack(block.bits)) % wrap // (count + 1)
    span = last.time - block.time
    span = 1200 if span < 1200 else 10800 if span > 10800 else span
    return pack(min(average * span % wrap // 3600, chain.pow_limit))


def genesis(chain: Network) -> Past:
    raw = chain.genesis
    return Past(0, int.from_bytes(raw[68:72], "little"), int.from_bytes(raw[72:76], "little"), None)


def spacings(rnd: random.Random) -> int:
    """Mostly ordinary, sometimes backwards, at an edge of a lateness rule, or hours late."""
    edge = rnd.choice((299, 300, 301, 599, 600, 601, 7199, 7200, 7201))
    return rnd.choice(
        (rnd.randrange(1, 300), rnd.randrange(1, 300), rnd.randrange(-60, 60), edge, rnd.randrange(20_000))
    )


def agree(chain: Network, blocks: int, seed: int, pace: float = 1.0) -> set[int]:
    """Grow a chain by the slow rule and ask the fast one at each block; returns every bits value that occurred.

    Each 150 blocks it changes between a hurry, in which the difficulty rises, and its own pace. Nothing is kept of the
    past but what a tip keeps.
    """
    rnd, last = random.Random(seed), genesis(chain)
    times, targets, seen = [last.time], [compact_to_target(last.bits)], set[int]()
    for height in range(1, blocks):
        time = last.time + int(spacings(rnd) * (pace if height // 150 % 2 else HURRY))
        bits = due(chain, last, time)
        fast = target_to_compact(next_target(chain, height, times, targets, time))
        assert fast == bits, f"height {height}: {fast:08x} instead of {bits:08x}"
        last = Past(height, time, bits, last)
        kept = context_size(chain, height)
        times, targets = [*times, time][-kept:], [*targets, compact_to_target(bits)][-kept:]
        seen.add(bits)
    return seen


EARLY_WAVE = attrs.evolve(TESTNET, dgw_height=1400)
HELD = network("devnet", min_difficulty_blocks=700)
LONG_HELD = network("devnet", min_difficulty_blocks=4032)


@pytest.mark.parametrize("pace", [0.05, 0.2, 1.0, 6.0])
@pytest.mark.parametrize(
    ("chain", "blocks"),
    [
        (EARLY_WAVE, 1900),
        (TESTNET, 4100),
        (DEVNET, 1800),
        (HELD, 1800),
        (LONG_HELD, 4200),
        (attrs.evolve(DEVNET, dgw_height=1000), 1300),
        (attrs.evolve(HELD, dgw_height=1000), 1300),
        (REGTEST, 700),
        (SIMNET, 700),
        (attrs.evolve(TESTNET, allow_min_difficulty=False), 1800),
        (attrs.evolve(MAINNET, linked_until=0, dgw_height=0), 700),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else str(value),
)
def test_both_writings_of_the_rules_agree_at_every_block(chain: Network, blocks: int, pace: float) -> None:
    """With fast, ordinary and slow blocks, across each change of rule."""
    seen = agree(chain, blocks, round(pace * 100), pace)
    assert chain.no_retargeting or len(seen) > 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 60), st.floats(0.01, 8))
def test_both_agree_whatever_a_devnet_holds_and_wherever_its_waves_begin(seed: int, held: int, pace: float) -> None:
    """Products wrap modulo 2^256 in the average, in its scaling, and in Bitcoin's retarget."""
    agree(attrs.evolve(DEVNET, dgw_height=40, min_difficulty_until=held), 150, seed, pace)


def test_a_devnets_numbers_do_wrap_and_simnets_do_not() -> None:
    """At the limit the first sum of the average is beyond 2^256: who keeps that bit comes to another target."""
    held = attrs.evolve(DEVNET, dgw_height=25)
    times, targets = [1000 + 150 * i for i in range(25)], [compact_to_target(0x207FFFFF)] * 25
    wrapped = next_target(held, 25, times, targets, times[-1] + 1)
    wide = next_target(attrs.evolve(held, wide_arithmetic=True), 25, times, targets, times[-1] + 1)
    assert wrapped < wide <= held.pow_limit
    last = genesis(held)
    for height, time in enumerate(times[1:], 1):
        last = Past(height, time, 0x207FFFFF, last)
    assert target_to_compact(wrapped) == dark_gravity_wave(held, last, 0x207FFFFF)


def test_bitcoins_retarget_wraps_on_a_devnet_too() -> None:
    """A slow interval would ease the limit fourfold; the product loses its top bits and comes out harder."""
    times, targets = [1000 * i for i in range(576)], [compact_to_target(0x207FFFFF)] * 576
    target = next_target(DEVNET, 576, times, targets, times[-1] + 1)
    assert target == compact_to_target(0x207FFFFF) * 345600 % M256 // 86400 < DEVNET.pow_limit


@given(
    st.sampled_from([MAINNET, TESTNET, SIMNET]),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 200)), min_size=24, max_size=24),
    st.integers(0, 10_000),
)
def test_no_past_makes_the_due_difficulty_nonsense(chain: Network, past: list[tuple[int, int]], late: int) -> None:
    """From any times and any targets within reach of the limit it is a target, not zero and not beyond the limit."""
    times = [sum(step for step, _ in past[: i + 1]) for i in range(24)]
    targets = [compact_to_target(target_to_compact(chain.pow_limit >> harder)) for _, harder in past]
    target = next_target(chain, 1_000_000, times, targets, times[-1] + late)
    assert 0 < compact_to_target(target_to_compact(target)) <= chain.pow_limit
