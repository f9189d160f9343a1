"""The Dash networks and phasegate's own simulated one: what each fixes before the first byte arrives.

Sources: Core chainparams.cpp and llmq/params.h (23.1). `simnet` is ours: regtest's prefixes and quorum types, every
deployment active from height 2, and DarkGravityWave on, with a limit so easy (2^250) that a chain of thousands of
blocks is mined in seconds while each rule still runs. The products of DarkGravityWave would wrap beyond 2^256 there,
as they do on devnets, and demand thousands of hashes a block: `wide_arithmetic` lets simnet compute without a wrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

SPACING = 150
"""Seconds between blocks, on every network."""


class UnknownNetwork(ValueError):
    """No network of that name."""


class UnknownActivation(ValueError):
    """No such deployment, or a height that cannot be one."""


@attrs.frozen
class QuorumType:
    """One LLMQ type [Core llmq/params.h]: `active` is the number of quorums signing at once."""

    number: int
    size: int
    threshold: int
    interval: int
    active: int
    rotated: bool = False


@attrs.frozen
class Network:
    """Everything that differs between networks; hashes in wire order, targets as integers."""

    name: str
    magic: bytes
    port: int
    pubkey_prefix: int
    script_prefix: int
    genesis: bytes
    pow_limit: int
    activations: Mapping[str, int]
    min_difficulty_blocks: bool = False
    no_retargeting: bool = False
    wide_arithmetic: bool = False
    kgw_height: int = 0
    dgw_height: int = 0
    min_chainwork: int = 0
    syncable: bool = False
    quorum_types: Mapping[int, QuorumType] = attrs.field(factory=dict)
    roles: Mapping[str, int] = attrs.field(factory=dict)
    dns_seeds: tuple[str, ...] = ()

    @property
    def dip3(self) -> int:
        """The height from which coinbases carry masternode roots."""
        return self.activations["dip3"]

    @property
    def v20(self) -> int:
        """The height from which coinbases carry a ChainLock (cbTx version 3)."""
        return self.activations["v20"]


def _genesis(time: int, bits: int, nonce: int) -> bytes:
    root = bytes.fromhex("c762a6567f3cc092f0684bb62b7e00a84890b990f07cc71a6bb58d64b98e02e0")
    little = [n.to_bytes(4, "little") for n in (1, time, bits, nonce)]
    return little[0] + bytes(32) + root + b"".join(little[1:])


def _types(*rows: tuple[int, int, int, int, int, bool]) -> Mapping[int, QuorumType]:
    return MappingProxyType({row[0]: QuorumType(*row) for row in rows})


_NAMES = (
    "bip34", "bip66", "bip65", "csv", "bip147", "dip1", "dip3", "dip8", "dip20", "dip24", "dip24_quorums",
    "v19", "v20", "mn_rr", "withdrawals",
)  # fmt: skip


def _heights(*heights: int) -> Mapping[str, int]:
    return MappingProxyType(dict(zip(_NAMES, heights, strict=True)))


_ROTATED = True
_TEST_TYPES = (
    (100, 3, 2, 24, 2, False),
    (102, 3, 2, 24, 2, False),
    (103, 4, 3, 24, 2, _ROTATED),
    (104, 3, 2, 24, 2, False),
    (106, 3, 2, 24, 2, False),
)
_MAIN_TYPES = (
    (1, 50, 30, 24, 24, False),
    (2, 400, 240, 288, 4, False),
    (3, 400, 340, 576, 4, False),
    (4, 100, 67, 24, 24, False),
    (5, 60, 45, 288, 32, _ROTATED),
)
_MAIN_HEIGHTS = _heights(
    951, 245817, 619382, 622944, 939456, 782208, 1028160, 1088640, 1516032, 1737792, 1738698,
    1899072, 1987776, 2128896, 2201472,
)  # fmt: skip
_REGTEST_GENESIS = _genesis(1417713337, 0x207FFFFF, 1096447)
_EASY = (1 << 255) - 1

MAINNET = Network(
    name="mainnet",
    magic=bytes.fromhex("bf0c6bbd"),
    port=9999,
    pubkey_prefix=76,
    script_prefix=16,
    genesis=_genesis(1390095618, 0x1E0FFFF0, 28917698),
    pow_limit=(1 << 236) - 1,
    activations=_MAIN_HEIGHTS,
    kgw_height=15200,
    dgw_height=34140,
    min_chainwork=0xB567E2D53A06DE194061,
    quorum_types=_types(*_MAIN_TYPES),
    roles=MappingProxyType({"chainlock": 2, "instantsend": 5, "platform": 4, "mnhf": 3}),
    dns_seeds=("dnsseed.dash.org",),
)
TESTNET = Network(
    name="testnet",
    magic=bytes.fromhex("cee2caff"),
    port=19999,
    pubkey_prefix=140,
    script_prefix=19,
    genesis=_genesis(1390666206, 0x1E0FFFF0, 3861367235),
    pow_limit=(1 << 236) - 1,
    activations=_heights(
        76, 2075, 2431, 8064, 4300, 5500, 7000, 78800, 414100, 769700, 770730, 850100, 905100, 1066900, 1148500
    ),
    min_difficulty_blocks=True,
    kgw_height=4002,
    dgw_height=4002,
    min_chainwork=0x036C8F738DA818D2,
    quorum_types=_types(*_MAIN_TYPES, (6, 25, 17, 24, 24, False)),
    roles=MappingProxyType({"chainlock": 1, "instantsend": 5, "platform": 6, "mnhf": 1}),
    dns_seeds=("testnet-seed.dashdot.io",),
)
DEVNET = Network(
    name="devnet",
    magic=bytes.fromhex("e2caffce"),
    port=19799,
    pubkey_prefix=140,
    script_prefix=19,
    genesis=_REGTEST_GENESIS,
    pow_limit=_EASY,
    activations=_heights(1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2),
    min_difficulty_blocks=True,
    kgw_height=4001,
    dgw_height=4001,
    quorum_types=_types((101, 12, 6, 24, 4, False), (105, 8, 4, 48, 2, _ROTATED), (107, 12, 8, 24, 4, False)),
    roles=MappingProxyType({"chainlock": 101, "instantsend": 105, "platform": 107, "mnhf": 107}),
)
REGTEST = Network(
    name="regtest",
    magic=bytes.fromhex("fcc1b7dc"),
    port=19899,
    pubkey_prefix=140,
    script_prefix=19,
    genesis=_REGTEST_GENESIS,
    pow_limit=_EASY,
    activations=_heights(1, 1, 1, 1, 0, 1, 432, 1, 1, 1, 1, 1, 432, 432, 600),
    min_difficulty_blocks=True,
    no_retargeting=True,
    kgw_height=15200,
    dgw_height=34140,
    syncable=True,
    quorum_types=_types(*_TEST_TYPES),
    roles=MappingProxyType({"chainlock": 100, "instantsend": 103, "platform": 106, "mnhf": 100}),
)
SIMNET = Network(
    name="simnet",
    magic=bytes.fromhex("fa53d077"),
    port=29899,
    pubkey_prefix=140,
    script_prefix=19,
    genesis=bytes.fromhex(
        "0100000000000000000000000000000000000000000000000000000000000000000000009a1cd8b08ba7b42fff4d871196b4143030534e73a4e36dfe08cf43bc19e80c8680b7d952ffff032032000000"
    ),
    pow_limit=(1 << 250) - 1,
    activations=_heights(*[2] * len(_NAMES)),
    wide_arithmetic=True,
    syncable=True,
    quorum_types=_types(*_TEST_TYPES),
    roles=REGTEST.roles,
)

NETWORKS: Mapping[str, Network] = MappingProxyType(
    {n.name: n for n in (MAINNET, TESTNET, DEVNET, REGTEST, SIMNET)},
)


def network(name: str, activations: Mapping[str, int] | None = None) -> Network:
    """The network called `name`, with some activation heights replaced (Core -testactivationheight, -dip3params).

    Args:
        name: one of `NETWORKS`.
        activations: deployment name to height, for the private networks.

    Raises:
        UnknownNetwork: no such network.
        UnknownActivation: no such deployment, a negative height, or a public network, whose heights are fixed.
    """
    if name not in NETWORKS:
        raise UnknownNetwork(f"unknown network {name!r}: choose one of {', '.join(NETWORKS)}")
    chosen = NETWORKS[name]
    if not activations:
        return chosen
    if name in ("mainnet", "testnet"):
        raise UnknownActivation(f"the activation heights of {name} are fixed")
    for key, height in activations.items():
        if key not in chosen.activations:
            raise UnknownActivation(f"unknown activation {key!r}: choose one of {', '.join(chosen.activations)}")
        if not 0 <= height < 1 << 31:
            raise UnknownActivation(f"activation {key}={height} is no height")
    return attrs.evolve(chosen, activations=MappingProxyType({**chosen.activations, **activations}))
