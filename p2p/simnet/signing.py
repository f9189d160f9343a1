"""Making a final commitment that verifies: a quorum's key, its own signature and its members' [DIP6, DIP10]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from phasegate.consensus.commitments import commitment_hash
from phasegate.consensus.masternodes import MasternodeEntry
from phasegate.consensus.params import QuorumType
from phasegate.consensus.quorums import BASIC, BASIC_INDEXED, BitSet, QuorumCommitment
from phasegate.p2p.simnet.bls_keys import aggregate_secret, operator_key, public_key, sign


@attrs.frozen
class Session:
    """One DKG: whose it is, and how it went.

    Args:
        kind: of the quorum.
        quorum_hash: 32 bytes.
        index: in its cycle, None for a quorum that does not rotate.
        members: those who were drawn, at most the type's size.
        lost: the place of the member who does not sign, None when all do.
        valid: whether the others still count the lost one as valid.
    """

    kind: QuorumType
    quorum_hash: bytes
    index: int | None
    members: Sequence[MasternodeEntry]
    lost: int | None = None
    valid: bool = True

    @property
    def version(self) -> int:
        """Of the commitment."""
        return BASIC if self.index is None else BASIC_INDEXED

    def present(self, *, valid: bool) -> BitSet:
        """Who signs; or who is `valid`, which the lost one may be too."""
        missing = self.lost if not (valid and self.valid) else None
        return BitSet.of([place < len(self.members) and place != missing for place in range(self.kind.size)])


def null_commitment(session: Session) -> QuorumCommitment:
    """What is mined when a session made no quorum."""
    nobody, kind = BitSet.of([False] * session.kind.size), session.kind.number
    points = bytes(48), bytes(32), bytes(96), bytes(96)
    return QuorumCommitment(session.version, kind, session.quorum_hash, nobody, nobody, *points, session.index)


def final_commitment(
    session: Session, secret: int, vvec_hash: bytes, operators: Mapping[bytes, int]
) -> QuorumCommitment:
    """The commitment of a session that made a quorum.

    Args:
        session: who was there.
        secret: of the quorum.
        vvec_hash: 32 bytes that nobody looks behind.
        operators: the secrets of masternodes by their basic keys.
    """
    signers = session.present(valid=False)
    unsigned = attrs.evolve(
        null_commitment(session),
        signers=signers,
        valid_members=session.present(valid=True),
        public_key=public_key(secret),
        vvec_hash=vvec_hash,
    )
    keys = [operator_key(m.operator_key, m.version) for place, m in enumerate(session.members) if signers[place]]
    own, joint = sign(commitment_hash(unsigned), secret, aggregate_secret(keys, operators))
    return attrs.evolve(unsigned, quorum_signature=own, members_signature=joint)
