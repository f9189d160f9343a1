"""The quorums of a generated chain: made once an interval, mined as commitments, active until newer ones replace them.

Each type of the network tries at every interval, with the members that the rules give it. Chance lets some sessions
fail, and some lose a member; a failed one leaves a null commitment, which counts nowhere. A plain type keeps its newest
quorums active, a rotated type the newest of each index [DIP24]. Every commitment really verifies.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import attrs

from phasegate.consensus.params import QuorumType
from phasegate.consensus.primitives import QUORUM_COMMITMENT, Transaction
from phasegate.consensus.quorum_members import members, takes_evo_only, work_height
from phasegate.consensus.quorums import QuorumCommitment, quorum_root
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.bls_keys import secret_key
from phasegate.p2p.simnet.economy import Spending
from phasegate.p2p.simnet.rotation import Rotation
from phasegate.p2p.simnet.signing import Session, final_commitment, null_commitment
from phasegate.p2p.simnet.timeline import Timeline
from phasegate.p2p.simnet.work_blocks import Past, modifier_at

_FAILURES, _LOSSES = 0.15, 0.25
QuorumKey = tuple[int, bytes]


@attrs.frozen
class Made:
    """A quorum as the network knows it: its secret, where its session or cycle began and its commitment was mined."""

    secret: int
    start: int
    mined: int


@attrs.define(eq=False, repr=False)
class Quorums:
    """The active quorums, with their past.

    Attributes:
        operators: the secrets of masternodes by their basic keys.
        commitments: the active ones by key and height.
        made: every quorum there ever was.
        since: the height that a private fork began at: sessions whose members are from before make no quorum on it.
        rotations: the cycles of each rotated type, by its number.
    """

    past: Past
    operators: Mapping[bytes, int]
    rng: random.Random
    commitments: Timeline[QuorumKey, QuorumCommitment] = attrs.field(factory=Timeline)
    made: dict[QuorumKey, Made] = attrs.field(factory=dict)
    since: int = 0
    rotations: dict[int, Rotation] = attrs.field(init=False)
    _order: dict[tuple[int, int | None], list[QuorumKey]] = attrs.field(factory=dict)
    _root: bytes = bytes(32)
    _root_of: int = 0

    def __attrs_post_init__(self) -> None:
        kinds = self.past.network.quorum_types.values()
        self.rotations = {kind.number: Rotation(self.past, kind) for kind in kinds if kind.rotated}

    def transactions(self, height: int) -> list[Spending]:
        """The commitment transactions of block `height`; real ones are active from this block on."""
        made = []
        for kind in self.past.network.quorum_types.values():
            start = height - height % kind.interval
            if start > 0 and height - start == _offset(kind, start):
                made += [self._mined(height, session) for session in self._sessions(kind, start)]
        return made

    def active_at(self, height: int) -> Iterable[QuorumCommitment]:
        """The quorums active after block `height`."""
        return self.commitments.at(height).values()

    def root(self) -> bytes:
        """The root over the active commitments as they are now."""
        if self._root_of != self.commitments.changes:
            self._root = quorum_root(self.commitments.now.values())
            self._root_of = self.commitments.changes
        return self._root

    def _sessions(self, kind: QuorumType, start: int) -> list[Session]:
        if cycle := self.rotations[kind.number].cycle(start) if kind.rotated else None:
            hashes = [self.past.hash_at(start + index) for index in range(kind.active)]
            return [Session(kind, *of) for of in zip(hashes, range(kind.active), cycle.members, strict=True)]
        network, entries = self.past.network, self.past.entries_at(work_height(kind, start)).values()
        evo_only = takes_evo_only(network, kind, start)
        drawn = members(network, kind, entries, modifier_at(self.past, kind, start), evo_only=evo_only)
        return [Session(kind, self.past.hash_at(start), None, drawn)]

    def _mined(self, height: int, session: Session) -> Spending:
        failed, losing = self.rng.random() < _FAILURES, self.rng.random() < _LOSSES
        start = height - height % session.kind.interval
        failed = failed or work_height(session.kind, start) <= self.since
        if failed or len(session.members) < session.kind.min_size:
            return _carrier(height, null_commitment(session))
        if losing and len(session.members) > session.kind.min_size:
            lost, valid = self.rng.randrange(len(session.members)), self.rng.random() < 0.5
            session = attrs.evolve(session, lost=lost, valid=valid)
        secret = secret_key(self.rng.randbytes(48))
        commitment = final_commitment(session, secret, self.rng.randbytes(32), self.operators)
        self.made[commitment.key] = Made(secret, start, height)
        self._activate(height, session.kind, commitment)
        return _carrier(height, commitment)

    def _activate(self, height: int, kind: QuorumType, commitment: QuorumCommitment) -> None:
        line = self._order.setdefault((kind.number, commitment.index), [])
        line.append(commitment.key)
        if len(line) > (1 if kind.rotated else kind.active):
            self.commitments.put(height, line.pop(0), None)
        self.commitments.put(height, commitment.key, commitment)


def _offset(kind: QuorumType, start: int) -> int:
    """How long after the start of a session its commitment is mined: any place in the window, in turn."""
    first, last = kind.dkg_mining
    return first + (start // kind.interval + kind.number) % (last - first + 1)


def _carrier(height: int, commitment: QuorumCommitment) -> Spending:
    payload = protx.commitment(height, commitment.to_bytes())
    return Spending(Transaction(3, QUORUM_COMMITMENT, (), (), 0, payload))
