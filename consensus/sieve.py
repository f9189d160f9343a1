"""Which transactions of a block have to be looked into: whatever may pay to a watched script, spend a known coin, or
mention something watched in its payload.

The sieve lets some through that do neither, for it compares 64-bit numbers, and it never forgets a coin, even a spent
one. It never holds back one that does. So whoever looks into what it lets through, in order, and adds the coins that
are found as they are found, finds what a look into every transaction would find.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.primitives import OutPoint
from phasegate.consensus.raw_blocks import RawBlock, load_kernel

LEAST = 64
"""Places in an empty table."""


class Sieve:
    """Built for one set of scripts; loads the compiled walk.

    Args:
        scripts: what is watched.
        coins: the outputs whose spends are wanted.
    """

    def __init__(self, scripts: Iterable[bytes], coins: Iterable[OutPoint]) -> None:
        self._kernel = load_kernel()
        numbers = [self._kernel.script_number(_bytes(script), 0, len(script)) for script in scripts]
        self._scripts = self._grown(np.empty(0, np.uint64), numbers)
        self._coins = np.zeros(LEAST, np.uint64)
        self._held = 0
        self.add(coins)

    def add(self, coins: Iterable[OutPoint]) -> None:
        """Further outputs whose spends are wanted."""
        numbers = [self._kernel.outpoint_number(_bytes(coin.to_bytes()), 0) for coin in coins]
        self._held += len(numbers)
        if 2 * self._held > len(self._coins):
            self._coins = self._grown(self._coins, numbers, self._held)
        elif numbers:
            self._kernel.put_numbers(self._coins, np.array(numbers, np.uint64))

    def touched(self, block: RawBlock) -> Iterator[int]:
        """The positions of transactions to be looked into, ascending; coins added meanwhile count from the next on."""
        data, starts, at = _bytes(block.raw), block.layout.starts, 0
        while (at := self._kernel.next_touched(data, starts, at, self._scripts, self._coins)) < len(block):
            yield at
            at += 1

    def _grown(self, old: NDArray[np.uint64], numbers: list[int], held: int = 0) -> NDArray[np.uint64]:
        table = np.zeros(max(LEAST, 1 << (4 * max(held, len(numbers))).bit_length()), np.uint64)
        for some in (old, np.array(numbers, np.uint64)):
            self._kernel.put_numbers(table, some)
        return table


def _bytes(raw: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(raw, np.uint8)
