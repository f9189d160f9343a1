"""Who is in a quorum: the masternodes with the highest scores under a modifier that no one could foresee [DIP6, DIP29].

The modifier is drawn from the block 8 below the quorum's base (the work block), since V20 from the ChainLock that its
coinbase carries, so that a miner cannot choose it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from phasegate.consensus.bls import is_null
from phasegate.consensus.codec import dsha, i32
from phasegate.consensus.masternode_entry import EVO, MasternodeEntry
from phasegate.consensus.params import Network, QuorumType

_UNCONFIRMED = bytes(32)
WORK_OFFSET = 8
"""Blocks between the work block and the base of a quorum (Core WORK_DIFF_DEPTH)."""


def work_height(kind: QuorumType, quorum_height: int, index: int | None = None) -> int:
    """The height of the work block of the quorum that is named by block `quorum_height`; a cycle shares one."""
    cycle = quorum_height - (index or 0) if kind.rotated else quorum_height
    return cycle - WORK_OFFSET


def list_height(network: Network, kind: QuorumType, base_height: int) -> int:
    """The height whose masternode list the members are taken from [Core llmq/utils.cpp GetAllQuorumMembers]."""
    if kind.rotated or base_height + 1 >= network.v20:
        return base_height - WORK_OFFSET
    return base_height


def modifier(
    network: Network, kind: QuorumType, *, base_height: int, base_hash: bytes, work_height: int, work_hash: bytes,
    chainlock: bytes | None,
) -> bytes:  # fmt: skip
    """What the scores of a quorum are drawn with: 32 bytes [Core llmq/utils.cpp GetHashModifier].

    Args:
        network: where this happens.
        kind: of the quorum.
        base_height: of the quorum's block; for a rotated quorum of its cycle.
        base_hash: of that block.
        work_height: 8 less.
        work_hash: of that block.
        chainlock: the 96 bytes that the coinbase of the work block carries, None or null for none.

    Raises:
        ValueError: the work block is not the base's.
    """
    if work_height != base_height - WORK_OFFSET:
        raise ValueError(f"block {work_height} is not the work block of {base_height}")
    head = bytes((kind.number,))
    if work_height + 1 >= network.v20:
        if chainlock and not is_null(chainlock):
            return dsha(head + i32(work_height) + chainlock)
        return dsha(head + work_hash)
    return dsha(head + (work_hash if kind.rotated else base_hash))


def by_score(entries: Iterable[MasternodeEntry], modifier: bytes) -> list[MasternodeEntry]:
    """Confirmed masternodes that are not banned, highest score first: a score is a little-endian number."""
    able = [entry for entry in entries if entry.valid and entry.confirmed_hash != _UNCONFIRMED]
    scored = {hashlib.sha256(entry.score_seed + modifier).digest()[::-1]: entry for entry in able}
    return [scored[score] for score in sorted(scored, reverse=True)]


def members(
    network: Network, kind: QuorumType, entries: Iterable[MasternodeEntry], modifier: bytes, *, evo_only: bool
) -> tuple[MasternodeEntry, ...]:
    """The members of a quorum that does not rotate, in their order.

    Args:
        network: where this happens.
        kind: of the quorum.
        entries: the list at `list_height`.
        modifier: 32 bytes.
        evo_only: as `takes_evo_only` says.

    Raises:
        ValueError: the type rotates, or the network has none such.
    """
    if kind.rotated or kind.number not in network.quorum_types:
        raise ValueError(f"{network.name} has no quorums of type {kind.number} that do not rotate")
    chosen = [entry for entry in entries if entry.type == EVO] if evo_only else entries
    return tuple(by_score(chosen, modifier)[: kind.size])


def takes_evo_only(network: Network, kind: QuorumType, base_height: int) -> bool:
    """Whether only evo masternodes can be members: those of the Platform's quorums since V19."""
    return kind.number == network.roles["platform"] and base_height + 1 >= network.activations["v19"]
