"""Every way in which a masternode difference can lie, on a list of our own that has all kinds of changes."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeEntry, MasternodeListDiff, MasternodeState, apply_diff
from phasegate.consensus.merkle import PartialMerkleTree, merkle_root
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import BlockHeader, CoinbasePayload, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.quorums import BitSet, QuorumCommitment
from phasegate.consensus.x11 import x11

HEIGHT = 7


def entry(n: int, valid: bool = True) -> MasternodeEntry:
    return MasternodeEntry(2, bytes((n,)) * 32, b"\1" * 32, bytes(18), b"\3" * 48, b"\4" * 20, valid)


def quorum(n: int) -> QuorumCommitment:
    bits = BitSet.of([True] * 3)
    return QuorumCommitment(3, 100, bytes((n,)) * 32, bits, bits, b"\2" * 48, b"\3" * 32, b"\4" * 96, b"\5" * 96)


def state(entries: Iterable[MasternodeEntry], quorums: Iterable[QuorumCommitment]) -> MasternodeState:
    return MasternodeState(1, b"\x0b" * 32, {e.pro_tx_hash: e for e in entries}, {q.key: q for q in quorums})


BEFORE = state([entry(1), entry(2), entry(3)], [quorum(1), quorum(2)])
AFTER = state([entry(2, valid=False), entry(3), entry(9)], [quorum(2), quorum(9), quorum(8)])


def proven(payload: bytes, kind: int = 5) -> tuple[Transaction, PartialMerkleTree, bytes]:
    """A coinbase of this payload, its proof among three transactions, and the header over them."""
    coinbase = Transaction(3, kind, (TxIn(OutPoint(bytes(32), 0xFFFFFFFF), b"\x6a"),), (TxOut(5, b"\x51"),), 0, payload)
    txids = [coinbase.txid, b"\1" * 32, b"\2" * 32]
    header = BlockHeader(4, bytes(32), merkle_root(txids)[0], 1, SIMNET.pow_limit >> 240, 0)
    return coinbase, PartialMerkleTree.build(txids, {0}), header.to_bytes()


ROOTS = (AFTER.merkle_root(), AFTER.quorum_root())
COINBASE, PROOF, HEADER = proven(CoinbasePayload(3, HEIGHT, *ROOTS, 0, bytes(96), 0).to_bytes())
DIFF = MasternodeListDiff(
    BEFORE.block_hash,
    x11(HEADER),
    PROOF,
    COINBASE,
    (entry(1).pro_tx_hash,),
    (entry(9), entry(2, valid=False)),
    (quorum(1).key,),
    (quorum(9), quorum(8)),
    ((bytes(96), (1,)), (b"\1" * 96, (0,))),
)


def apply(diff: MasternodeListDiff, header: bytes = HEADER) -> MasternodeState:
    return apply_diff(SIMNET, BEFORE, diff, header, HEIGHT)


def test_the_honest_difference_leads_to_the_new_state() -> None:
    assert apply(DIFF) == attrs.evolve(AFTER, height=HEIGHT, block_hash=x11(HEADER))
    assert (BEFORE.count, AFTER.valid_count) == (3, 2)


NULL = attrs.evolve(
    quorum(7), signers=BitSet.of([False] * 3), valid_members=BitSet.of([False] * 3), public_key=bytes(48),
    vvec_hash=bytes(32), quorum_signature=bytes(96), members_signature=bytes(96),
)  # fmt: skip
THREE = ((bytes(96), (1, 2)), (b"\1" * 96, (0,)))
"""ChainLock signatures of three new quorums: where one too many is told, it is not its signature that is missing."""
FORGED = attrs.evolve(quorum(9), public_key=b"\7" * 48)
MISFIT, PROOF_FAULT = Fault.BAD_MASTERNODE_DIFF, Fault.BAD_MERKLE_PROOF
TWO_MATCHES = PartialMerkleTree.build([COINBASE.txid, b"\1" * 32, b"\2" * 32], {0, 1})
LIES = {
    "other base": (Fault.UNFITTING_REPLY, {"base_hash": b"\1" * 32}),
    "genesis as base": (Fault.UNFITTING_REPLY, {"base_hash": bytes(32)}),
    "other block": (Fault.UNFITTING_REPLY, {"block_hash": b"\1" * 32}),
    "forged proof": (PROOF_FAULT, {"proof": attrs.evolve(PROOF, hashes=(bytes(32), *PROOF.hashes[1:]))}),
    "proof of two": (PROOF_FAULT, {"proof": TWO_MATCHES}),
    "other coinbase": (PROOF_FAULT, {"coinbase": attrs.evolve(COINBASE, lock_time=1)}),
    "unknown masternode deleted": (MISFIT, {"deleted": (b"\7" * 32,)}),
    "masternode deleted twice": (MISFIT, {"deleted": DIFF.deleted * 2}),
    "masternode deleted and added": (MISFIT, {"added": (*DIFF.added, entry(1))}),
    "masternode added twice": (MISFIT, {"added": (*DIFF.added, entry(9))}),
    "unknown quorum deleted": (MISFIT, {"deleted_quorums": ((100, b"\7" * 32),)}),
    "quorum of another type deleted": (MISFIT, {"deleted_quorums": ((101, b"\1" * 32),)}),
    "quorum deleted twice": (MISFIT, {"deleted_quorums": DIFF.deleted_quorums * 2}),
    "quorum added twice": (MISFIT, {"new_quorums": (*DIFF.new_quorums, quorum(9)), "cl_signatures": THREE}),
    "active quorum added": (MISFIT, {"new_quorums": (*DIFF.new_quorums, quorum(2)), "cl_signatures": THREE}),
    "null quorum added": (MISFIT, {"new_quorums": (*DIFF.new_quorums, NULL), "cl_signatures": THREE}),
    "signature of no quorum": (MISFIT, {"cl_signatures": ((bytes(96), (2,)),)}),
    "quorum signed twice": (MISFIT, {"cl_signatures": ((bytes(96), (0, 0)),)}),
    "entry changed": (Fault.BAD_MASTERNODE_ROOT, {"added": (entry(9), entry(2))}),
    "entry left out": (Fault.BAD_MASTERNODE_ROOT, {"added": (entry(9),)}),
    "deletion left out": (Fault.BAD_MASTERNODE_ROOT, {"deleted": ()}),
    "quorum changed": (Fault.BAD_QUORUM_ROOT, {"new_quorums": (FORGED, quorum(8))}),
    "quorum left out": (Fault.BAD_QUORUM_ROOT, {"new_quorums": (quorum(9),), "cl_signatures": ()}),
    "quorum deletion left out": (Fault.BAD_QUORUM_ROOT, {"deleted_quorums": ()}),
}


MISFITS = {
    "quorum added twice": "a quorum is named twice",
    "active quorum added": "a new quorum is null or active already",
    "null quorum added": "a new quorum is null or active already",
    "signature of no quorum": "the ChainLock signatures do not belong to each new quorum once",
    "quorum signed twice": "the ChainLock signatures do not belong to each new quorum once",
    "unknown quorum deleted": "a quorum is deleted that was not there",
    "unknown masternode deleted": "a masternode is deleted that was not there",
    "masternode deleted and added": "a masternode is named twice",
}


@pytest.mark.parametrize("lie", MISFITS)
def test_what_does_not_fit_is_told_apart(lie: str) -> None:
    """All of them are one fault, so the words have to say which."""
    with pytest.raises(PeerMisbehaved, match=MISFITS[lie]):
        apply(attrs.evolve(DIFF, **LIES[lie][1]))  # type: ignore[arg-type]


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_refused_by_its_name_and_the_base_stays_as_it_was(lie: str) -> None:
    fault, change = LIES[lie]
    before = BEFORE.to_bytes()
    with pytest.raises(PeerMisbehaved) as caught:
        apply(attrs.evolve(DIFF, **change))  # type: ignore[arg-type]
    assert caught.value.fault is fault
    assert BEFORE.to_bytes() == before


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (CoinbasePayload(3, HEIGHT, *ROOTS, 0, bytes(96), 0).to_bytes(), 6),
        (CoinbasePayload(3, HEIGHT + 1, *ROOTS, 0, bytes(96), 0).to_bytes(), 5),
        (CoinbasePayload(3, HEIGHT, *ROOTS, 0, bytes(96), 0).to_bytes() + b"\0", 5),
        (b"", 5),
    ],
)
def test_a_coinbase_of_another_kind_height_or_form_is_refused(payload: bytes, kind: int) -> None:
    coinbase, proof, header = proven(payload, kind)
    with pytest.raises(PeerMisbehaved) as caught:
        apply(attrs.evolve(DIFF, coinbase=coinbase, proof=proof, block_hash=x11(header)), header)
    assert caught.value.fault is Fault.BAD_COINBASE


def test_a_coinbase_of_version_1_says_nothing_about_quorums() -> None:
    coinbase, proof, header = proven(CoinbasePayload(1, HEIGHT, ROOTS[0]).to_bytes())
    diff = attrs.evolve(DIFF, coinbase=coinbase, proof=proof, block_hash=x11(header), new_quorums=(), cl_signatures=())
    assert apply(diff, header).merkle_root() == ROOTS[0]


@given(at=st.integers(0, len(DIFF.to_bytes(70240)) - 1), flip=st.integers(1, 255))
def test_no_changed_byte_leads_to_another_state(at: int, flip: int) -> None:
    raw = bytearray(DIFF.to_bytes(70240))
    raw[at] ^= flip
    try:
        r = Reader(bytes(raw))
        diff = MasternodeListDiff.parse(r, 70240)
        r.end()
        assert diff.to_bytes(70240) == raw
        after = apply(diff)
    except PeerMisbehaved:
        return
    assert after == apply(DIFF)


def test_a_stored_state_is_canonical() -> None:
    shuffled = attrs.evolve(AFTER, entries=dict(reversed(list(AFTER.entries.items()))))
    assert shuffled.to_bytes() == AFTER.to_bytes()
    assert MasternodeState.from_bytes(AFTER.to_bytes()) == AFTER


def test_a_stored_state_in_another_order_or_form_is_refused() -> None:
    raw = AFTER.to_bytes()
    start, size = 1 + 4 + 32 + 1, len(entry(1).to_bytes(70240))
    first, second = raw[start : start + size], raw[start + size : start + 2 * size]
    swapped = raw[:start] + second + first + raw[start + 2 * size :]
    for wrong in (swapped, b"\2" + raw[1:], raw[:-1], raw + b"\0", b""):
        with pytest.raises(Malformed):
            MasternodeState.from_bytes(wrong)
