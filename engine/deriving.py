"""From an extended key or a descriptor to the scripts and addresses that a payer is given; no client is needed."""

from __future__ import annotations

from phasegate.consensus import addresses
from phasegate.consensus.bip32 import HARDENED
from phasegate.consensus.params import Network
from phasegate.consensus.watch_texts import parse_watch
from phasegate.engine.arguments import whole
from phasegate.engine.errors import ConfigError


def derive(item: str, index: int, network: Network, *, chain: int = 0) -> tuple[bytes, ...]:
    """The scripts that an extended public key or a descriptor with a `*` stands for at `index`.

    Args:
        item: the key, or the descriptor, as `Client.watch` takes it and as `Client.key_chains` and `Client.place_of`
            name it; a gap limit behind it does not matter.
        index: from 0 on.
        network: of the key.
        chain: of an item that stands for several (an extended key, `<0;1>`), which: of a key 0 are the scripts to be
            given away, 1 those that change goes to.

    Returns:
        scriptPubKeys as raw bytes: one, of a `combo` two.

    Raises:
        ConfigError: `item` is nothing of the kind, or has no such index or chain.
    """
    if not isinstance(item, str) or not isinstance(network, Network):
        raise ConfigError("derive: give an extended key or a descriptor as a text, an index, and a network")
    if whole("derive: index", index, 0) >= HARDENED:
        raise ConfigError(f"derive: index {index} is not below {HARDENED}")
    try:
        watch = parse_watch(item, network)
    except ValueError as error:
        raise ConfigError(f"derive: {error}") from error
    if not watch.chains:
        raise ConfigError("derive: this is neither an extended key nor a descriptor with a *")
    if whole("derive: chain", chain, 0) >= len(watch.chains):
        raise ConfigError(f"derive: chain {chain} is none of the {len(watch.chains)} that the item stands for")
    return watch.chains[chain].descriptor.scripts(index)


def address_of(script: bytes, network: Network) -> str | None:
    """The address of a P2PKH or P2SH `script` (raw bytes) on `network`; None for any other script.

    Raises:
        ConfigError: `script` is not bytes, or `network` no `Network`.
    """
    if not isinstance(script, bytes) or not isinstance(network, Network):
        raise ConfigError("address_of: give a script as bytes, and a network")
    return addresses.address_of(script, network)
