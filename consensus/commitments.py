"""Whether a final commitment is what it says: its form and its two signatures [DIP6; Core llmq/commitment.cpp].

A quorum proves itself twice over the same hash: with its own key, and with the secure aggregate of the operator keys of
the members who signed. Commitments made before V19 are signed in a scheme of Dash's own that IETF libraries cannot
check; the quorum root of the coinbase covers them as it covers all, and the verdict says that there was nothing more.

Where the members cannot be told, a quorum still has to have the form of its type and to have signed with its own key.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from phasegate.consensus.bls import Claim, basic_key, is_null, secure_terms, verify_all
from phasegate.consensus.codec import dsha
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternode_entry import MasternodeEntry
from phasegate.consensus.params import Network, QuorumType
from phasegate.consensus.quorums import QuorumCommitment

Members = Sequence[MasternodeEntry]


class Verdict(Enum):
    """What could be said of a commitment that broke no rule."""

    VERIFIED = "verified"
    LEGACY = "legacy"


def commitment_hash(commitment: QuorumCommitment) -> bytes:
    """The 32 bytes that the quorum and its members sign."""
    head = bytes((commitment.type,)) + commitment.quorum_hash + commitment.valid_members.to_bytes()
    return dsha(head + commitment.public_key + commitment.vvec_hash)


def check_commitment(network: Network, commitment: QuorumCommitment, members: Members) -> Verdict:
    """The verdict on one commitment.

    Args:
        network: where this happens.
        commitment: as mined.
        members: of that quorum, in their order; not looked at when the commitment is of before V19.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT.
    """
    return check_commitments(network, [(commitment, members)])[0]


def check_commitments(network: Network, pairs: Sequence[tuple[QuorumCommitment, Members]]) -> tuple[Verdict, ...]:
    """The verdicts on many commitments, their signatures judged as one product.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT, naming the first that is wrong.
    """
    verdicts = tuple([check_form(network, commitment) for commitment, _ in pairs])
    judged = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is Verdict.VERIFIED]
    if not verify_all([claim for pair in judged for claim in _claims(*pair)]):
        for commitment, members in judged:
            _check_signatures(commitment, members)
    return verdicts


def check_announced(network: Network, commitments: Sequence[QuorumCommitment]) -> tuple[Verdict, ...]:
    """The verdicts on commitments of quorums whose members are not known: form and the quorum's own signature.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT, naming the first that is wrong.
    """
    verdicts = tuple([check_form(network, commitment) for commitment in commitments])
    pairs = zip(commitments, verdicts, strict=True)
    _check_own_signatures([commitment for commitment, verdict in pairs if verdict is Verdict.VERIFIED])
    return verdicts


def check_memberless(network: Network, commitments: Sequence[QuorumCommitment]) -> None:
    """As `check_announced`, of types that the network does not know, too: of these the signature alone.

    A type that this program has not heard of yet may be a new one of the network; it signs none of the locks.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT, naming the first that is wrong.
    """
    check_announced(network, [commitment for commitment in commitments if commitment.type in network.quorum_types])
    unknown = [commitment for commitment in commitments if commitment.type not in network.quorum_types]
    _check_own_signatures([commitment for commitment in unknown if not commitment.is_legacy])


def check_form(network: Network, commitment: QuorumCommitment) -> Verdict:
    """The verdict that a commitment gets if its signatures hold.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT, when sizes, counts, index or keys cannot be those of a quorum.
    """
    kind = network.quorum_types.get(commitment.type)
    if kind is None:
        raise _bad(commitment, "the network has no quorums of this type")
    if (commitment.index is not None) != kind.rotated or not 0 <= (commitment.index or 0) < kind.active:
        raise _bad(commitment, f"version {commitment.version} with index {commitment.index}")
    _check_counts(kind, commitment)
    if is_null(commitment.public_key) or not any(commitment.vvec_hash):
        raise _bad(commitment, "no key")
    if is_null(commitment.quorum_signature) or is_null(commitment.members_signature):
        raise _bad(commitment, "no signature")
    return Verdict.LEGACY if commitment.is_legacy else Verdict.VERIFIED


def quorum_claim(commitment: QuorumCommitment) -> Claim:
    """What the quorum's own signature claims: that its key was made by it."""
    return Claim(commitment_hash(commitment), ((commitment.public_key, 1),), commitment.quorum_signature)


def _check_counts(kind: QuorumType, commitment: QuorumCommitment) -> None:
    for what, bits in (("signers", commitment.signers), ("valid members", commitment.valid_members)):
        if bits.size != kind.size:
            raise _bad(commitment, f"{bits.size} bits of {what}, not {kind.size}")
        if bits.count < kind.min_size:
            raise _bad(commitment, f"{bits.count} {what}, fewer than {kind.min_size}")


def _claims(commitment: QuorumCommitment, members: Members) -> tuple[Claim, Claim]:
    own = quorum_claim(commitment)
    for bits in (commitment.signers, commitment.valid_members):
        if int.from_bytes(bits.raw, "little") >> len(members):
            raise _bad(commitment, f"more signed or are valid than its {len(members)} members")
    keys = [_operator_key(entry) for i, entry in enumerate(members) if commitment.signers[i]]
    return own, Claim(own.message, secure_terms(keys), commitment.members_signature)


def _check_signatures(commitment: QuorumCommitment, members: Members) -> None:
    _, aggregate = _claims(commitment, members)
    _check_own_signature(commitment)
    if not verify_all([aggregate]):
        raise _bad(commitment, "its members did not sign it")


def _check_own_signatures(commitments: Sequence[QuorumCommitment]) -> None:
    if not verify_all([quorum_claim(commitment) for commitment in commitments]):
        for commitment in commitments:
            _check_own_signature(commitment)


def _check_own_signature(commitment: QuorumCommitment) -> None:
    if not verify_all([quorum_claim(commitment)]):
        raise _bad(commitment, "its key did not sign it")


def _operator_key(entry: MasternodeEntry) -> bytes:
    return basic_key(entry.operator_key, legacy=entry.version == 1)


def _bad(commitment: QuorumCommitment, detail: str) -> PeerMisbehaved:
    name = f"quorum {commitment.type}:{commitment.quorum_hash[::-1].hex()}"
    return PeerMisbehaved(Fault.BAD_QUORUM_COMMITMENT, f"{name}: {detail}")
