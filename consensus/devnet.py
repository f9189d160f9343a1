"""Devnets: private networks that share one genesis block and differ in a name and in what their arguments choose.

Block 1 is the same for every node of a devnet and made from its name alone, so that two devnets part right there: its
coinbase holds the name, and its nonce is the first, from 0, whose hash meets the limit [Core chainparams.cpp].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import attrs

from phasegate.consensus.primitives import BlockHeader, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.quorum_types import QuorumType
from phasegate.consensus.x11 import x11

MAX_QUORUM_SIZE = 400
_NAME = re.compile("[A-Za-z0-9._-]{1,64}")
_PAIR = re.compile("([0-9]{1,3}):([0-9]{1,3})")
_RESIZED = 101
_REWARD = 50 * 100_000_000
_LIMIT_BITS, _LIMIT = 0x207FFFFF, 0x7FFFFF << 232
_ROLE_OF = {
    "llmqchainlocks": "chainlock",
    "llmqinstantsenddip0024": "instantsend",
    "llmqplatform": "platform",
    "llmqmnhf": "mnhf",
}


class UnfitSetting(ValueError):
    """A devnet's setting for another network, or a value that it cannot have."""


def check_devnet_name(name: str) -> None:
    """Refuse a name that no file and no coinbase could carry.

    Raises:
        UnfitSetting: it is not 1 to 64 letters, digits, dots, dashes and underscores.
    """
    if not _NAME.fullmatch(name):
        raise UnfitSetting(f"devnet name {name!r} is not 1 to 64 letters, digits, dots, dashes and underscores")


@attrs.frozen
class QuorumChoice:
    """The quorum types of a devnet by number, and which of them signs what."""

    types: Mapping[int, QuorumType]
    roles: Mapping[str, int]


def choose_quorums(default: QuorumChoice, settings: Mapping[str, str]) -> QuorumChoice:
    """What a devnet's arguments make of its quorums.

    Args:
        default: without arguments.
        settings: Core's arguments without the dash: `llmqdevnetparams` to `SIZE:THRESHOLD`; and `llmqchainlocks`,
            `llmqinstantsenddip0024`, `llmqplatform`, `llmqmnhf` to the name of a type.

    Raises:
        UnfitSetting: an unknown argument or type, a size that cannot be, or a rotated type where a plain one signs.
    """
    types, roles = dict(default.types), dict(default.roles)
    for key, value in settings.items():
        if key == "llmqdevnetparams":
            types[_RESIZED] = _resized(types[_RESIZED], value)
        elif key in _ROLE_OF:
            roles[_ROLE_OF[key]] = _named(default.types, key, value).number
        else:
            raise UnfitSetting(f"unknown quorum setting {key!r}: choose llmqdevnetparams, {', '.join(_ROLE_OF)}")
    return QuorumChoice(MappingProxyType(types), MappingProxyType(roles))


def _resized(kind: QuorumType, value: str) -> QuorumType:
    pair = _PAIR.fullmatch(value)
    size, threshold = (int(pair[1]), int(pair[2])) if pair else (0, 0)
    if not 0 < threshold <= size <= MAX_QUORUM_SIZE:
        raise UnfitSetting(f"llmqdevnetparams={value} is not SIZE:THRESHOLD with a size of at most {MAX_QUORUM_SIZE}")
    return attrs.evolve(kind, size=size, min_size=threshold, threshold=threshold)


def _named(types: Mapping[int, QuorumType], key: str, name: str) -> QuorumType:
    rotated = key == "llmqinstantsenddip0024"
    fit = {kind.name: kind for kind in types.values() if kind.rotated == rotated}
    if name not in fit:
        raise UnfitSetting(f"{key}={name} names no such quorum type: choose one of {', '.join(fit)}")
    return fit[name]


@lru_cache(maxsize=16)
def first_block(genesis: bytes, full_name: str) -> bytes:
    """The header of block 1 of a devnet, 80 bytes.

    Args:
        genesis: the header before it.
        full_name: `devnet`, or `devnet-NAME`.
    """
    origin = BlockHeader.from_bytes(genesis)
    root = first_coinbase(full_name).txid
    header = BlockHeader(4, x11(genesis), root, origin.time + 1, _LIMIT_BITS, 0)
    while int.from_bytes(header.hash, "little") > _LIMIT:
        header = attrs.evolve(header, nonce=header.nonce + 1)
    return header.to_bytes()


def first_coinbase(full_name: str) -> Transaction:
    """The one transaction of that block."""
    name = full_name.encode()
    script = b"\x51" + bytes([len(name)]) + name
    nothing = OutPoint(bytes(32), 0xFFFFFFFF)
    return Transaction(1, 0, (TxIn(nothing, script),), (TxOut(_REWARD, b"\x6a"),))
