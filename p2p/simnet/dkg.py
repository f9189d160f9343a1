"""The quorums of a generated chain: made once an interval, mined as commitments, active until newer ones replace them.

Each type of the network tries at every interval; a failed attempt leaves a null commitment, which counts nowhere. A
plain type keeps its newest ones active, a rotated type the newest of each index [DIP24]. Keys and signatures are
random bytes of the right length.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from phasegate.consensus.params import Network, QuorumType
from phasegate.consensus.primitives import QUORUM_COMMITMENT, Transaction
from phasegate.consensus.quorums import BASIC, BASIC_INDEXED, BitSet, QuorumCommitment, quorum_root
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.economy import Spending
from phasegate.p2p.simnet.timeline import Timeline

MINING_OFFSET = 12
"""Blocks after the start of a DKG at which its commitment is mined: in the window of every simnet type."""

_FAILURES = 0.15
QuorumKey = tuple[int, bytes]


@attrs.define
class Quorums:
    """The active quorums, with their past."""

    network: Network
    rng: random.Random
    commitments: Timeline[QuorumKey, QuorumCommitment] = attrs.field(factory=Timeline)
    _order: dict[tuple[int, int], list[QuorumKey]] = attrs.field(factory=dict)
    _root: bytes = bytes(32)
    _root_of: int = 0

    def transactions(self, height: int, hash_at: Callable[[int], bytes]) -> list[Spending]:
        """The commitment transactions of block `height`; real ones are active from this block on."""
        made = []
        for kind in self.network.quorum_types.values():
            start = height - MINING_OFFSET
            if start > 0 and start % kind.interval == 0:
                made += [self._mined(height, kind, i, hash_at(start + i)) for i in range(_attempts(kind))]
        return made

    def root(self) -> bytes:
        """The root over the active commitments as they are now."""
        if self._root_of != self.commitments.changes:
            self._root = quorum_root(self.commitments.now.values())
            self._root_of = self.commitments.changes
        return self._root

    def _mined(self, height: int, kind: QuorumType, index: int, quorum_hash: bytes) -> Spending:
        failed = self.rng.random() < _FAILURES
        commitment = self._commitment(kind, index, quorum_hash, failed=failed)
        if not failed:
            self._activate(height, kind, index, commitment)
        payload = protx.commitment(height, commitment.to_bytes())
        return Spending(Transaction(3, QUORUM_COMMITMENT, (), (), 0, payload))

    def _activate(self, height: int, kind: QuorumType, index: int, commitment: QuorumCommitment) -> None:
        line = self._order.setdefault((kind.number, index), [])
        line.append(commitment.key)
        if len(line) > (1 if kind.rotated else kind.active):
            self.commitments.put(height, line.pop(0), None)
        self.commitments.put(height, commitment.key, commitment)

    def _commitment(self, kind: QuorumType, index: int, quorum_hash: bytes, *, failed: bool) -> QuorumCommitment:
        def chance(size: int) -> bytes:
            return bytes(size) if failed else self.rng.randbytes(size)

        members = BitSet.of([not failed] * kind.size)
        version, place = (BASIC_INDEXED, index) if kind.rotated else (BASIC, None)
        points = chance(48), chance(32), chance(96), chance(96)
        return QuorumCommitment(version, kind.number, quorum_hash, members, members, *points, place)


def _attempts(kind: QuorumType) -> int:
    return kind.active if kind.rotated else 1
