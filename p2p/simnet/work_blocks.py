"""What the members of a quorum are drawn from: the masternodes and the ChainLock of its work block [DIP6, DIP29]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from phasegate.consensus.masternodes import MasternodeEntry
from phasegate.consensus.params import Network, QuorumType
from phasegate.consensus.quorum_members import modifier, work_height


class Past(Protocol):
    """A chain as far as it goes, seen by those who make its quorums and locks."""

    @property
    def network(self) -> Network: ...

    def hash_at(self, height: int) -> bytes: ...

    def entries_at(self, height: int) -> Mapping[bytes, MasternodeEntry]:
        """The masternode list after the block at `height`."""

    def embedded_signature(self, height: int) -> bytes:
        """The 96 bytes of the ChainLock that the coinbase at `height` carries, zeros for none."""


def modifier_at(past: Past, kind: QuorumType, base: int) -> bytes:
    """The modifier of the quorum, or the rotated cycle, that begins at height `base`."""
    work = work_height(kind, base)
    return modifier(
        past.network,
        kind,
        base_height=base,
        base_hash=past.hash_at(base),
        work_height=work,
        work_hash=past.hash_at(work),
        chainlock=past.embedded_signature(work),
    )
