"""Merkle roots, the mutation that hides in them, and partial trees."""

from __future__ import annotations

import contextlib
import hashlib

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader, dsha
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.merkle import PartialMerkleTree, merkle_root


def _leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes((i,))).digest() for i in range(count)]


def test_no_leaves_have_the_zero_root_and_one_is_its_own() -> None:
    assert merkle_root([]) == (bytes(32), False)
    assert merkle_root(_leaves(1)) == (_leaves(1)[0], False)


def test_an_odd_level_repeats_its_last_node() -> None:
    a, b, c = _leaves(3)
    assert merkle_root([a, b, c]) == (dsha(dsha(a + b) + dsha(c + c)), False)


@pytest.mark.parametrize("count", [3, 5, 6, 7, 11])
def test_a_doubled_tail_has_the_same_root_and_is_called_a_mutation(count: int) -> None:
    """CVE-2012-2459: the root alone cannot tell the two lists apart."""
    leaves = _leaves(count)
    tail = leaves[-(count & -count) :]
    root, mutated = merkle_root(leaves + tail)
    assert root == merkle_root(leaves)[0]
    assert mutated
    assert not merkle_root(leaves)[1]


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_a_built_proof_extracts_to_the_root_and_exactly_the_matches(case: tuple[int, set[int]]) -> None:
    count, match = case
    leaves = _leaves(count)
    proof = PartialMerkleTree.build(leaves, match)
    again = PartialMerkleTree.parse(Reader(proof.to_bytes()))
    assert again == proof
    assert again.extract() == (merkle_root(leaves)[0], tuple((i, leaves[i]) for i in sorted(match)))


PROOF = PartialMerkleTree.build(_leaves(7), {0, 5})


@pytest.mark.parametrize(
    "broken",
    [
        attrs.evolve(PROOF, total=0),
        attrs.evolve(PROOF, total=40_000),
        attrs.evolve(PROOF, total=3),
        attrs.evolve(PROOF, hashes=PROOF.hashes[:-1]),
        attrs.evolve(PROOF, hashes=(*PROOF.hashes, bytes(32))),
        attrs.evolve(PROOF, flags=PROOF.flags[:-1]),
        attrs.evolve(PROOF, flags=PROOF.flags + b"\0"),
        attrs.evolve(PROOF, flags=PROOF.flags[:-1] + bytes((PROOF.flags[-1] | 0x80,))),
        PartialMerkleTree(2, (_leaves(1)[0],) * 2, b"\7"),
        PartialMerkleTree(1, (), b""),
    ],
)
def test_a_proof_with_anything_missing_left_over_or_doubled_is_refused(broken: PartialMerkleTree) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        broken.extract()
    assert caught.value.fault is Fault.BAD_MERKLE_PROOF


@given(st.integers(0, 1 << 32), st.lists(st.binary(min_size=32, max_size=32), max_size=8), st.binary(max_size=4))
def test_no_proof_does_worse_than_misbehave(total: int, hashes: list[bytes], flags: bytes) -> None:
    with contextlib.suppress(PeerMisbehaved):
        root, matches = PartialMerkleTree(total, tuple(hashes), flags).extract()
        assert len(root) == 32
        assert all(leaf in hashes for _, leaf in matches)
