"""The rules of header chains, one broken at a time, and whole chains of real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import (
    ChainTip,
    compact_to_target,
    context_size,
    expected_bits,
    extend,
    first_judged,
    follow,
    genesis_tip,
    locator_heights,
    median_time,
    tip_from,
    work_of,
)
from phasegate.consensus.params import MAINNET, REGTEST, SIMNET, TESTNET, Network, network
from phasegate.consensus.x11 import x11

if TYPE_CHECKING:
    from tests.consensus.conftest import HeaderFile, Miner, RecordedChain

FAR = 1 << 31
Grow = Callable[[Network, ChainTip, int, int], ChainTip]


def test_the_recorded_chain_keeps_all_rules(chain: RecordedChain, recorded_network: Network) -> None:
    start = genesis_tip(recorded_network)
    checked = extend(recorded_network, start, chain.headers, 1417716528)
    assert (checked.first_height, checked.count, checked.prev) == (1, 356, start)
    assert checked.hashes == chain.hashes[32:]
    assert checked.tip.hash[::-1].hex() == "7ea5f9879020b7317ec8e0422d89c721fda1fb9375d6840fc0ff9f3af04ecc1e"
    assert (checked.tip.height, checked.tip.work, len(checked.tip.window)) == (356, 2 * 357, 11)


def test_a_chain_in_two_batches_ends_where_one_batch_ends(chain: RecordedChain, recorded_network: Network) -> None:
    whole = extend(recorded_network, genesis_tip(recorded_network), chain.headers, FAR).tip
    for cut in (0, 1, 23, 24, 25, 356):
        first = extend(recorded_network, genesis_tip(recorded_network), chain.headers[: 80 * cut], FAR)
        assert extend(recorded_network, first.tip, chain.headers[80 * cut :], FAR).tip == whole


def test_real_chains_keep_all_rules_and_reach_their_known_work(header_files: list[HeaderFile]) -> None:
    """Mainnet, testnet with its ten-minute rule, and a devnet across the block where its fixed difficulty ended."""
    known = [file for file in header_files if file.first_work]
    assert len(known) == 3
    for file in known:
        start = file.tip_at(23)
        end = extend(file.network, start, file.raw[80 * 24 :], FAR).tip
        assert (end.height, end.hash[::-1].hex(), end.work) == (file.end_height, file.last_hash, file.last_work)
        assert end == file.tip_at(file.count - 1)


@pytest.fixture(scope="module")
def tip(grow: Grow) -> ChainTip:
    """A simnet tip high enough that DarkGravityWave has left the limit."""
    return grow(SIMNET, genesis_tip(SIMNET), 60, 1)


def test_a_mined_header_extends(tip: ChainTip, mine: Miner) -> None:
    raw = mine(SIMNET, tip)
    checked = extend(SIMNET, tip, raw, FAR)
    assert checked.tip.hash == checked.hashes == x11(raw)
    assert checked.tip.window == (*tip.window[1:], (tip.window[-1][0] + 150, expected_bits(SIMNET, tip, 0)))
    assert checked.tip.work == tip.work + work_of(expected_bits(SIMNET, tip, 0))


def refused(raw: bytes, tip: ChainTip, now: int = FAR, chosen: Network = SIMNET) -> PeerMisbehaved:
    with pytest.raises(PeerMisbehaved) as caught:
        extend(chosen, tip, raw, now)
    return caught.value


def test_a_header_that_continues_another_is_a_broken_link(tip: ChainTip, mine: Miner) -> None:
    assert refused(mine(SIMNET, tip, prev=b"\1" * 32), tip).fault is Fault.BROKEN_HEADER_LINK


def test_a_hash_above_its_target_is_a_bad_proof_of_work(tip: ChainTip, mine: Miner) -> None:
    raw = mine(SIMNET, tip)
    nonce = next(n for n in range(1 << 16) if int.from_bytes(x11(_with_nonce(raw, n)), "little") > _target_of(raw))
    assert refused(_with_nonce(raw, nonce), tip).fault is Fault.BAD_PROOF_OF_WORK


def _with_nonce(raw: bytes, nonce: int) -> bytes:
    return raw[:76] + nonce.to_bytes(4, "little")


def _target_of(raw: bytes) -> int:
    return compact_to_target(int.from_bytes(raw[72:76], "little"))


@pytest.mark.parametrize("step", [-1, 1])
def test_bits_that_are_off_by_one_are_a_bad_difficulty(tip: ChainTip, mine: Miner, step: int) -> None:
    error = refused(mine(SIMNET, tip, bits=expected_bits(SIMNET, tip, 0) + step), tip)
    assert error.fault is Fault.BAD_DIFFICULTY


@pytest.mark.parametrize("bits", [0x207FFFFF, 0, 0x04923456])
def test_bits_beyond_the_limit_or_without_a_target_are_a_bad_difficulty(tip: ChainTip, mine: Miner, bits: int) -> None:
    raw = mine(SIMNET, tip)
    assert refused(raw[:72] + bits.to_bytes(4, "little") + raw[76:], tip).fault is Fault.BAD_DIFFICULTY


def test_a_time_must_be_after_the_median_of_eleven(tip: ChainTip, mine: Miner) -> None:
    median = median_time(tip.window)
    assert refused(mine(SIMNET, tip, time=median), tip).fault is Fault.BAD_HEADER_TIME
    assert extend(SIMNET, tip, mine(SIMNET, tip, time=median + 1), FAR).count == 1


def test_a_time_may_be_two_hours_ahead_and_no_second_more(tip: ChainTip, mine: Miner) -> None:
    raw = mine(SIMNET, tip)
    time = int.from_bytes(raw[68:72], "little")
    assert extend(SIMNET, tip, raw, time - 7200).count == 1
    assert refused(raw, tip, time - 7201).fault is Fault.HEADER_FROM_THE_FUTURE


@pytest.mark.parametrize(("version", "name"), [(-1, "bip34"), (1, "bip34"), (2, "bip66"), (3, "bip65")])
def test_old_versions_end_with_their_deployment(mine: Miner, version: int, name: str) -> None:
    later = attrs.evolve(REGTEST, activations={**REGTEST.activations, "bip34": 9, "bip66": 9, "bip65": 9, name: 2})
    first = extend(later, genesis_tip(later), mine(later, genesis_tip(later), version=version), FAR).tip
    assert refused(mine(later, first, version=version), first, chosen=later).fault is Fault.BAD_HEADER_VERSION


def test_the_error_names_the_height_and_the_tip_is_unchanged(tip: ChainTip, mine: Miner) -> None:
    good = mine(SIMNET, tip)
    copy = attrs.evolve(tip)
    assert refused(good + good, tip).detail.startswith(f"height {tip.height + 2}: ")
    assert tip == copy


def test_half_a_header_is_our_mistake(tip: ChainTip) -> None:
    with pytest.raises(ValueError, match="no whole number"):
        extend(SIMNET, tip, bytes(79), FAR)


def test_no_headers_leave_the_tip_where_it_is(tip: ChainTip) -> None:
    checked = extend(SIMNET, tip, b"", FAR)
    assert (checked.count, checked.tip, checked.first_height) == (0, tip, tip.height + 1)


def test_the_first_testnet_blocks_in_batches_end_where_one_batch_ends(header_files: list[HeaderFile]) -> None:
    """Their rule looks back to the last multiple of 576, so a tip holds every header since then."""
    file = next(file for file in header_files if file.start == 0)
    whole = extend(TESTNET, genesis_tip(TESTNET), file.raw[80:], FAR).tip
    assert (whole.height, len(whole.window)) == (255, 256)
    for cut in (1, 10, 100, 254):
        first = extend(TESTNET, genesis_tip(TESTNET), file.raw[80 : 80 * (cut + 1)], FAR).tip
        assert tip_from(TESTNET, cut, first.hash, first.work, file.raw[: 80 * (cut + 1)]) == first
        assert extend(TESTNET, first, file.raw[80 * (cut + 1) :], FAR).tip == whole


def test_a_tip_that_knows_too_little_is_not_extended(tip: ChainTip, mine: Miner) -> None:
    """Only `follow` takes it, and judges what can be judged."""
    raw, short = mine(SIMNET, tip), attrs.evolve(tip, window=tip.window[-23:])
    with pytest.raises(ValueError, match="needs 24 headers, not 23"):
        extend(SIMNET, short, raw, FAR)
    assert follow(SIMNET, short, raw, FAR).tip == extend(SIMNET, tip, raw, FAR).tip


EASY_MAINNET = attrs.evolve(MAINNET, pow_limit=(1 << 255) - 1)


def test_below_the_first_judged_height_bits_need_only_be_a_target_within_the_limit(mine: Miner) -> None:
    """Mainnet's early rules are not computed: there each header proves the work that it claims itself."""
    start = genesis_tip(EASY_MAINNET)
    assert first_judged(MAINNET, genesis_tip(MAINNET)) == first_judged(EASY_MAINNET, start) == 107996
    odd = mine(EASY_MAINNET, start, bits=0x207ABCDE)
    tip = extend(EASY_MAINNET, start, odd, FAR).tip
    assert (tip.height, tip.work) == (1, start.work + work_of(0x207ABCDE))
    beyond = mine(EASY_MAINNET, start, bits=0x2100FFFF)
    assert refused(beyond, start, chosen=EASY_MAINNET).fault is Fault.BAD_DIFFICULTY
    with pytest.raises(ValueError, match="no rule but linkage holds on mainnet below height 107996"):
        expected_bits(EASY_MAINNET, start, 0)


