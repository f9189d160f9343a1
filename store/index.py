"""Which height a block hash has, without a database index.

A unique index on 32 random bytes a row is what makes header stores slow. Instead, 8 bytes of each hash (the first in
wire order; in display order they would be zeros) stand sorted in memory beside their heights: 12 bytes a header, built
at open. Appended batches are sorted runs of their own; a run is merged into its neighbour as soon as that is not at
least twice as long, so there are few runs and each header is moved only a few times. Merging needs memory for both, so
no run becomes longer than `LONGEST`: a long chain has a run for each of its parts, and no peak in memory at its end.
Two hashes may share those 8 bytes, so a look-up yields candidates, which the caller compares in full. An index is
immutable: readers keep the one they hold while a commit prepares the next.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Heights = NDArray[np.uint32]


LONGEST = 1 << 18
"""Headers in the longest run, which takes 3 MB, and 8 MB more while it is made."""


@attrs.frozen(eq=False)
class _Run:
    keys: Keys
    heights: Heights

    @classmethod
    def of(cls, keys: Keys, heights: Heights) -> _Run:
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], heights[order])

    def merged(self, other: _Run) -> _Run:
        return _Run.of(np.concatenate((self.keys, other.keys)), np.concatenate((self.heights, other.heights)))

    def find(self, key: Any) -> list[int]:
        left, right = (np.searchsorted(self.keys, key, side) for side in ("left", "right"))
        return [int(height) for height in self.heights[left:right]]

    def cut(self, to_height: int) -> _Run:
        kept = self.heights <= to_height
        return self if kept.all() else _Run(self.keys[kept], self.heights[kept])


@attrs.frozen(eq=False)
class HashIndex:
    """From block hash to the heights that may have it."""

    _runs: tuple[_Run, ...] = ()

    def __len__(self) -> int:
        return sum(len(run.keys) for run in self._runs)

    def append(self, start: int, hashes: bytes) -> HashIndex:
        """With `hashes` (32 bytes each, wire order) of the heights from `start` on."""
        keys = np.frombuffer(hashes, dtype="<u8").reshape(-1, 4)[:, 0].astype(np.uint64)
        heights = np.arange(start, start + len(keys), dtype=np.uint32)
        return HashIndex(_merged((*self._runs, _Run.of(keys, heights))))

    def cut(self, to_height: int) -> HashIndex:
        """Without the heights above `to_height`."""
        runs = [run.cut(to_height) for run in self._runs]
        return HashIndex(tuple(run for run in runs if len(run.keys)))

    def candidates(self, block_hash: bytes) -> list[int]:
        """The heights whose hash begins like `block_hash`: seldom more than one."""
        key = np.frombuffer(block_hash[:8], dtype="<u8")[0].astype(np.uint64)
        return [height for run in self._runs for height in run.find(key)]


def _merged(runs: tuple[_Run, ...]) -> tuple[_Run, ...]:
    while len(runs) > 1 and len(runs[-2].keys) < 2 * len(runs[-1].keys) and _fit_in_one(*runs[-2:]):
        runs = (*runs[:-2], runs[-2].merged(runs[-1]))
    return runs


def _fit_in_one(run: _Run, other: _Run) -> bool:
    return len(run.keys) + len(other.keys) <= LONGEST
