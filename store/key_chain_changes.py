"""What can be written of chains of keys; see `changes.py`."""

from __future__ import annotations

import attrs


@attrs.frozen
class AddKeyChains:
    """Chains of keys to watch, as (canonical descriptor, gap limit); a known one gets the gap limit and stays.

    Whenever something was found, as many scripts are watched beyond the highest used one, in the same transaction.
    """

    items: tuple[tuple[str, int], ...]


@attrs.frozen
class RemoveKeyChains:
    """Chains to forget, with those of their scripts that nothing else asks for; unknown ones are ignored."""

    descriptors: tuple[str, ...]


KeyChainChange = AddKeyChains | RemoveKeyChains
