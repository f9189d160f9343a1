"""The form of a commitment, rule by rule, and who is named when one of many is wrong."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs
import pyblst
import pytest

from phasegate.consensus import bls
from phasegate.consensus.commitments import (
    Verdict,
    check_announced,
    check_commitment,
    check_commitments,
    check_form,
    check_memberless,
    commitment_hash,
)
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternode_entry import MasternodeEntry
from phasegate.consensus.params import REGTEST
from phasegate.consensus.quorums import BitSet, QuorumCommitment

GENERATOR = pyblst.BlstP1Element().uncompress(
    bytes.fromhex("97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb")
)
QUORUM_SECRET = 77
ALL = (True, True, True)


def secret(n: int) -> int:
    return int.from_bytes(hashlib.sha256(b"operator %d" % n).digest(), "big") % bls.ORDER


def key(factor: int) -> bytes:
    return bytes(GENERATOR.scalar_mul(factor).compress())


def sign(factor: int, message: bytes) -> bytes:
    return bytes(pyblst.BlstP2Element.hash_to_group(message, bls.SUITE).scalar_mul(factor).compress())


def member(n: int, *, legacy: bool = False) -> MasternodeEntry:
    raw = key(secret(n))
    if legacy:
        raw = bytes((raw[0] & 0x1F | (0x80 if raw[0] & 0x20 else 0),)) + raw[1:]
    return MasternodeEntry(1 if legacy else 2, bytes((n,)) * 32, b"\1" * 32, bytes(18), raw, bytes(20), True)


def made(members: list[MasternodeEntry], signers: tuple[bool, ...] = ALL, n: int = 1) -> QuorumCommitment:
    """A commitment of type 100 that these members really made."""
    bits = BitSet.of(signers)
    bare = QuorumCommitment(
        3, 100, bytes((n,)) * 32, bits, bits, key(QUORUM_SECRET), b"\3" * 32, b"\4" * 96, b"\5" * 96
    )
    message = commitment_hash(bare)
    secrets = {key(secret(n)): secret(n) for n in range(1, 8)}
    keys = [
        bls.basic_key(e.operator_key, legacy=e.version == 1) for e, bit in zip(members, signers, strict=False) if bit
    ]
    whole = sum(secrets[raw] * factor for raw, factor in bls.secure_terms(keys)) % bls.ORDER
    return attrs.evolve(bare, quorum_signature=sign(QUORUM_SECRET, message), members_signature=sign(whole, message))


MEMBERS = [member(1), member(2, legacy=True), member(3)]
GOOD = made(MEMBERS)


@pytest.mark.parametrize("signers", [ALL, (True, False, True), (False, True, True)])
def test_what_members_really_signed_verifies(signers: tuple[bool, ...]) -> None:
    """Whoever of them signed, one with a legacy key among them."""
    assert check_commitment(REGTEST, made(MEMBERS, signers), MEMBERS) is Verdict.VERIFIED
    assert check_announced(REGTEST, [made(MEMBERS, signers)]) == (Verdict.VERIFIED,)


def test_the_version_of_a_masternode_tells_how_its_key_is_read() -> None:
    """Read in the other encoding it is another key, or none."""
    wrong = [MEMBERS[0], attrs.evolve(MEMBERS[1], version=2), MEMBERS[2]]
    with pytest.raises(PeerMisbehaved, match="members did not sign"):
        check_commitment(REGTEST, GOOD, wrong)


FORMS: dict[str, dict[str, Any]] = {
    "unknown type": {"type": 99},
    "rotated without index": {"type": 103},
    "index of a plain type": {"version": 4, "index": 0},
    "too many bits of signers": {"signers": BitSet.of([True] * 4)},
    "too few bits of valid members": {"valid_members": BitSet.of([True] * 2)},
    "too few signers": {"signers": BitSet.of([True, False, False])},
    "too few valid members": {"valid_members": BitSet.of([True, False, False])},
    "null key": {"public_key": bytes(48)},
    "infinite key": {"public_key": b"\xc0" + bytes(47)},
    "no verification vector": {"vvec_hash": bytes(32)},
    "null quorum signature": {"quorum_signature": bytes(96)},
    "infinite members' signature": {"members_signature": b"\xc0" + bytes(95)},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_rule_of_form(form: str) -> None:
    """Of the legacy versions too, whose signatures cannot be checked."""
    with pytest.raises(PeerMisbehaved) as caught:
        check_form(REGTEST, attrs.evolve(GOOD, **FORMS[form]))
    assert caught.value.fault is Fault.BAD_QUORUM_COMMITMENT


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_beyond_the_cycle_is_refused(index: int) -> None:
    bits = BitSet.of([True] * 4)
    rotated = attrs.evolve(GOOD, version=4, type=103, signers=bits, valid_members=bits)
    assert check_form(REGTEST, attrs.evolve(rotated, index=1)) is Verdict.VERIFIED
    with pytest.raises(PeerMisbehaved):
        check_form(REGTEST, attrs.evolve(rotated, index=index))


SIGNED: dict[str, dict[str, Any]] = {
    "public key": {"public_key": key(5)},
    "verification vector": {"vvec_hash": b"\7" * 32},
    "valid members": {"valid_members": BitSet.of([True, True, False])},
    "signers": {"signers": BitSet.of([True, True, False])},
    "quorum hash": {"quorum_hash": b"\7" * 32},
    "quorum signature": {"quorum_signature": GOOD.members_signature},
    "members' signature": {"members_signature": GOOD.quorum_signature},
}


@pytest.mark.parametrize("field", SIGNED)
def test_each_field_is_signed(field: str) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        check_commitment(REGTEST, attrs.evolve(GOOD, **SIGNED[field]), MEMBERS)
    assert caught.value.fault is Fault.BAD_QUORUM_COMMITMENT


def test_signers_beyond_the_members_are_refused() -> None:
    """A young quorum has fewer members than bits."""
    with pytest.raises(PeerMisbehaved, match="2 members"):
        check_commitment(REGTEST, GOOD, MEMBERS[:2])
    assert check_commitment(REGTEST, made(MEMBERS, (True, True, False)), MEMBERS[:2]) is Verdict.VERIFIED


def test_the_wrong_one_of_many_is_named() -> None:
    """The batch fails as a whole, and the culprit is found."""
    many = [made(MEMBERS, n=n) for n in (2, 3, 4)]
    assert check_commitments(REGTEST, [(one, MEMBERS) for one in many]) == (Verdict.VERIFIED,) * 3
    many[1] = attrs.evolve(many[1], members_signature=many[0].members_signature)
    with pytest.raises(PeerMisbehaved, match=r"quorum 100:0303.*its members did not sign it"):
        check_commitments(REGTEST, [(one, MEMBERS) for one in many])
    many[1] = attrs.evolve(many[1], quorum_signature=many[0].quorum_signature)
    with pytest.raises(PeerMisbehaved, match=r"quorum 100:0303.*its key did not sign it"):
        check_announced(REGTEST, many)


def test_without_members_the_form_and_the_own_signature_have_to_do() -> None:
    """Of a type that nobody here knows the signature alone, of one of before V19 the form alone; the first is named."""
    stranger = signed_alone(attrs.evolve(GOOD, type=99, signers=BitSet.of([True])))
    old = attrs.evolve(GOOD, version=1, quorum_signature=b"\7" * 96)
    nobodys = attrs.evolve(GOOD, members_signature=b"\5" * 96)
    check_memberless(REGTEST, [GOOD, stranger, old, nobodys])
    wrong = {
        "fewer than 2": attrs.evolve(GOOD, signers=BitSet.of([True, False, False])),
        "1 bits of signers": attrs.evolve(old, signers=BitSet.of([True])),
        "quorum 100:0101.*its key did not sign it": attrs.evolve(GOOD, quorum_signature=GOOD.members_signature),
        "quorum 99:0101.*its key did not sign it": attrs.evolve(stranger, quorum_signature=GOOD.quorum_signature),
    }
    for detail, commitment in wrong.items():
        with pytest.raises(PeerMisbehaved, match=detail) as caught:
            check_memberless(REGTEST, [GOOD, commitment])
        assert caught.value.fault is Fault.BAD_QUORUM_COMMITMENT


def signed_alone(bare: QuorumCommitment) -> QuorumCommitment:
    """A commitment that the quorum's own key signed."""
    return attrs.evolve(bare, quorum_signature=sign(QUORUM_SECRET, commitment_hash(bare)))


def test_a_commitment_of_before_v19_is_left_to_the_root() -> None:
    """Its signatures are of another scheme: no members are needed, and whatever they are, nothing is said of them."""
    old = attrs.evolve(GOOD, version=1, quorum_signature=b"\7" * 96)
    assert check_commitment(REGTEST, old, ()) is Verdict.LEGACY
    assert check_commitments(REGTEST, [(old, ()), (GOOD, MEMBERS)]) == (Verdict.LEGACY, Verdict.VERIFIED)
