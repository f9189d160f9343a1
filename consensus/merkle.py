"""Merkle roots and partial merkle trees, as Bitcoin builds them [BIP37, Core consensus/merkle.cpp, merkleblock.cpp].

A level with an odd number of nodes repeats its last one. Because of that, a list of transactions can be doubled at its
end without changing the root (CVE-2012-2459): a genuine pair of equal neighbours is therefore reported as a mutation.

A partial tree proves that some leaves belong to a root. It is a depth-first walk: one flag bit a node visited, one hash
for each node where the walk stops. A bit set means "a match lies below"; at a leaf it means "this is a match".
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from operator import eq

import attrs

from phasegate.consensus.codec import Reader, compact_size, dsha, u32, var_bytes
from phasegate.consensus.faults import Fault, PeerMisbehaved

MAX_TRANSACTIONS = 2_000_000 // 60
"""More transactions than any block of 2,000,000 bytes holds."""


def merkle_root(hashes: Sequence[bytes]) -> tuple[bytes, bool]:
    """The root over 32-byte `hashes`, and whether equal neighbours betray a doubled list; 32 zero bytes for none."""
    level, mutated = list(hashes), False
    if not level:
        return bytes(32), False
    while len(level) > 1:
        mutated = mutated or _has_twins(level)
        level = _parents(level)
    return level[0], mutated


def _has_twins(level: Sequence[bytes]) -> bool:
    return any(map(eq, level[::2], level[1::2]))


def _parents(level: list[bytes]) -> list[bytes]:
    if len(level) & 1:
        level.append(level[-1])
    pairs = zip(level[::2], level[1::2], strict=True)
    return [sha256(sha256(left + right).digest()).digest() for left, right in pairs]  # dsha, without the call


@attrs.frozen
class PartialMerkleTree:
    """A proof that some of `total` leaves belong to one root.

    Args:
        total: the number of leaves of the whole tree.
        hashes: 32 bytes each, wire order, in the order of the walk.
        flags: the bits of the walk, least significant first, padded with zeros to whole bytes.
    """

    total: int
    hashes: tuple[bytes, ...]
    flags: bytes

    @classmethod
    def parse(cls, r: Reader) -> PartialMerkleTree:
        return cls(
            r.u32(),
            r.many(MAX_TRANSACTIONS, Reader.hash32, at_least=32, what="proof hash count"),
            r.var_bytes(MAX_TRANSACTIONS, "proof flag count"),
        )

    def to_bytes(self) -> bytes:
        return u32(self.total) + compact_size(len(self.hashes)) + b"".join(self.hashes) + var_bytes(self.flags)

    def extract(self, max_transactions: int = MAX_TRANSACTIONS) -> tuple[bytes, tuple[tuple[int, bytes], ...]]:
        """The root that this proof leads to, and the matches as `(index, hash)` in ascending order.

        Raises:
            PeerMisbehaved: BAD_MERKLE_PROOF, unless each hash and each bit is used, twins do not occur, and the
                padding is zero.
        """
        if not 0 < self.total <= max_transactions:
            raise _bad(f"a tree of {self.total} leaves")
        walk = _Walk(self)
        root = walk.visit(_height_of(self.total), 0)
        walk.end()
        return root, tuple(walk.matches)

    @classmethod
    def build(cls, txids: Sequence[bytes], match: set[int]) -> PartialMerkleTree:
        """The proof for the leaves whose indexes are in `match`."""
        levels = [list(txids)]
        while len(levels[-1]) > 1:
            levels.append(_parents(list(levels[-1])))
        bits: list[bool] = []
        hashes: list[bytes] = []
        _record(levels, match, len(levels) - 1, 0, bits, hashes)
        return cls(len(txids), tuple(hashes), _packed(bits))


class _Walk:
    """One depth-first reading of a proof."""

    def __init__(self, tree: PartialMerkleTree) -> None:
        self.tree = tree
        self.bits_used = 0
        self.hashes_used = 0
        self.matches: list[tuple[int, bytes]] = []

    def visit(self, height: int, index: int) -> bytes:
        """The hash of the node `index` at `height` above the leaves."""
        below = self._bit()
        if height == 0 or not below:
            node = self._hash()
            if below:
                self.matches.append((index, node))
            return node
        left = self.visit(height - 1, 2 * index)
        if 2 * index + 1 >= _width(self.tree.total, height - 1):
            return dsha(left + left)
        right = self.visit(height - 1, 2 * index + 1)
        if left == right:
            raise _bad("two neighbours are equal")
        return dsha(left + right)

    def end(self) -> None:
        if self.hashes_used != len(self.tree.hashes):
            raise _bad(f"{len(self.tree.hashes) - self.hashes_used} hashes are not used")
        if (self.bits_used + 7) // 8 != len(self.tree.flags):
            raise _bad("flag bytes are not used")
        if int.from_bytes(self.tree.flags, "little") >> self.bits_used:
            raise _bad("the padding is not zero")

    def _bit(self) -> bool:
        at = self.bits_used
        if at >= 8 * len(self.tree.flags):
            raise _bad("the flags end too early")
        self.bits_used += 1
        return bool(self.tree.flags[at >> 3] >> (at & 7) & 1)

    def _hash(self) -> bytes:
        if self.hashes_used >= len(self.tree.hashes):
            raise _bad("the hashes end too early")
        self.hashes_used += 1
        return self.tree.hashes[self.hashes_used - 1]


def _record(
    levels: list[list[bytes]], match: set[int], height: int, index: int, bits: list[bool], hashes: list[bytes]
) -> None:
    below = any(index << height <= leaf < (index + 1) << height for leaf in match)
    bits.append(below)
    if height == 0 or not below:
        hashes.append(levels[height][index])
        return
    _record(levels, match, height - 1, 2 * index, bits, hashes)
    if 2 * index + 1 < len(levels[height - 1]):
        _record(levels, match, height - 1, 2 * index + 1, bits, hashes)


def _packed(bits: Sequence[bool]) -> bytes:
    number = sum(1 << i for i, bit in enumerate(bits) if bit)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def _width(total: int, height: int) -> int:
    return (total + (1 << height) - 1) >> height


def _height_of(total: int) -> int:
    return (total - 1).bit_length()


def _bad(detail: str) -> PeerMisbehaved:
    return PeerMisbehaved(Fault.BAD_MERKLE_PROOF, f"merkle proof: {detail}")
