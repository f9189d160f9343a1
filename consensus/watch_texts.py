"""What people write to have something watched, and what that asks for: scripts, and chains of keys.

An address, script hex and a descriptor without a `*` are scripts. A descriptor with a `*` is a chain of keys: a script
an index, of which as many are watched as are wanted. An extended public key is two of these, the addresses that are
given away and those that change goes to, as in an account of BIP44: `pkh(KEY/0/*)` and `pkh(KEY/1/*)`.

An outpoint is watched by its script, for that is what filters hold: `TXID:N:SCRIPT`, the script as hex or an address.

Of masternodes filters hold keys, proTxHashes and collaterals as well: `watch_elements` reads these.

A chain is watched as far as its gap limit says: so many unused scripts above the highest used one, at least.
`ITEM:gap=N` sets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from phasegate.consensus.addresses import parse_watch_item
from phasegate.consensus.bip32 import LENGTHS, ExtendedKey
from phasegate.consensus.descriptors import Descriptor, parse_descriptors
from phasegate.consensus.params import Network
from phasegate.consensus.watch_elements import parse_element, parse_outpoint

GAP = 20
"""Unused scripts that are watched above the highest used one [BIP44]."""
MOST_GAP = 1000
_GAP_FORM = re.compile(r"(.*):gap=([0-9]{1,6})\Z", re.DOTALL)
_OUTPOINT_FORM = re.compile(r"([0-9a-fA-F]{64}):([0-9]{1,10})(?::(.*))?\Z", re.DOTALL)
_EXTENDED_FORM = re.compile(r"[1-9A-HJ-NP-Za-km-z]+\Z")


@attrs.frozen
class KeyChain:
    """A descriptor with a `*`, and its gap limit."""

    descriptor: Descriptor
    gap: int = GAP


@attrs.frozen
class Watch:
    """What is asked to be watched: scriptPubKeys and other elements of filters, and chains of scripts."""

    scripts: tuple[bytes, ...] = ()
    chains: tuple[KeyChain, ...] = ()

    @classmethod
    def joined(cls, parts: Iterable[Watch]) -> Watch:
        """All of `parts`, each item once."""
        listed = list(parts)
        scripts = dict.fromkeys([script for part in listed for script in part.scripts])
        chains = {str(chain.descriptor): chain for part in listed for chain in part.chains}
        return cls(tuple(scripts), tuple(chains.values()))


def parse_watch(text: str, network: Network) -> Watch:
    """What `text` asks to have watched.

    Args:
        text: an address of `network`, script hex, an outpoint with its script, `protx:HASH`, `mnkey:ADDRESS`,
            `collateral:TXID:N`, a descriptor or an extended public key; the last two may be followed by `:gap=N` if
            they stand for many scripts.
        network: whose addresses and keys are meant.

    Raises:
        ValueError: one clear line that says why not; it never repeats what may be a private key.
    """
    text = text.strip()
    found = _GAP_FORM.match(text)
    item = found[1] if found else text
    watch = _parse(item, int(found[2]) if found else GAP, network)
    if found and not watch.chains:
        raise ValueError("a gap limit is for descriptors with a * and for extended keys, and this is neither")
    return watch


def _parse(item: str, gap: int, network: Network) -> Watch:
    if not 1 <= gap <= MOST_GAP:
        raise ValueError(f"a gap limit of {gap} is none of 1..{MOST_GAP}")
    if found := _OUTPOINT_FORM.match(item):
        return _spent(found[1], found[2], found[3], network)
    if "(" in item:
        return _described(parse_descriptors(item, network), gap)
    if len(item) in LENGTHS and _EXTENDED_FORM.match(item):
        key = ExtendedKey.parse(item, network).text(mainnet=network.name == "mainnet")
        return _described(parse_descriptors(f"pkh({key}/<0;1>/*)", network), gap)
    return Watch((parse_element(item, network),))


def _spent(txid: str, index: str, script: str | None, network: Network) -> Watch:
    if script is None:
        raise ValueError(f"outpoint {txid}:{index} is watched by its script: give {txid[:8]}...:{index}:SCRIPT")
    parse_outpoint(f"{txid}:{index}")
    return Watch((parse_watch_item(script, network),))


def _described(descriptors: Iterable[Descriptor], gap: int) -> Watch:
    listed = list(descriptors)
    scripts = [script for one in listed if not one.ranged for script in one.scripts()]
    return Watch(tuple(scripts), tuple([KeyChain(one, gap) for one in listed if one.ranged]))
