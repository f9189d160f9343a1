"""The chains of the simulation: families of generated chains that share what is below their forks.

A chain is named by its path: up to which height, and by which seed, each piece of it was mined. Equal beginnings of
paths give equal blocks. Chains are kept, for generating one takes longer than syncing it.
"""

from __future__ import annotations

from functools import lru_cache

from phasegate.consensus.headers import work_of
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import BlockHeader
from phasegate.p2p.simnet.generated import GeneratedChain

Path = tuple[tuple[int, int], ...]
"""`(height, seed)` of each piece: blocks up to `height` are decided by `seed`."""
KEPT = 400
"""Chains that are kept in memory, of some 100 kB each."""


def grown(path: Path, blocks: int) -> Path:
    """The path of the same chain with so many blocks more."""
    return (*path[:-1], (path[-1][0] + blocks, path[-1][1]))


def forked(path: Path, depth: int, blocks: int, seed: int) -> Path:
    """The path of a chain that leaves that of `path` `depth` blocks below its tip and goes on for `blocks` blocks."""
    at = max(1, path[-1][0] - depth)
    kept = [(min(height, at), piece) for height, piece in path]
    shared = [piece for i, piece in enumerate(kept) if i == 0 or kept[i - 1][0] < piece[0]]
    return (*shared, (at + blocks, seed))


@lru_cache(maxsize=KEPT)
def chain(path: Path) -> GeneratedChain:
    """The chain of `path`, which nobody may extend; its quorums lock nothing, so that any branch may win."""
    first_height, first_seed = path[0]
    made = GeneratedChain.begin(SIMNET, f"tree {first_seed}", locked_until=0)
    made.extend(first_height)
    for height, seed in path[1:]:
        made.reseed(f"branch {seed}")
        made.extend(height - made.height)
    return made


def work(path: Path) -> int:
    """The chainwork of the chain of `path`, genesis included."""
    served = chain(path)
    return sum(work_of(BlockHeader.from_bytes(served.header(height)).bits) for height in range(served.height + 1))