def test_the_rules_begin_where_linkage_ends(mine: Miner) -> None:
    """The header below the height may have any bits, that at it may not."""
    linked = attrs.evolve(SIMNET, linked_until=30)
    tip = genesis_tip(linked)
    for height in range(1, 30):
        tip = extend(linked, tip, mine(linked, tip, bits=0x1F7FFFFE + height % 2), FAR).tip
    assert first_judged(linked, tip) == 30
    assert refused(mine(linked, tip, bits=0x1F7FFFFF), tip, chosen=linked).fault is Fault.BAD_DIFFICULTY
    assert extend(linked, tip, mine(linked, tip), FAR).count == 1


def test_a_tip_from_stored_headers_is_the_tip(chain: RecordedChain, recorded_network: Network) -> None:
    for height in (1, 10, 23, 24, 300):
        end = extend(recorded_network, genesis_tip(recorded_network), chain.headers[: 80 * height], FAR).tip
        recent = (recorded_network.genesis + chain.headers)[80 * max(0, height - 23) : 80 * (height + 1)]
        assert tip_from(recorded_network, height, end.hash, end.work, recent) == end


@pytest.mark.parametrize(("recent", "height"), [(79, 0), (0, 0), (23 * 80, 30), (80, 1)])
def test_a_tip_from_too_few_headers_is_our_mistake(recent: int, height: int) -> None:
    with pytest.raises(ValueError, match="needs"):
        tip_from(SIMNET, height, bytes(32), 1, bytes(recent))


