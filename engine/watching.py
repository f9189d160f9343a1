"""What a user gives to be watched: scripts as bytes or as text, with labels or without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from phasegate.consensus.params import Network
from phasegate.engine.config import watch_script
from phasegate.engine.errors import ConfigError

Labelled = Mapping[bytes, str] | Mapping[str, str] | Mapping[bytes | str, str]
Items = tuple[tuple[bytes, str], ...]

LONGEST_LABEL = 200
"""Characters of a label."""


def script_of(item: bytes | str, network: Network) -> bytes:
    """The scriptPubKey that is meant.

    Args:
        item: raw bytes, or an address of `network` or script hex as text.
        network: whose addresses are meant.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(item, str):
        return watch_script(item, network)
    if not isinstance(item, bytes | bytearray):
        raise ConfigError(f"{item!r} is neither a script nor an address")
    return watch_script(item.hex(), network)


def scripts_of(items: Iterable[bytes | str], network: Network) -> tuple[bytes, ...]:
    """The scriptPubKeys that are meant, each once.

    Raises:
        ConfigError: one is neither script nor address, or a single one was given in place of several.
    """
    if isinstance(items, str | bytes | bytearray):
        raise ConfigError(f"{items!r} is a single item: give a list of items")
    return tuple(dict.fromkeys([script_of(item, network) for item in items]))


def labelled(items: Labelled | Iterable[bytes | str], network: Network) -> tuple[Items, Items]:
    """What is to be watched, and what is to be labelled, each as (script, label).

    Args:
        items: scripts or addresses, or a mapping of these to labels.
        network: whose addresses are meant.

    Raises:
        ConfigError: one is neither script nor address, or a label is no line of text.
    """
    if not isinstance(items, Mapping):
        return tuple([(script, "") for script in scripts_of(items, network)]), ()
    named = tuple([(script_of(item, network), _label(label)) for item, label in items.items()])
    return named, named


def _label(text: str) -> str:
    if not isinstance(text, str) or not text.isprintable() or len(text) > LONGEST_LABEL:
        raise ConfigError(f"label {text!r} is no line of at most {LONGEST_LABEL} characters")
    return text
