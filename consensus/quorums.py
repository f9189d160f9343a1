"""LLMQ final commitments and rotation snapshots as they stand on the wire [DIP6, DIP24; Core llmq/commitment.h].

A commitment announces a quorum: who is in it, its public key and the signatures that prove it. The key of a quorum is
`(type, quorum hash)`, since several types may share one quorum hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import attrs

from phasegate.consensus.codec import Reader, compact_size, dsha, i16, i32, u16
from phasegate.consensus.faults import Malformed
from phasegate.consensus.merkle import merkle_root

MAX_QUORUM_SIZE = 400
MAX_MASTERNODES = 65_535
LEGACY, LEGACY_INDEXED, BASIC, BASIC_INDEXED = 1, 2, 3, 4
_NULL_POINTS = (b"\0", b"\xc0")


@attrs.frozen
class BitSet:
    """A bit per member, least significant first: `size` bits in `raw`, whose padding is zero."""

    size: int
    raw: bytes

    @classmethod
    def parse(cls, r: Reader, limit: int) -> BitSet:
        """A CompactSize number of bits of at most `limit`, then the bytes."""
        size = r.compact_size(limit, "bit count")
        raw = r.take((size + 7) // 8)
        if int.from_bytes(raw, "little") >> size:
            raise Malformed(f"a bit set of {size} bits has padding that is not zero")
        return cls(size, raw)

    @classmethod
    def of(cls, bits: Iterable[bool]) -> BitSet:
        """From one truth value a member."""
        flags = list(bits)
        number = sum(1 << i for i, bit in enumerate(flags) if bit)
        return cls(len(flags), number.to_bytes((len(flags) + 7) // 8, "little"))

    def to_bytes(self) -> bytes:
        return compact_size(self.size) + self.raw

    def __getitem__(self, index: int) -> bool:
        if not 0 <= index < self.size:
            raise IndexError(f"bit {index} of {self.size}")
        return bool(self.raw[index >> 3] >> (index & 7) & 1)

    @property
    def count(self) -> int:
        """The number of bits set."""
        return int.from_bytes(self.raw, "little").bit_count()


@attrs.frozen(slots=False)
class QuorumCommitment:
    """One final commitment.

    `index` is the place in its rotation cycle and exists only in versions 2 and 4; `public_key` has 48 bytes, the two
    signatures 96 each, the hashes 32 in wire order.
    """

    version: int
    type: int
    quorum_hash: bytes
    signers: BitSet
    valid_members: BitSet
    public_key: bytes
    vvec_hash: bytes
    quorum_signature: bytes
    members_signature: bytes
    index: int | None = None

    @classmethod
    def parse(cls, r: Reader) -> QuorumCommitment:
        version, kind, quorum_hash = r.u16(), r.u8(), r.hash32()
        if not LEGACY <= version <= BASIC_INDEXED:
            raise Malformed(f"quorum commitment version {version} is unknown")
        index = r.i16() if version in (LEGACY_INDEXED, BASIC_INDEXED) else None
        members = BitSet.parse(r, MAX_QUORUM_SIZE), BitSet.parse(r, MAX_QUORUM_SIZE)
        return cls(version, kind, quorum_hash, *members, r.take(48), r.hash32(), r.take(96), r.take(96), index)

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                u16(self.version),
                bytes((self.type,)),
                self.quorum_hash,
                b"" if self.index is None else i16(self.index),
                self.signers.to_bytes(),
                self.valid_members.to_bytes(),
                self.public_key,
                self.vvec_hash,
                self.quorum_signature,
                self.members_signature,
            )
        )

    @cached_property
    def hash(self) -> bytes:
        """Double SHA-256 of the serialisation: the leaf of the quorum root."""
        return dsha(self.to_bytes())

    @property
    def key(self) -> tuple[int, bytes]:
        """`(type, quorum hash)`, which names a quorum."""
        return self.type, self.quorum_hash

    @property
    def is_legacy(self) -> bool:
        """Whether it was signed as before V19, in a scheme that is not IETF BLS."""
        return self.version in (LEGACY, LEGACY_INDEXED)

    @property
    def is_null(self) -> bool:
        """Whether this only says that no quorum was made: such a one is mined, but never counts."""
        points = (self.public_key, self.quorum_signature, self.members_signature)
        return (
            not self.signers.count
            and not self.valid_members.count
            and not any(self.vvec_hash)
            and all(point[:1] in _NULL_POINTS and not any(point[1:]) for point in points)
        )


def quorum_root(commitments: Iterable[QuorumCommitment]) -> bytes:
    """The root that a cbTx states over all active `commitments` of every type: hashes sorted by raw bytes."""
    return merkle_root(sorted([commitment.hash for commitment in commitments]))[0]


@attrs.frozen
class QuorumSnapshot:
    """What rotation remembers of one cycle [DIP24]: which members were used, and which to skip.

    `active_members` has one bit per masternode of the list at the work block; `skip_list` may hold negative steps.
    """

    skip_mode: int
    active_members: BitSet
    skip_list: tuple[int, ...]

    @classmethod
    def parse(cls, r: Reader) -> QuorumSnapshot:
        mode, members = r.i32(), BitSet.parse(r, MAX_MASTERNODES)
        return cls(mode, members, r.many(MAX_MASTERNODES, Reader.i32, at_least=4, what="skip count"))

    def to_bytes(self) -> bytes:
        skips = b"".join([i32(skip) for skip in self.skip_list])
        return i32(self.skip_mode) + self.active_members.to_bytes() + compact_size(len(self.skip_list)) + skips
