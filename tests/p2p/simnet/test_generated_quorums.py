"""The quorums of a generated chain are those that the rules give, and each proves itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import attrs
import pytest

from phasegate.consensus.bls import ORDER, basic_key, is_null, secure_aggregate, verify
from phasegate.consensus.codec import Reader
from phasegate.consensus.commitments import Verdict, check_commitment, check_commitments
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeEntry
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import QUORUM_COMMITMENT, Block, CoinbasePayload
from phasegate.consensus.quorum_members import list_height, members, modifier, takes_evo_only
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.p2p.simnet.bls_keys import aggregate_secret, legacy_form, operator_key, public_key, secret_key, sign
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.rotation import Rotation

Drawn = list[tuple[QuorumCommitment, tuple[MasternodeEntry, ...]]]


@cache
def chain() -> GeneratedChain:
    return generate(1500, "quorums")


def coinbase(height: int) -> CoinbasePayload:
    return CoinbasePayload.from_bytes(Block.from_bytes(chain().block(height) or b"").transactions[0].payload)


def mined(height: int) -> list[QuorumCommitment]:
    """The commitments in the block at `height`, null ones too."""
    found = Block.from_bytes(chain().block(height) or b"").transactions
    payloads = [tx.payload for tx in found if tx.type == QUORUM_COMMITMENT]
    return [QuorumCommitment.parse(Reader(payload[6:], "commitment")) for payload in payloads]


@cache
def commitments() -> list[tuple[int, QuorumCommitment]]:
    return [(height, quorum) for height in range(1, chain().height + 1) for quorum in mined(height)]


def drawn(quorum: QuorumCommitment) -> tuple[MasternodeEntry, ...]:
    """The members that a client gives a quorum that does not rotate."""
    kind, base = SIMNET.quorum_types[quorum.type], chain().height_of(quorum.quorum_hash)
    assert base is not None
    chosen_by = modifier(
        SIMNET,
        kind,
        base_height=base,
        base_hash=quorum.quorum_hash,
        work_height=base - 8,
        work_hash=chain().hash_at(base - 8),
        chainlock=coinbase(base - 8).best_cl_signature,
    )
    entries = chain().masternodes_at(list_height(SIMNET, kind, base)).entries.values()
    return members(SIMNET, kind, entries, chosen_by, evo_only=takes_evo_only(SIMNET, kind, base))


@cache
def plain() -> Drawn:
    """Every quorum that was made and does not rotate."""
    made = [quorum for _, quorum in commitments() if not quorum.is_null and quorum.index is None]
    return [(quorum, drawn(quorum)) for quorum in made]


@cache
def rotated() -> Drawn:
    """Every rotated quorum that was made."""
    rotation = Rotation(chain(), SIMNET.quorum_types[103])
    pairs = []
    for quorum in [quorum for _, quorum in commitments() if not quorum.is_null and quorum.index is not None]:
        cycle = rotation.cycle((chain().height_of(quorum.quorum_hash) or 0) - (quorum.index or 0))
        assert cycle is not None
        pairs.append((quorum, cycle.members[quorum.index or 0]))
    return pairs


def test_keys_and_signatures_are_of_the_field() -> None:
    """What a secret signs verifies under its key, in both encodings, and under no other."""
    one, two = secret_key(b"\x01" * 48), secret_key(b"\xff" * 48)
    assert 0 < one < ORDER
    first, second = sign(b"\x05" * 32, one, two)
    assert verify(public_key(one), b"\x05" * 32, first)
    assert verify(public_key(two), b"\x05" * 32, second)
    assert not verify(public_key(one), b"\x05" * 32, second)
    for key in (public_key(one), public_key(two)):
        assert basic_key(legacy_form(key), legacy=True) == key == operator_key(legacy_form(key), 1)


def test_one_secret_signs_for_an_aggregate() -> None:
    """The signature of the combined secret is that of the secure aggregate of the keys."""
    secrets = {public_key(secret): secret for secret in (5, 7, 11)}
    (signature,) = sign(b"\x05" * 32, aggregate_secret(list(secrets), secrets))
    assert verify(secure_aggregate(list(secrets)), b"\x05" * 32, signature)


@pytest.mark.parametrize("pairs", [plain, rotated])
def test_every_commitment_verifies(pairs: Callable[[], Drawn]) -> None:
    """Members drawn by the rules, their aggregate signature, and the quorum's own."""
    assert set(check_commitments(SIMNET, pairs())) == {Verdict.VERIFIED}
    assert len(pairs()) > 100