def test_regtest_needs_only_the_eleven_of_the_median() -> None:
    assert len(tip_from(REGTEST, 300, bytes(32), 1, REGTEST.genesis * 11).window) == 11


@pytest.mark.parametrize(
    ("chosen", "height", "size"),
    [
        (MAINNET, 0, 1),
        (MAINNET, 9, 10),
        (MAINNET, 2_000_000, 24),
        (MAINNET, 576 * 40 - 1, 24),
        (TESTNET, 255, 256),
        (TESTNET, 575, 576),
        (TESTNET, 576, 24),
        (TESTNET, 700, 125),
        (TESTNET, 4000, 545),
        (TESTNET, 4001, 24),
        (REGTEST, 700, 11),
        (SIMNET, 700, 24),
        (network("devnet"), 575, 576),
        (network("devnet", min_difficulty_blocks=4032), 575, 24),
        (network("devnet", min_difficulty_blocks=600), 575, 24),
        (network("devnet", min_difficulty_blocks=600), 700, 125),
        (network("devnet", min_difficulty_blocks=750), 700, 125),
        (network("devnet", min_difficulty_blocks=4000), 3999, 24),
        (network("devnet", min_difficulty_blocks=3999), 3999, 544),
    ],
)
def test_a_header_is_judged_by_as_many_as_its_rule_looks_back_to(chosen: Network, height: int, size: int) -> None:
    assert context_size(chosen, height) == size


@pytest.mark.parametrize("tip_height", [0, 1, 5, 10, 11, 12, 100, 2_500_000])
@pytest.mark.parametrize("base", [0, 4])
def test_a_locator_steps_down_doubles_and_ends_with_the_base(tip_height: int, base: int) -> None:
    if tip_height < base:
        return
    heights = locator_heights(tip_height, base)
    assert heights[0] == tip_height
    assert heights[-1] == base
    assert heights == sorted(set(heights), reverse=True)
    assert heights[:10] == list(range(tip_height, max(tip_height - 10, base - 1), -1))[: len(heights)]
    assert len(heights) <= 101


def test_the_locator_of_a_long_chain_is_this() -> None:
    assert locator_heights(100) == [100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 88, 84, 76, 60, 28, 0]
