"""Commitments and snapshots on the wire, and what the quorum root covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Malformed
from phasegate.consensus.primitives import QUORUM_COMMITMENT
from phasegate.consensus.quorums import BitSet, QuorumCommitment, QuorumSnapshot, quorum_root

if TYPE_CHECKING:
    from tests.conftest import Conversation
    from tests.consensus.conftest import RecordedChain

REAL = QuorumCommitment(
    3, 100, b"\1" * 32, BitSet.of([True] * 3), BitSet.of([True, False, True]), b"\2" * 48, b"\3" * 32, b"\4" * 96,
    b"\5" * 96,
)  # fmt: skip
NULL = QuorumCommitment(
    3, 100, b"\1" * 32, BitSet.of([False] * 3), BitSet.of([False] * 3), bytes(48), bytes(32), bytes(96), bytes(96)
)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_version_re_encodes_to_the_same_bytes(version: int) -> None:
    commitment = attrs.evolve(REAL, version=version, index=7 if version in (2, 4) else None)
    r = Reader(commitment.to_bytes())
    assert QuorumCommitment.parse(r) == commitment
    r.end()


@pytest.mark.parametrize("version", [0, 5])
def test_an_unknown_version_is_malformed(version: int) -> None:
    with pytest.raises(Malformed):
        QuorumCommitment.parse(Reader(attrs.evolve(REAL, version=version).to_bytes()))


def test_only_a_commitment_without_members_and_keys_is_null() -> None:
    assert NULL.is_null
    assert attrs.evolve(NULL, public_key=b"\xc0" + bytes(47)).is_null
    assert not REAL.is_null
    changes: list[dict[str, Any]] = [{"signers": REAL.signers}, {"vvec_hash": b"\1" * 32}, {"public_key": b"\2" * 48}]
    assert not any(attrs.evolve(NULL, **change).is_null for change in changes)


def test_nine_recorded_commitments_are_real_and_all_others_null(chain: RecordedChain) -> None:
    heights = []
    for height in range(1, 357):
        for tx in chain.block(height).transactions:
            if tx.type == QUORUM_COMMITMENT:
                r = Reader(tx.payload[6:])
                commitment = QuorumCommitment.parse(r)
                r.end()
                heights += [] if commitment.is_null else [height]
    assert heights == [227, 228, 228, 299, 300, 300, 347, 348, 348]


def test_the_quorum_root_does_not_depend_on_the_order() -> None:
    other = attrs.evolve(REAL, quorum_hash=b"\7" * 32)
    assert quorum_root([REAL, other]) == quorum_root([other, REAL]) != quorum_root([REAL])
    assert quorum_root([]) == bytes(32)


@given(st.lists(st.booleans(), max_size=70))
def test_a_bit_set_is_what_it_was_made_of(bits: list[bool]) -> None:
    bit_set = BitSet.parse(Reader(BitSet.of(bits).to_bytes()), 70)
    assert [bit_set[i] for i in range(bit_set.size)] == bits
    assert bit_set.count == sum(bits)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_bit_outside_the_set_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        REAL.signers[index]


@pytest.mark.parametrize("raw", [b"\x03\x08", b"\x47" + bytes(9), b"\x09\xff"])
def test_padding_size_and_length_of_a_bit_set_are_strict(raw: bytes) -> None:
    with pytest.raises(Malformed):
        BitSet.parse(Reader(raw), 70)


def test_a_snapshot_keeps_negative_skips() -> None:
    snapshot = QuorumSnapshot(1, BitSet.of([True] * 4), (0, 1, 1, -1, 0))
    assert QuorumSnapshot.parse(Reader(snapshot.to_bytes())) == snapshot


def test_the_recorded_snapshots_are_those_of_the_node(conversation: Callable[[int], Conversation]) -> None:
    """In the order of the message: one, two and three cycles before."""
    r = Reader(next(payload for way, command, payload in conversation(70240) if (way, command) == ("<", "qrinfo")))
    read = [QuorumSnapshot.parse(r) for _ in range(3)]
    assert [(s.skip_mode, [s.active_members[i] for i in range(s.active_members.size)], s.skip_list) for s in read] == [
        (1, [True] * 5, (0, 1)),
        (1, [True, True, True, False, True], (1, 1, 2)),
        (1, [True] * 4, (0, 2)),
    ]
