"""Built-in checkpoints: the shipped lists are the public data, and a chain that contradicts one is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.checkpoints import (
    Checkpoint,
    between,
    check_checkpoint,
    checkpoints,
    start_before,
    start_before_time,
)
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import ChainTip, extend, genesis_tip, work_of
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET, Network
from phasegate.consensus.primitives import BlockHeader
from phasegate.consensus.x11 import x11

if TYPE_CHECKING:
    from tests.consensus.conftest import Miner

FAR = 1 << 31
PUBLIC = [MAINNET, TESTNET]
LISTED = {"mainnet": (17, 395), "testnet": (12, 124)}
"""How many checkpoints come from Core's list, and how many there are."""


def origin(shared: Path, chain: Network) -> Iterator[Checkpoint]:
    """The checkpoints of dashj: `work12 height4 header80`, big-endian numbers, a base64 line each."""
    lines = (shared / "vectors" / "headers" / f"dashj_checkpoints_{chain.name}.txt").read_text().splitlines()[3:]
    for raw in map(base64.b64decode, lines):
        work, height = int.from_bytes(raw[:12], "big"), int.from_bytes(raw[12:16], "big")
        yield Checkpoint(height, x11(raw[16:]), raw[16:], work)


@pytest.mark.parametrize("chain", PUBLIC, ids=lambda chain: chain.name)
def test_the_shipped_starts_are_those_of_the_public_list(shared: Path, chain: Network) -> None:
    """Each 576 blocks where only they protect a chain, each 11,520 above, and the newest; hash = X11 of the header."""
    known = list(origin(shared, chain))
    wanted = [c for c in known if c.height < chain.linked_until or c.height % 11_520 == 0 or c is known[-1]]
    assert [c for c in checkpoints(chain).values() if c.starts] == wanted


@pytest.mark.parametrize("chain", PUBLIC, ids=lambda chain: chain.name)
def test_the_shipped_lists_are_whole_ascending_and_agree_with_the_public_list(shared: Path, chain: Network) -> None:
    shipped, known = checkpoints(chain), {c.height: c for c in origin(shared, chain)}
    bare = [c for c in shipped.values() if not c.starts]
    assert (len(bare), len(shipped)) == LISTED[chain.name]
    assert list(shipped) == sorted(shipped)
    assert all(c.hash == known[c.height].hash for c in bare if c.height in known)
    assert all(int.from_bytes(c.hash, "little") <= chain.pow_limit for c in shipped.values())


@pytest.mark.parametrize("chain", PUBLIC, ids=lambda chain: chain.name)
def test_work_and_proof_of_the_shipped_starts_hold_together(chain: Network) -> None:
    """Each header proves its work, and the chain's grows by at least that of the header."""
    work = 0
    for start in (c for c in checkpoints(chain).values() if c.starts):
        assert start.header is not None
        assert start.work is not None
        header = BlockHeader.from_bytes(start.header)
        assert header.hash == start.hash
        assert start.work >= work + work_of(header.bits)
        assert start.time == header.time
        work = start.work


def test_private_networks_have_none_but_a_devnet_its_first_block() -> None:
    assert not checkpoints(REGTEST)
    assert not checkpoints(SIMNET)
    assert list(checkpoints(DEVNET)) == [1]
    assert start_before(DEVNET, 100) is None


@pytest.mark.parametrize(
    ("height", "start"),
    [(0, None), (575, None), (576, 576), (1500, 1152), (107_996, 107_712), (115_199, 107_712), (115_200, 115_200)],
)
def test_a_chain_begins_at_the_newest_start_at_or_below_a_height(height: int, start: int | None) -> None:
    """Never at one of which only the hash is known."""
    found = start_before(MAINNET, height)
    assert (found and found.height) == start


def test_the_newest_start_of_all_is_the_newest_of_the_list() -> None:
    assert [c.height for c in (start_before(MAINNET, FAR), start_before(TESTNET, FAR)) if c] == [2_302_272, 1_284_480]


