"""The Dash networks and phasegate's own simulated one: what each fixes before the first byte arrives.

Sources: Core chainparams.cpp (23.1). `simnet` is ours: regtest's prefixes and quorum types, every
deployment active from height 2, and DarkGravityWave on, with a limit so easy (2^250) that a chain of thousands of
blocks is mined in seconds while each rule still runs. The products of DarkGravityWave would wrap beyond 2^256 there,
as they do on devnets, and demand thousands of hashes a block: `wide_arithmetic` lets simnet compute without a wrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from phasegate.consensus.devnet import QuorumChoice, UnfitSetting, check_devnet_name, choose_quorums
from phasegate.consensus.quorum_types import (
    DEVNET_TYPES,
    MAIN_TYPES,
    REGTEST_TYPES,
    TESTNET_TYPES,
    QuorumType,
    types_of,
)

__all__ = [
    "DEVNET",
    "MAINNET",
    "NETWORKS",
    "REGTEST",
    "SIMNET",
    "SPACING",
    "TESTNET",
    "Network",
    "QuorumType",
    "UnfitSetting",
    "UnknownActivation",
    "UnknownNetwork",
    "network",
]

SPACING = 150
"""Seconds between blocks, on every network."""


class UnknownNetwork(ValueError):
    """No network of that name."""


class UnknownActivation(ValueError):
    """No such deployment, or a height that cannot be one."""


def _ascending(blocks: Mapping[int, bytes]) -> Mapping[int, bytes]:
    return MappingProxyType(dict(sorted(blocks.items())))


@attrs.frozen
class Network:
    """Everything that differs between networks; hashes in wire order, targets as integers.

    Args:
        name: as users choose it.
        magic: the four bytes that begin each message.
        port: where nodes listen.
        pubkey_prefix: of the version byte of an address.
        script_prefix: likewise, of a script address.
        genesis: the first header, 80 bytes.
        pow_limit: the easiest target, an integer.
        activations: deployment name to height.
        allow_min_difficulty: whether late blocks may be easier.
        no_retargeting: whether the difficulty never changes.
        wide_arithmetic: whether DarkGravityWave computes beyond 256 bits instead of wrapping.
        dgw_height: the first height of DarkGravityWave; below it the difficulty changes each 576 blocks.
        linked_until: below this height linkage to the built-in checkpoints replaces the difficulty rules.
        min_difficulty_until: blocks up to this height have the limit (Core -minimumdifficultyblocks).
        min_chainwork: the work below which a chain is never taken for the network's.
        max_tip_age: seconds after which the newest block is too old to be the tip; None: never.
        devnet_name: of a named devnet (Core -devnet=NAME).
        quorum_types: the LLMQ types that are enabled, by number.
        roles: which of them signs what.
        dns_seeds: names that resolve to nodes.
        known_blocks: height to hash of blocks that are known beside the built-in checkpoints.
    """

    name: str
    magic: bytes
    port: int
    pubkey_prefix: int
    script_prefix: int
    genesis: bytes
    pow_limit: int
    activations: Mapping[str, int]
    allow_min_difficulty: bool = False
    no_retargeting: bool = False
    wide_arithmetic: bool = False
    dgw_height: int = 0
    linked_until: int = 0
    min_difficulty_until: int = 0
    min_chainwork: int = 0
    max_tip_age: float | None = None
    devnet_name: str = ""
    quorum_types: Mapping[int, QuorumType] = attrs.field(factory=dict)
    roles: Mapping[str, int] = attrs.field(factory=dict)
    dns_seeds: tuple[str, ...] = ()
    known_blocks: Mapping[int, bytes] = attrs.field(factory=dict, converter=_ascending)

    @property
    def file_name(self) -> str:
        """What the files of this chain are named by: the network's name, and a devnet's own name after it."""
        return f"{self.name}-{self.devnet_name}" if self.devnet_name else self.name

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


_NAMES = (
    "bip34", "bip66", "bip65", "csv", "bip147", "dip1", "dip3", "dip8", "dip20", "dip24", "dip24_quorums",
    "v19", "v20", "mn_rr", "withdrawals",
)  # fmt: skip


def _heights(*heights: int) -> Mapping[str, int]:
    return MappingProxyType(dict(zip(_NAMES, heights, strict=True)))


_DAY = 86_400.0
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
    dgw_height=34140,
    linked_until=107996,
    min_chainwork=0xB567E2D53A06DE194061,
    max_tip_age=_DAY,
    quorum_types=types_of(*MAIN_TYPES),
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
    allow_min_difficulty=True,
    dgw_height=4002,
    min_chainwork=0x036C8F738DA818D2,
    max_tip_age=_DAY,
    quorum_types=types_of(*TESTNET_TYPES),
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
    allow_min_difficulty=True,
    dgw_height=4001,
    max_tip_age=_DAY,
    quorum_types=types_of(*DEVNET_TYPES),
    roles=MappingProxyType({"chainlock": 101, "instantsend": 105, "platform": 107, "mnhf": 101}),
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
    allow_min_difficulty=True,
    no_retargeting=True,
    quorum_types=types_of(*REGTEST_TYPES),
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
    quorum_types=types_of(*REGTEST_TYPES),
    roles=REGTEST.roles,
)

NETWORKS: Mapping[str, Network] = MappingProxyType(
    {n.name: n for n in (MAINNET, TESTNET, DEVNET, REGTEST, SIMNET)},
)


def network(
    name: str,
    activations: Mapping[str, int] | None = None,
    *,
    devnet_name: str = "",
    min_difficulty_blocks: int = 0,
    quorums: Mapping[str, str] | None = None,
) -> Network:
    """The network called `name`, with what a private network may choose for itself.

    Args:
        name: one of `NETWORKS`.
        activations: deployment name to height, for the private networks (Core -testactivationheight, -dip3params).
        devnet_name: which devnet (Core -devnet=NAME).
        min_difficulty_blocks: of a devnet, Core -minimumdifficultyblocks.
        quorums: of a devnet, Core's arguments without the dash: `llmqdevnetparams` to `SIZE:THRESHOLD`; and
            `llmqchainlocks`, `llmqinstantsenddip0024`, `llmqplatform`, `llmqmnhf` to the name of a type.

    Raises:
        UnknownNetwork: no such network.
        UnknownActivation: no such deployment, a negative height, or a public network, whose heights are fixed.
        UnfitSetting: a devnet's setting for another network, or a value that it cannot have.
    """
    if name not in NETWORKS:
        raise UnknownNetwork(f"unknown network {name!r}: choose one of {', '.join(NETWORKS)}")
    chosen = _with_activations(NETWORKS[name], activations or {})
    if not (devnet_name or min_difficulty_blocks or quorums):
        return chosen
    if name != DEVNET.name:
        raise UnfitSetting(f"{name} has no name, minimum difficulty or quorums of its own: only devnets have")
    if devnet_name:
        check_devnet_name(devnet_name)
    if not 0 <= min_difficulty_blocks < 1 << 31:
        raise UnfitSetting(f"{min_difficulty_blocks} is no number of minimum difficulty blocks")
    made = choose_quorums(QuorumChoice(chosen.quorum_types, chosen.roles), quorums or {})
    return attrs.evolve(
        chosen,
        devnet_name=devnet_name,
        min_difficulty_until=min_difficulty_blocks,
        quorum_types=made.types,
        roles=made.roles,
    )


def _with_activations(chosen: Network, activations: Mapping[str, int]) -> Network:
    if activations and chosen.name in ("mainnet", "testnet"):
        raise UnknownActivation(f"the activation heights of {chosen.name} are fixed")
    for key, height in activations.items():
        if key not in chosen.activations:
            raise UnknownActivation(f"unknown activation {key!r}: choose one of {', '.join(chosen.activations)}")
        if not 0 <= height < 1 << 31:
            raise UnknownActivation(f"activation {key}={height} is no height")
    if not activations:
        return chosen
    return attrs.evolve(chosen, activations=MappingProxyType({**chosen.activations, **activations}))
