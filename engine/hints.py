"""When a peer's hint at an unknown block is followed up.

The first hint after the stored tip has changed is followed at once. While the tip stays the same, the next of the same
address has to wait, each time twice as long: honest peers rarely hint twice in vain, and one that hints without end can
neither hold up the headers phase nor keep a synced client walking. No hint is lost: one that came too early is kept,
until the tip changes, for then every peer is asked anew.
"""

from __future__ import annotations

import attrs

from phasegate.engine.config import Address

FIRST = 1.0
"""Seconds between the first and the second hint that are followed while the tip stays the same."""
CAP = 60.0
"""The longest wait, in seconds."""


@attrs.define
class _Patience:
    tip: bytes
    wait: float = 0.0
    until: float = 0.0
    kept: bool = False


class Hints:
    """Hints by address; times are Trio's."""

    def __init__(self) -> None:
        self._patience: dict[Address, _Patience] = {}

    def take(self, address: Address, tip: bytes, now: float) -> bool:
        """Whether a hint of `address` is to be followed now; if not it is kept."""
        entry = self._patience.get(address)
        if entry is None or entry.tip != tip:
            entry = self._patience[address] = _Patience(tip)
        entry.kept = now < entry.until
        if not entry.kept:
            entry.wait = min(CAP, max(FIRST, 2 * entry.wait))
            entry.until = now + entry.wait
        return not entry.kept

    def due(self, tip: bytes, now: float) -> list[Address]:
        """The addresses whose kept hints are to be followed now."""
        kept = [address for address, entry in self._patience.items() if entry.kept and entry.tip == tip]
        return [address for address in kept if self.take(address, tip, now)]

    def forget(self, tip: bytes) -> None:
        """Forget whose hints came at another tip."""
        self._patience = {at: entry for at, entry in self._patience.items() if entry.tip == tip}

    def __len__(self) -> int:
        return len(self._patience)