def test_a_date_leaves_two_hours_for_clocks_that_ran_ahead() -> None:
    """A block of that date or later may stand before a start whose time is up to two hours lower."""
    start = start_before(MAINNET, 115_200)
    assert start is not None
    assert start.time is not None
    assert start_before_time(MAINNET, start.time + 7200) == start
    assert start_before_time(MAINNET, start.time + 7199) == start_before(MAINNET, 115_199)
    assert start_before_time(MAINNET, 1_390_095_618) is None


@pytest.mark.parametrize(
    ("first", "last", "heights"),
    [(1, 1500, [576, 1152, 1500]), (1500, 1500, [1500]), (1501, 1727, []), (2_429_859, FAR, [2_429_859])],
)
def test_the_checkpoints_of_a_range_include_both_ends(first: int, last: int, heights: list[int]) -> None:
    assert list(between(MAINNET, first, last)) == heights


def test_a_contradiction_names_height_hash_and_checkpoint() -> None:
    check_checkpoint(MAINNET, 1500, checkpoints(MAINNET)[1500].hash)
    check_checkpoint(MAINNET, 1501, bytes(32))
    with pytest.raises(PeerMisbehaved) as caught:
        check_checkpoint(MAINNET, 1500, bytes(31) + b"\1")
    assert caught.value.fault is Fault.CHECKPOINT_CONTRADICTED
    assert caught.value.detail == (
        f"height 1500: 01{'00' * 31} contradicts the checkpoint "
        "000000aaf0300f59f49bc3e970bad15c11f961fe2347accffff19d96ec9778e3 of mainnet"
    )


EASY = attrs.evolve(MAINNET, pow_limit=(1 << 255) - 1)


@pytest.fixture(scope="module")
def forged(mine: Miner) -> tuple[ChainTip, bytes]:
    """Six hundred blocks behind mainnet's genesis that keep every rule of an easy limit: the tip below 576, and all."""
    tip, raw, below = genesis_tip(EASY), b"", genesis_tip(EASY)
    forge = attrs.evolve(EASY, name="forge")
    for height in range(1, 601):
        header = mine(forge, tip, bits=0x207FFFFF)
        raw, tip = raw + header, extend(forge, tip, header, FAR).tip
        below = tip if height == 575 else below
    return below, raw


def test_a_chain_with_another_block_at_a_checkpoint_is_refused_in_mid_batch(forged: tuple[ChainTip, bytes]) -> None:
    """Below mainnet's first judged height nothing else would stop it: its work is its own claim."""
    below, raw = forged
    assert extend(EASY, genesis_tip(EASY), raw[: 80 * 575], FAR).tip == below
    for start, batch in ((genesis_tip(EASY), raw), (below, raw[80 * 575 :])):
        with pytest.raises(PeerMisbehaved, match=r"^checkpoint-contradicted: height 576: .* of mainnet$"):
            extend(EASY, start, batch, FAR)


def test_the_same_chain_passes_where_no_checkpoint_stands(forged: tuple[ChainTip, bytes]) -> None:
    """So it was the checkpoint that refused it."""
    tip = extend(attrs.evolve(EASY, name="forge"), genesis_tip(EASY), forged[1], FAR).tip
    assert (tip.height, tip.work) == (600, genesis_tip(EASY).work + 1200)


def test_a_network_may_know_more_blocks() -> None:
    """In any order, beside those that are built in, which stand where both know one; a chain begins at none of them."""
    own = {1600: b"\1" * 32, 9: b"\2" * 32}
    assert list(checkpoints(attrs.evolve(SIMNET, known_blocks=own))) == [9, 1600]
    more = attrs.evolve(MAINNET, known_blocks={**own, 1500: b"\3" * 32})
    assert list(between(more, 1, 1728)) == [9, 576, 1152, 1500, 1600, 1728]
    assert checkpoints(more)[1500] == checkpoints(MAINNET)[1500]
    with pytest.raises(PeerMisbehaved):
        check_checkpoint(more, 9, bytes(32))
    assert start_before(attrs.evolve(SIMNET, known_blocks=own), FAR) is None
    assert list(between(MAINNET, 1, 1500)) == [576, 1152, 1500]
