"""What a power cut may take back from one file.

A kernel takes writes at once and brings them to the disk when it likes; only a sync makes it wait for that. So a file
has two contents: the one that everybody reads, and the one that the last sync left. A cut keeps or loses each sector
of 512 bytes that was written since, one by one and in no order, and the length is the old one, the new one or one in
between. A sector is whole or was not written: that is what disks promise, and all that SQLite asks of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import attrs

SECTOR = 512
"""Bytes that a disk writes as a whole."""
_SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)
"""How much of the unsynced sectors a cut keeps: from nothing to everything."""

Read = Callable[[int, int], bytes]
"""Reads `amount` bytes at `offset`; what lies beyond the end is missing or zero."""


def sectors(offset: int, size: int) -> range:
    """The numbers of the sectors that `size` bytes at `offset` touch."""
    return range(offset // SECTOR, -(-(offset + size) // SECTOR) if size > 0 else offset // SECTOR)


def torn(offset: int, size: int, rng: random.Random) -> int:
    """How many of `size` bytes at `offset` have been written when it ends at the border of a sector, or with all."""
    reached = offset + rng.randint(0, size)
    return max(reached // SECTOR * SECTOR - offset, 0) if reached < offset + size else size


@attrs.define
class Unsynced:
    """One file since its last sync: `length` then, and what stood then in each sector that was changed since."""

    length: int
    before: dict[int, bytes] = attrs.field(factory=dict)

    def changing(self, changed: Iterable[int], read: Read) -> None:
        """Remember what stands in sectors that are about to be changed."""
        for sector in changed:
            start = sector * SECTOR
            if sector not in self.before and start < self.length:
                known = min(SECTOR, self.length - start)
                self.before[sector] = read(known, start).ljust(known, b"\0")
            else:
                self.before.setdefault(sector, b"")

    def synced(self, length: int) -> None:
        """All that was written is on the disk, which holds `length` bytes of the file."""
        self.length = length
        self.before.clear()

    def cut(self, now: bytes, rng: random.Random) -> bytes:
        """The content after a power cut, when readers saw `now` right before it."""
        share, length = rng.choice(_SHARES), self._length(len(now), rng)
        left = bytearray(now[:length].ljust(length, b"\0"))
        for sector, old in sorted(self.before.items()):
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, length)
            if start < end and rng.random() >= share:
                left[start:end] = old[: end - start].ljust(end - start, b"\0")
        return bytes(left)

    def _length(self, now: int, rng: random.Random) -> int:
        low, high = sorted((self.length, now))
        between = rng.randint(low, high) // SECTOR * SECTOR
        return rng.choice((low, high, max(between, low)))
