"""What a user gives to be watched or labelled: scripts as bytes or as text, with labels or without."""

from __future__ import annotations

from collections.abc import Mapping

from phasegate.consensus.params import Network
from phasegate.engine.config import watch_script
from phasegate.engine.errors import ConfigError

Labelled = Mapping[bytes, str] | Mapping[str, str] | Mapping[bytes | str, str]

LONGEST_LABEL = 200
"""Characters of a label."""


def script_of(item: bytes | str, network: Network) -> bytes:
    """The scriptPubKey, or other element of filters, that is meant.

    Args:
        item: raw bytes, or an address of `network`, script hex or an item of a masternode as text.
        network: whose addresses are meant.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(item, str):
        return watch_script(item, network)
    if not isinstance(item, bytes | bytearray):
        raise ConfigError(f"{item!r} is neither a script nor an address")
    return watch_script(item.hex(), network)


def line(label: str) -> str:
    """`label`, if it is one.

    Raises:
        ConfigError: it is no line of text, or too long.
    """
    if not isinstance(label, str) or not label.isprintable() or len(label) > LONGEST_LABEL:
        raise ConfigError(f"label {label!r} is no line of at most {LONGEST_LABEL} characters")
    return label
