"""Building an `mnlistdiff` from two lists, as Core does [Core evo/smldiff.cpp].

The ChainLock signature that belongs to a new quorum is the one in the coinbase of its work block, 8 blocks before the
quorum's cycle began (its hash names the block `index` after that); quorums of one signature are grouped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from phasegate.consensus.masternodes import ChainLockSignature, MasternodeListDiff, MasternodeState
from phasegate.consensus.merkle import PartialMerkleTree
from phasegate.consensus.primitives import Block
from phasegate.consensus.quorum_members import WORK_OFFSET
from phasegate.consensus.quorums import QuorumCommitment

K = TypeVar("K")
V = TypeVar("V")


class Blocks(Protocol):
    """The blocks of a chain, by height."""

    def block(self, height: int) -> bytes | None: ...

    def height_of(self, block_hash: bytes) -> int | None: ...

    def embedded_signature(self, height: int) -> bytes: ...


def difference(blocks: Blocks, base: MasternodeState, after: MasternodeState) -> MasternodeListDiff | None:
    """What leads from `base` to `after`, with the coinbase that proves it; None when that block is not there."""
    raw = blocks.block(after.height)
    if raw is None:
        return None
    transactions = Block.from_bytes(raw).transactions
    gone, entries = _compare(base.entries, after.entries)
    ended, quorums = _compare(base.quorums, after.quorums)
    return MasternodeListDiff(
        base.block_hash,
        after.block_hash,
        PartialMerkleTree.build([tx.txid for tx in transactions], {0}),
        transactions[0],
        gone,
        entries,
        ended,
        quorums,
        _signatures(blocks, quorums),
    )


def _compare(before: Mapping[K, V], after: Mapping[K, V]) -> tuple[tuple[K, ...], tuple[V, ...]]:
    deleted = tuple([key for key in before if key not in after])
    return deleted, tuple([value for key, value in after.items() if before.get(key) != value])


def _signatures(blocks: Blocks, quorums: tuple[QuorumCommitment, ...]) -> tuple[ChainLockSignature, ...]:
    groups: dict[bytes, list[int]] = {}
    for place, quorum in enumerate(quorums):
        groups.setdefault(_work_signature(blocks, quorum), []).append(place)
    return tuple([(signature, tuple(groups[signature])) for signature in sorted(groups)])


def _work_signature(blocks: Blocks, quorum: QuorumCommitment) -> bytes:
    height = blocks.height_of(quorum.quorum_hash)
    if height is None:
        raise ValueError(f"quorum {quorum.quorum_hash[::-1].hex()} is not of this chain")
    return blocks.embedded_signature(height - (quorum.index or 0) - WORK_OFFSET)
