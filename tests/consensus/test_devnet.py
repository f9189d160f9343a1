"""A devnet: its name, its first block, and the quorums that it chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.devnet import first_block
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.params import DEVNET, UnfitSetting, network
from phasegate.consensus.primitives import BlockHeader
from phasegate.consensus.x11 import x11

if TYPE_CHECKING:
    from tests.consensus.conftest import Miner

FAR = 1 << 31
ATLAS = "6bf1e63db8f55984d9ddfe93b99f0dd11e5d593c2d7cbdf706c84c11b37827d2"
"""Block 1 of the devnet `atlas-local-v1`, as nodes of Dash Core 23.1 made it and their operators published it."""


def test_block_one_is_the_one_that_real_nodes_make() -> None:
    """From the name alone."""
    assert x11(first_block(DEVNET.genesis, "devnet-atlas-local-v1"))[::-1].hex() == ATLAS


def test_block_one_is_the_first_nonce_that_meets_the_limit() -> None:
    header = BlockHeader.from_bytes(first_block(DEVNET.genesis, "devnet-foo"))
    assert (header.version, header.prev, header.bits) == (4, x11(DEVNET.genesis), 0x207FFFFF)
    assert (header.time, header.nonce) == (1417713338, 1)
    raw = header.to_bytes()[:76] + bytes(4)
    assert int.from_bytes(x11(raw), "little") > 0x7FFFFF << 232 >= int.from_bytes(header.hash, "little")


def test_each_devnet_has_its_own_block_one_and_a_devnet_without_a_name_too() -> None:
    names = ("devnet", "devnet-a", "devnet-b")
    assert len({first_block(DEVNET.genesis, name) for name in names}) == len(names)
    assert [network("devnet", devnet_name=name).file_name for name in ("", "a", "b")] == list(names)


def test_the_chain_of_another_devnet_is_refused_at_its_first_block(mine: Miner) -> None:
    """By name, whatever follows it; and so is any other block that keeps all rules."""
    ours = network("devnet", devnet_name="ours")
    start = genesis_tip(ours)
    assert extend(ours, start, first_block(ours.genesis, "devnet-ours"), FAR).tip.height == 1
    for other in (first_block(ours.genesis, "devnet-theirs"), first_block(ours.genesis, "devnet"), mine(ours, start)):
        with pytest.raises(PeerMisbehaved, match=r"contradicts the checkpoint .* of devnet-ours$") as caught:
            extend(ours, start, other, FAR)
        assert caught.value.fault is Fault.CHECKPOINT_CONTRADICTED
        assert caught.value.detail.startswith("height 1: ")


@pytest.mark.parametrize("name", ["x" * 65, "two words", "a/b", "..\\x", "é", "a\n"])
def test_a_name_that_no_file_could_carry_is_refused(name: str) -> None:
    with pytest.raises(UnfitSetting, match="devnet name"):
        network("devnet", devnet_name=name)


@pytest.mark.parametrize("name", ["mainnet", "testnet", "regtest", "simnet"])
def test_only_devnets_choose_these(name: str) -> None:
    for chosen in ({"devnet_name": "foo"}, {"min_difficulty_blocks": 1}, {"quorums": {"llmqchainlocks": "llmq_test"}}):
        with pytest.raises(UnfitSetting, match=f"{name} has no name, minimum difficulty or quorums of its own"):
            network(name, **chosen)


@pytest.mark.parametrize("blocks", [-1, 1 << 31])
def test_minimum_difficulty_blocks_are_a_height(blocks: int) -> None:
    assert network("devnet", min_difficulty_blocks=4032).min_difficulty_until == 4032
    with pytest.raises(UnfitSetting, match="no number of minimum difficulty blocks"):
        network("devnet", min_difficulty_blocks=blocks)


def test_a_devnet_has_mainnets_quorum_types_and_its_own() -> None:
    assert list(DEVNET.quorum_types) == [1, 2, 3, 4, 5, 101, 105, 107]
    assert dict(DEVNET.roles) == {"chainlock": 101, "instantsend": 105, "platform": 107, "mnhf": 101}


def test_its_quorum_size_is_chosen_as_in_core() -> None:
    """The least number of valid members becomes the threshold; the other types stay."""
    kind = network("devnet", quorums={"llmqdevnetparams": "5:3"}).quorum_types[101]
    assert (kind.size, kind.min_size, kind.threshold, kind.active) == (5, 3, 3, 4)
    assert DEVNET.quorum_types[101].size == 12


def test_which_type_signs_is_chosen_by_name() -> None:
    chosen = network(
        "devnet",
        quorums={
            "llmqchainlocks": "llmq_50_60",
            "llmqinstantsenddip0024": "llmq_60_75",
            "llmqplatform": "llmq_100_67",
            "llmqmnhf": "llmq_devnet_platform",
        },
    )
    assert dict(chosen.roles) == {"chainlock": 1, "instantsend": 5, "platform": 4, "mnhf": 107}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llmqdevnetparams", "12"),
        ("llmqdevnetparams", "3:4"),
        ("llmqdevnetparams", "3:0"),
        ("llmqdevnetparams", "401:1"),
        ("llmqdevnetparams", "-3:2"),
        ("llmqchainlocks", "llmq_none"),
        ("llmqchainlocks", "llmq_devnet_dip0024"),
        ("llmqinstantsenddip0024", "llmq_devnet"),
        ("llmqplatform", "llmq_test_platform"),
        ("llmqinstantsend", "llmq_devnet"),
    ],
)
def test_a_quorum_setting_that_cannot_be_is_refused(key: str, value: str) -> None:
    """Sizes, types that the network has not, and a rotated type where a plain one signs or the other way round."""
    with pytest.raises(UnfitSetting, match=key):
        network("devnet", quorums={key: value})
