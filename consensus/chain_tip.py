"""The end of a chain, and headers judged as its continuation: what all writings of the header rules hand on."""

from __future__ import annotations

import attrs

from phasegate.consensus.x11 import HEADER_SIZE


@attrs.frozen
class ChainTip:
    """The end of a chain and what the next header is judged by.

    Args:
        height: of the tip.
        hash: of the tip, 32 bytes in wire order.
        work: of the whole chain, genesis and tip included.
        window: `(time, bits)` of the newest headers, `context_size` of them, oldest first, the tip's last.
    """

    height: int
    hash: bytes
    work: int
    window: tuple[tuple[int, int], ...]


@attrs.frozen
class CheckedHeaders:
    """Headers that keep all rules: `raw` 80 bytes each, `hashes` 32 bytes each, between the tips `prev` and `tip`."""

    first_height: int
    raw: bytes
    hashes: bytes
    tip: ChainTip
    prev: ChainTip

    @property
    def count(self) -> int:
        """The number of headers."""
        return len(self.raw) // HEADER_SIZE
