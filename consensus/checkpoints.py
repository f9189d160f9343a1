"""Blocks that are known beforehand: a chain that has another one at the same height is not the network's.

Core's own checkpoints are a height and a hash. Those from which a chain can begin also have the header and the work of
the whole chain up to there; below the height where mainnet's difficulty rules begin to be computed they stand every 576
blocks, since there nothing else limits what a liar can make up. Block 1 of a devnet is known by the devnet's name.

The lists are the text files beside this one, from Core's chainparams.cpp (23.1) and the checkpoint files of dashj.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from types import MappingProxyType

import attrs

from phasegate.consensus.devnet import first_block
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import DEVNET, Network
from phasegate.consensus.x11 import x11

_LISTED = ("mainnet", "testnet")
_MAX_AHEAD = 2 * 60 * 60


@attrs.frozen
class Checkpoint:
    """One known block.

    Args:
        height: of the block.
        hash: of the block, wire order.
        header: its 80 bytes, if a chain can begin here.
        work: of the whole chain up to it, likewise.
    """

    height: int
    hash: bytes
    header: bytes | None = None
    work: int | None = None

    @property
    def starts(self) -> bool:
        """Whether a chain can begin here."""
        return self.header is not None and self.work is not None

    @property
    def time(self) -> int | None:
        """The time of its header, in seconds since 1970."""
        return None if self.header is None else int.from_bytes(self.header[68:72], "little")


def checkpoints(network: Network) -> Mapping[int, Checkpoint]:
    """The checkpoints of `network` by height, ascending, and its other known blocks; of a devnet its block 1."""
    listed = _built_in(network)
    return _with_known(listed, network.known_blocks) if network.known_blocks else listed


def _built_in(network: Network) -> Mapping[int, Checkpoint]:
    if network.name in _LISTED:
        return _listed(network.name)
    if network.name == DEVNET.name:
        return _first_block(network.genesis, network.file_name)
    return _NONE


_NONE: Mapping[int, Checkpoint] = MappingProxyType({})


def _with_known(listed: Mapping[int, Checkpoint], blocks: Mapping[int, bytes]) -> Mapping[int, Checkpoint]:
    """Both, ascending; at the same height the built-in one stands."""
    known = {height: Checkpoint(height, block_hash) for height, block_hash in blocks.items()} | dict(listed)
    return MappingProxyType({height: known[height] for height in sorted(known)})


@lru_cache(maxsize=2)
def _listed(name: str) -> Mapping[int, Checkpoint]:
    text = resources.files("phasegate.consensus").joinpath(f"checkpoints_{name}.txt").read_text(encoding="ascii")
    rows = [_parse(line.split()) for line in text.splitlines() if not line.startswith("#")]
    return MappingProxyType({row.height: row for row in rows})


def _parse(words: list[str]) -> Checkpoint:
    height, block_hash, *start = words
    known = Checkpoint(int(height), bytes.fromhex(block_hash)[::-1])
    return attrs.evolve(known, work=int(start[0], 16), header=bytes.fromhex(start[1])) if start else known


@lru_cache(maxsize=16)
def _first_block(genesis: bytes, full_name: str) -> Mapping[int, Checkpoint]:
    return MappingProxyType({1: Checkpoint(1, x11(first_block(genesis, full_name)))})


@lru_cache(maxsize=8)
def _heights(name: str) -> tuple[int, ...]:
    return tuple(_listed(name))


def between(network: Network, first: int, last: int) -> Mapping[int, Checkpoint]:
    """The checkpoints at heights from `first` to `last`, both included."""
    known = checkpoints(network)
    fixed = network.name in _LISTED and not network.known_blocks
    heights = _heights(network.name) if fixed else tuple(known)
    return {height: known[height] for height in heights[bisect_right(heights, first - 1) : bisect_right(heights, last)]}


def start_before(network: Network, height: int) -> Checkpoint | None:
    """The newest checkpoint at or below `height` that a chain can begin at, or None: it begins with genesis."""
    return next((c for c in _newest_first(network) if c.starts and c.height <= height), None)


def start_before_time(network: Network, time: float) -> Checkpoint | None:
    """The newest checkpoint a chain can begin at that has no block of `time` or later before it.

    Times of neighbours may go down: one may be up to two hours ahead of the clock. So that much is kept away.

    Args:
        network: where the chain lives.
        time: seconds since 1970.
    """
    return next(
        (c for c in _newest_first(network) if c.starts and c.time is not None and c.time + _MAX_AHEAD <= time), None
    )


def _newest_first(network: Network) -> list[Checkpoint]:
    return sorted(checkpoints(network).values(), key=lambda known: known.height, reverse=True)


def check_checkpoint(network: Network, height: int, hash: bytes) -> None:  # noqa: A002 - the field's own word
    """Refuse a block at the height of a checkpoint that is not the known one.

    Args:
        network: where the chain lives.
        height: of the block.
        hash: of the block, wire order.

    Raises:
        PeerMisbehaved: CHECKPOINT_CONTRADICTED, naming the checkpoint.
    """
    known = checkpoints(network).get(height)
    if known is None or known.hash == hash:
        return
    detail = f"height {height}: {hash[::-1].hex()} contradicts the checkpoint {known.hash[::-1].hex()}"
    raise PeerMisbehaved(Fault.CHECKPOINT_CONTRADICTED, f"{detail} of {network.file_name}")
