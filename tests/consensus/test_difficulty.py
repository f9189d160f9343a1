"""Compact targets, work, and DarkGravityWave against every real header at hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.difficulty import compact_to_target, next_target, target_to_compact, work_of
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x01120000, 0x12),
        (0x02123400, 0x1234),
        (0x03123456, 0x123456),
        (0x04123456, 0x12345600),
        (0x1E0FFFFF, 0x0FFFFF << 216),
        (0x207FFFFF, 0x7FFFFF << 232),
    ],
)
def test_compact_bits_stand_for_a_target(bits: int, target: int) -> None:
    assert compact_to_target(bits) == target
    assert target_to_compact(target) == bits


@pytest.mark.parametrize(
    "bits", [0, 0x00123456, 0x01003456, 0x04923456, 0x01FEDCBA, 0x21010000, 0xFF123456, 0x23000001]
)
def test_zero_negative_and_overflowing_bits_are_no_target_and_no_work(bits: int) -> None:
    with pytest.raises(ValueError, match="no target"):
        compact_to_target(bits)
    assert work_of(bits) == 0


@given(st.integers(1, (1 << 256) - 1))
def test_the_compact_form_cuts_a_target_downwards_by_less_than_one_in_32768(target: int) -> None:
    cut = compact_to_target(target_to_compact(target))
    assert cut <= target < cut + (cut >> 15) + 1


def test_work_is_the_expected_number_of_hashes() -> None:
    assert work_of(0x207FFFFF) == 2
    assert work_of(0x1D00FFFF) == 0x100010001


def _rows(shared: Path, name: str) -> list[tuple[int, int]]:
    raw = (shared / "vectors" / "headers" / name).read_bytes()
    return [struct.unpack("<II", raw[at + 68 : at + 76]) for at in range(0, len(raw), 80)]


@pytest.mark.parametrize(
    ("name", "network", "first"),
    [
        ("mainnet_1737084_1742083.bin", MAINNET, 1737084),
        ("mainnet_980000_981999.bin", MAINNET, 980000),
        ("testnet_900776_905775.bin", TESTNET, 900776),
        ("testnet_10000_10499.bin", TESTNET, 10000),
    ],
)
def test_the_difficulty_of_every_real_header_is_exact(shared: Path, name: str, network: object, first: int) -> None:
    assert _wrong(_rows(shared, name), network, first, 24) == []


def test_a_devnet_needs_arithmetic_modulo_two_to_the_256(shared: Path) -> None:
    """This devnet held the limit up to block 4032; behind it the products wrap, and only that is right."""
    rows = _rows(shared, "devnet_3900_5100.bin")
    assert _wrong(rows, DEVNET, 3900, 4033 - 3900) == []
    assert target_to_compact(24 * compact_to_target(rows[0][1])) != rows[4033 - 3900][1]
    assert rows[4033 - 3900][1] == 0x1F123401


def _wrong(rows: list[tuple[int, int]], network: object, first: int, skip: int) -> list[int]:
    targets = [compact_to_target(bits) for _, bits in rows]
    times = [time for time, _ in rows]
    wrong = []
    for i in range(skip, len(rows)):
        due = next_target(network, first + i, times[i - 24 : i], targets[i - 24 : i], times[i])  # type: ignore[arg-type]
        wrong += [] if target_to_compact(due) == rows[i][1] else [first + i]
    return wrong


LIMIT = SIMNET.pow_limit
EASY = compact_to_target(target_to_compact(LIMIT))


@pytest.mark.parametrize(("spacing", "factor"), [(1, 1 / 3), (150, 23 / 24), (10_000, 3)])
def test_the_time_is_clamped_to_a_third_and_three_times(spacing: int, factor: float) -> None:
    target = LIMIT >> 8
    times = [1000 + spacing * i for i in range(24)]
    due = next_target(SIMNET, 100, times, [target] * 24, times[-1] + 1)
    assert due / target == pytest.approx(factor, rel=1e-9)


def test_the_target_never_passes_the_limit() -> None:
    times = [10_000 * i for i in range(24)]
    assert next_target(SIMNET, 100, times, [EASY] * 24, times[-1] + 1) == LIMIT


def test_the_first_24_blocks_have_the_limit() -> None:
    for height in (1, 24):
        assert next_target(SIMNET, height, [0] * height, [EASY] * height, 150) == LIMIT
    assert next_target(SIMNET, 25, [0] * 25, [EASY] * 25, 150) < LIMIT


def test_a_late_block_on_a_minimum_difficulty_network_is_ten_times_easier_or_at_the_limit() -> None:
    times, targets = [0] * 24, [TESTNET.pow_limit >> 12] * 24
    assert next_target(TESTNET, 5000, times, targets, 601) == targets[0] * 10
    assert next_target(TESTNET, 5000, times, targets, 7201) == TESTNET.pow_limit
    assert next_target(TESTNET, 5000, times, targets, 600) == next_target(TESTNET, 5000, times, targets, 1)
    assert next_target(TESTNET, 5000, times, [TESTNET.pow_limit] * 24, 601) == TESTNET.pow_limit


def test_ten_times_easier_wraps_on_a_devnet() -> None:
    """As every product does: a target just above a tenth of 2^256 comes out much harder."""
    times, targets = [0] * 24, [0x1A0000 << 232] * 24
    assert next_target(DEVNET, 5000, times, targets, 601) == 0x040000 << 232


@pytest.mark.parametrize(("spacing", "factor"), [(1, 1 / 4), (30, 1 / 4), (150, 575 / 576), (602, 4), (10_000, 4)])
def test_bitcoins_rule_clamps_the_time_to_a_quarter_and_four_times(spacing: int, factor: float) -> None:
    target = TESTNET.pow_limit >> 8
    times = [1000 + spacing * i for i in range(576)]
    due = next_target(TESTNET, 576, times, [target] * 576, times[-1] + 1)
    assert due / target == pytest.approx(factor, rel=1e-9)


def test_bitcoins_rule_changes_nothing_between_multiples_of_576() -> None:
    """But that a block more than five minutes late has the limit; the last other target then holds again."""
    limit, target = compact_to_target(target_to_compact(TESTNET.pow_limit)), TESTNET.pow_limit >> 8
    times, targets = [1000] * 24, [target] * 20 + [limit] * 4
    assert next_target(TESTNET, 577, times, targets, 1000) == limit
    assert next_target(TESTNET, 590, times, targets, 1300) == target
    assert next_target(TESTNET, 590, times, targets, 1301) == TESTNET.pow_limit
    assert next_target(TESTNET, 580, times, targets, 1300) == limit
    assert next_target(TESTNET, 581, times, targets, 1300) == target


def test_regtest_never_retargets() -> None:
    assert next_target(REGTEST, 5000, [0] * 24, [REGTEST.pow_limit >> 9] * 24, 1) == REGTEST.pow_limit


def test_heights_that_checkpoints_vouch_for_are_named() -> None:
    with pytest.raises(ValueError, match="no rule but linkage holds on mainnet below height 107996"):
        next_target(MAINNET, 107995, [0] * 24, [1] * 24, 1)
    assert next_target(MAINNET, 107996, [0] * 24, [1 << 200] * 24, 1) > 0


def test_too_short_a_past_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="needs the 24 headers"):
        next_target(SIMNET, 100, [0] * 23, [EASY] * 23, 1)
    with pytest.raises(ValueError, match="height 1152 needs the 576 headers before it, not 575"):
        next_target(TESTNET, 1152, [0] * 575, [1 << 200] * 575, 1)
