"""What the blocks at some heights are called, and which block is which.

A block is told by the hash of its header, and that is the dearest part of all that is proven of a small one. But the
header is stored, and its hash with it. So where blocks stand close together, their headers are read with their names,
and a block that begins with one of these has that name. Where they stand far apart, reading costs more than hashing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from phasegate.consensus.raw_blocks import RawBlock
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.store import Store

CLOSE = 1000
"""Heights that are read at once, and kept for what is wanted next."""


@attrs.frozen
class Named:
    """Some blocks of the stored chain: their hashes by height, and by header as far as the headers are known."""

    hashes: list[bytes]
    _by_header: Mapping[bytes, bytes] = attrs.field(factory=dict)

    def name(self, block: RawBlock) -> bytes:
        """The hash of `block`, wire order."""
        known = self._by_header.get(block.raw[:HEADER_SIZE])
        if known is not None:
            block.named(known)
        return block.hash


class Names:
    """Reads names of stored blocks; the chain below `tip` does not change meanwhile."""

    def __init__(self, store: Store, tip: int) -> None:
        self._store = store
        self._tip = tip
        self._start = 0
        self._hashes = self._headers = b""

    def of(self, heights: Sequence[int]) -> Named:
        """Those of the blocks at `heights`, which ascend."""
        if heights[-1] - heights[0] >= CLOSE:
            return Named([self._store.hash_at(height) for height in heights])
        if not self._start <= heights[0] <= heights[-1] < self._start + len(self._hashes) // 32:
            self._read(heights[0])
        places = [height - self._start for height in heights]
        hashes = [self._hashes[32 * at : 32 * at + 32] for at in places]
        headers = [self._headers[HEADER_SIZE * at : HEADER_SIZE * (at + 1)] for at in places]
        return Named(hashes, dict(zip(headers, hashes, strict=True)))

    def _read(self, start: int) -> None:
        count = min(CLOSE, self._tip - start + 1)
        self._hashes, self._headers = self._store.hashes(start, count), self._store.headers(start, count)
        self._start = start
