"""The networks, their genesis blocks, and the hash that names them."""

from __future__ import annotations

import attrs
import pytest

from phasegate.consensus.headers import expected_bits, genesis_tip, work_of
from phasegate.consensus.params import MAINNET, NETWORKS, REGTEST, UnknownActivation, UnknownNetwork, network
from phasegate.consensus.primitives import BlockHeader
from phasegate.consensus.x11 import x11, x11_many

GENESIS = {
    "mainnet": "00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6",
    "testnet": "00000bafbc94add76cb75e2ec92894837288a481e5c005f6563d91623bf8bc2c",
    "devnet": "000008ca1832a4baf228eb1553c03d3a2c8e02399550dd6ea8d65cec3ef23d2e",
    "regtest": "000008ca1832a4baf228eb1553c03d3a2c8e02399550dd6ea8d65cec3ef23d2e",
}


@pytest.mark.parametrize("name", GENESIS)
def test_the_genesis_hash_is_the_known_one(name: str) -> None:
    tip = genesis_tip(NETWORKS[name])
    assert tip.hash[::-1].hex() == GENESIS[name]
    assert (tip.height, tip.work) == (0, work_of(BlockHeader.from_bytes(NETWORKS[name].genesis).bits))


def test_simnet_begins_with_work_that_meets_its_own_limit() -> None:
    simnet = NETWORKS["simnet"]
    header = BlockHeader.from_bytes(simnet.genesis)
    assert int.from_bytes(header.hash, "little") <= simnet.pow_limit
    assert header.bits == expected_bits(simnet, genesis_tip(simnet), header.time + 150)


def test_every_network_has_its_own_magic_and_port() -> None:
    assert len({n.magic for n in NETWORKS.values()}) == len({n.port for n in NETWORKS.values()}) == len(NETWORKS) == 5


def test_activations_of_private_networks_can_be_chosen() -> None:
    chosen = network("regtest", {"dip3": 2, "v20": 100})
    assert (chosen.dip3, chosen.v20) == (2, 100)
    assert (REGTEST.dip3, REGTEST.v20) == (432, 432)
    assert network("regtest") is REGTEST


@pytest.mark.parametrize(
    ("name", "activations"),
    [("mainnet", {"dip3": 2}), ("regtest", {"dip33": 2}), ("regtest", {"dip3": -1}), ("regtest", {"dip3": 1 << 31})],
)
def test_an_activation_that_cannot_be_is_refused(name: str, activations: dict[str, int]) -> None:
    with pytest.raises(UnknownActivation):
        network(name, activations)


def test_an_unknown_network_is_refused_with_the_choices() -> None:
    with pytest.raises(UnknownNetwork, match="choose one of mainnet"):
        network("bitcoin")


def test_x11_takes_whole_headers_only() -> None:
    assert x11_many(MAINNET.genesis * 3) == x11(MAINNET.genesis) * 3
    with pytest.raises(ValueError, match="80 bytes"):
        x11(b"")
    with pytest.raises(ValueError, match="no whole number"):
        x11_many(bytes(81))


def test_the_quorum_types_are_those_of_core() -> None:
    """Sizes, least sizes, thresholds, intervals, active counts, mining windows and rotation, for each network."""
    row = attrs.astuple(NETWORKS["mainnet"].quorum_types[5])
    assert row == (5, "llmq_60_75", 60, 50, 45, 288, 32, (42, 50), True)
    assert {n: kind.dkg_mining for n, kind in MAINNET.quorum_types.items()} == {
        1: (10, 18), 2: (20, 28), 3: (20, 48), 4: (10, 18), 5: (42, 50)
    }  # fmt: skip
    assert list(NETWORKS["testnet"].quorum_types) == [1, 2, 3, 4, 5, 6]
    assert list(REGTEST.quorum_types) == list(NETWORKS["simnet"].quorum_types) == [100, 102, 103, 104, 106]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_role_is_a_type_that_fits_it(name: str) -> None:
    """InstantSend is signed by a rotated type, everything else by a plain one; sizes and windows hold together."""
    chain = NETWORKS[name]
    for role, number in chain.roles.items():
        assert chain.quorum_types[number].rotated == (role == "instantsend")
    for kind in chain.quorum_types.values():
        assert 0 < kind.threshold <= kind.min_size <= kind.size
        assert 0 < kind.dkg_mining[0] < kind.dkg_mining[1] < kind.interval


def test_public_networks_know_their_least_work_and_how_old_a_tip_may_be() -> None:
    """The private ones demand nothing, so that a chain of yesterday can be looked at."""
    assert {n.name: (n.min_chainwork > 0, n.max_tip_age) for n in NETWORKS.values()} == {
        "mainnet": (True, 86_400.0),
        "testnet": (True, 86_400.0),
        "devnet": (False, 86_400.0),
        "regtest": (False, None),
        "simnet": (False, None),
    }


def test_files_are_named_by_the_network() -> None:
    assert [n.file_name for n in NETWORKS.values()] == list(NETWORKS)
    assert network("devnet", devnet_name="foo").file_name == "devnet-foo"
