"""Generated chains that pay to scripts derived from extended keys, so that a client has to derive them to find all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from unittest.mock import patch

import attrs

from phasegate.consensus.bip32 import ExtendedKey
from phasegate.consensus.codec import var_bytes
from phasegate.consensus.descriptors import Descriptor, parse_descriptors
from phasegate.consensus.params import SIMNET
from phasegate.p2p.simnet import payments
from phasegate.p2p.simnet.generated import GeneratedChain

MASTER = (
    "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
)
"""The master key of the first test vector of BIP32."""


@cache
def account(number: int) -> ExtendedKey:
    """An account of nobody; its extended key."""
    return ExtendedKey.parse(MASTER).child(number)


def account_text(number: int) -> str:
    """The same, as it is written on simnet."""
    return account(number).text(mainnet=False)


@cache
def descriptor(number: int, branch: int) -> Descriptor:
    """The descriptor of the addresses that are given away (0) or that change goes to (1)."""
    return parse_descriptors(f"pkh({account_text(number)}/{branch}/*)", SIMNET)[0]


def script(number: int, branch: int, index: int) -> bytes:
    """The script of one address."""
    return descriptor(number, branch).scripts(index)[0]


Place = tuple[int, int, int]
"""Account, branch, index."""


def begin(places: Sequence[Place], seed: int, *, locks: bool = False) -> GeneratedChain:
    """A chain, without a block yet, whose watched scripts are those of `places`."""
    chain = GeneratedChain.begin(SIMNET, seed, locked_until=None if locks else 0)
    economy = chain.economy
    economy.watched = tuple([script(*place) for place in places])
    economy._watched_set = frozenset(economy.watched)
    for number, branch, index in places:
        key = account(number).child(branch).child(index).key
        economy._unlocking[script(number, branch, index)] = var_bytes(key)
    return chain


def extend_busily(chain: GeneratedChain, blocks: int) -> GeneratedChain:
    """Mine `blocks` more of many payments each; `chain` itself."""
    often = tuple([attrs.evolve(h, first=2 + h.first // 5, period=max(1, h.period // 12)) for h in payments.HAPPENINGS])
    with patch.object(payments, "HAPPENINGS", often):
        chain.extend(blocks)
    return chain


def balances(chain: GeneratedChain) -> dict[bytes, int]:
    """What the watched scripts of `chain` hold, those that hold nothing left out."""
    return {script: value for script, value in chain.economy.balances().items() if value}


def touched(chain: GeneratedChain) -> list[bytes]:
    """The transactions that concern watched scripts of `chain`, in its order."""
    return list(chain.economy.touching)