def test_a_changed_commitment_does_not_verify() -> None:
    """The test above is able to fail: for other members, another key, another vector hash."""
    quorum, own = plain()[7]
    other = next(o for q, o in plain() if q.type == quorum.type and o != own)
    for wrong, of in (
        (quorum, other),
        (attrs.evolve(quorum, public_key=public_key(3)), own),
        (attrs.evolve(quorum, vvec_hash=bytes(31) + b"\1"), own),
    ):
        with pytest.raises(PeerMisbehaved) as caught:
            check_commitment(SIMNET, wrong, of)
        assert caught.value.fault is Fault.BAD_QUORUM_COMMITMENT


def test_sessions_fail_and_lose_members() -> None:
    """Each type has failures and successes; some quorums have a signer less, and some of these count it as valid."""
    made = {
        number: [quorum.is_null for _, quorum in commitments() if quorum.type == number]
        for number in SIMNET.quorum_types
    }
    assert all(0.05 < sum(failed) / len(failed) < 0.5 for failed in made.values())
    lossy = [quorum for quorum, _ in plain() if quorum.signers.count < 3]
    assert len(lossy) > 10
    assert {quorum.signers == quorum.valid_members for quorum in lossy} == {True, False}
    assert all(quorum.signers.count == 4 for quorum, _ in rotated())


def test_members_are_of_every_kind() -> None:
    """Some have keys in the old encoding; those of the Platform's quorums are evo masternodes; quorums rotate."""
    drawn = [member for _, own in (*plain(), *rotated()) for member in own]
    assert {member.version for member in drawn} == {1, 2}
    assert all(member.type == 1 for quorum, own in plain() if quorum.type == 106 for member in own)
    assert not all(member.type == 1 for quorum, own in plain() if quorum.type == 100 for member in own)
    assert len({tuple(m.pro_tx_hash for m in own) for _, own in rotated()}) > 50


def test_commitments_are_mined_in_their_window() -> None:
    """Wherever in the window of its type, and at more than one place of it."""
    for kind in SIMNET.quorum_types.values():
        offsets = {height % kind.interval for height, quorum in commitments() if quorum.type == kind.number}
        assert min(offsets) >= kind.dkg_mining[0]
        assert max(offsets) <= kind.dkg_mining[1]
        assert len(offsets) > 3


def test_quorums_begin_early() -> None:
    """A chain of 150 blocks has quorums of every type already."""
    first = {quorum.type: height for height, quorum in reversed(commitments()) if not quorum.is_null}
    assert set(first) == set(SIMNET.quorum_types)
    assert max(first.values()) < 150


def test_an_entry_without_a_key_falls_back_to_the_oldest_version() -> None:
    """Whoever lost the operator key is banned and has no type and no address; a new key brings the type back."""
    states = [chain().masternodes_at(height).entries for height in range(chain().height + 1)]
    keyless = [entry for state in states for entry in state.values() if is_null(entry.operator_key)]
    assert {(e.version, e.type, e.address, e.node_id, e.valid) for e in keyless} == {(1, 0, bytes(18), b"", False)}
    names = {entry.pro_tx_hash for entry in keyless}
    assert any(not is_null(e.operator_key) and e.version == 2 for e in states[-1].values() if e.pro_tx_hash in names)


def test_the_differences_name_the_signature_of_the_work_block() -> None:
    """For each new quorum exactly one, that of the coinbase 8 blocks below its session or cycle."""
    diff = chain().mnlistdiff(0, chain().height)
    assert diff is not None
    told = {place: signature for signature, places in diff.cl_signatures for place in places}
    assert sorted(told) == list(range(len(diff.new_quorums)))
    for place, quorum in enumerate(diff.new_quorums):
        base = (chain().height_of(quorum.quorum_hash) or 0) - (quorum.index or 0)
        assert told[place] == coinbase(base - 8).best_cl_signature
