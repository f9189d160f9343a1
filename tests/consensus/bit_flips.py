"""Real messages with their fields marked, and the judges that a changed copy of one has to pass.

A whole mainnet list takes too long to be judged for each of thousands of flips. A bit inside one entry or commitment
that still reads at its old length changes the leaf of a root and nothing else. A bit outside the masternode entries is
judged on a copy without them, which are then put back as they are. Everything else is judged as a whole, and samples
are judged both ways.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeEntry, MasternodeListDiff
from phasegate.consensus.merkle import PartialMerkleTree
from phasegate.consensus.primitives import Transaction
from phasegate.consensus.quorums import QuorumCommitment

FLIPS = 2000
Parse = Callable[[Reader], Any]


@attrs.frozen
class Field:
    """A stretch of bytes that belongs together; `parse` reads it where it is a leaf of a root on its own."""

    name: str
    start: int
    end: int
    parse: Parse | None = None


class Marker:
    """Reads a message while it notes where its fields are."""

    def __init__(self, raw: bytes, protocol: int) -> None:
        self.r, self.protocol = Reader(raw), protocol
        self.fields: list[Field] = []

    def mark(self, name: str, read: Parse, *, leaf: bool = False) -> Any:
        start = self.r.pos
        value = read(self.r)
        self.fields.append(Field(name, start, self.r.pos, read if leaf else None))
        return value

    def many(self, name: str, read: Parse, *, leaf: bool = False) -> None:
        for _ in range(self.mark(f"{name} count", lambda r: r.compact_size(1 << 16))):
            self.mark(name, read, leaf=leaf)

    def diff(self) -> None:
        """One masternode list difference."""
        first = self.protocol >= 70229
        if first:
            self.mark("version", Reader.u16)
        self.mark("base", Reader.hash32)
        self.mark("block", Reader.hash32)
        self.mark("proof total", Reader.u32)
        self.many("proof hash", Reader.hash32)
        self.mark("proof flags", lambda r: r.var_bytes(1 << 16))
        self.mark("coinbase", Transaction.parse)
        if not first:
            self.mark("version", Reader.u16)
        self.many("deleted", Reader.hash32)
        self.many("entry", lambda r: MasternodeEntry.parse(r, self.protocol), leaf=True)
        self.many("deleted quorum", lambda r: r.take(33))
        self.many("commitment", QuorumCommitment.parse, leaf=True)
        if self.protocol >= 70230:
            for _ in range(self.mark("signature count", lambda r: r.compact_size(1 << 16))):
                self.mark("ChainLock signature", lambda r: r.take(96))
                self.many("signed index", Reader.u16)


def flips(fields: Sequence[Field], seed: int) -> Iterator[tuple[Field, int]]:
    """2,000 bits to flip, each with its field: half anywhere, half in any kind of field, so that small ones are met."""
    rnd = random.Random(seed)
    kinds: dict[str, list[Field]] = {}
    for field in fields:
        if field.end > field.start:
            kinds.setdefault(field.name, []).append(field)
    sizes = [field.end - field.start for field in fields]
    for field in rnd.choices(fields, sizes, k=FLIPS // 2):
        yield field, rnd.randrange(8 * field.start, 8 * field.end)
    for _ in range(FLIPS // 2):
        field = rnd.choice(kinds[rnd.choice(list(kinds))])
        yield field, rnd.randrange(8 * field.start, 8 * field.end)


def flipped(raw: bytes, bit: int) -> bytes:
    """A copy with one bit changed."""
    changed = bytearray(raw)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def changes_a_leaf(raw: bytes, field: Field, bit: int) -> bool:
    """Whether a flip does nothing but change one leaf of a root, which is therefore missed."""
    if field.parse is None:
        return False
    r = Reader(flipped(raw[field.start : field.end], bit - 8 * field.start))
    try:
        changed = field.parse(r)
    except PeerMisbehaved:
        return False
    return r.left == 0 and _leaf(changed) != _leaf(field.parse(Reader(raw[field.start : field.end])))


def _leaf(item: MasternodeEntry | QuorumCommitment) -> bytes:
    return item.leaf_hash() if isinstance(item, MasternodeEntry) else item.hash


@attrs.frozen
class Asked:
    """What is known of a difference before it arrives: both ends, and the merkle root of the header of the last."""

    base: bytes
    block: bytes
    root: bytes

    @classmethod
    def of(cls, diff: MasternodeListDiff) -> Asked:
        """As if the true one had been asked for."""
        return cls(diff.base_hash, diff.block_hash, diff.proof.extract()[0])

    def check(self, diff: MasternodeListDiff) -> None:
        """Refuse what was not asked for or has another root."""
        if (diff.base_hash, diff.block_hash) != (self.base, self.block):
            raise PeerMisbehaved(Fault.UNFITTING_REPLY, "another list")
        if PartialMerkleTree.extract(diff.proof)[0] != self.root:
            raise PeerMisbehaved(Fault.BAD_MERKLE_PROOF, "another root")


@attrs.frozen
class Lean:
    """A message without the masternode entries of its differences."""

    raw: bytes
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, raw: bytes, fields: Sequence[Field]) -> Lean:
        """Cut out each count of entries with what follows it; a count of zero stays."""
        spans: list[tuple[int, int]] = []
        for field in fields:
            if field.name == "entry count":
                spans.append((field.start, field.end))
            elif field.name == "entry":
                spans[-1] = (spans[-1][0], field.end)
        pieces, at = [], 0
        for start, end in spans:
            pieces += [raw[at:start], b"\0"]
            at = end
        return cls(b"".join([*pieces, raw[at:]]), tuple(spans))

    def flipped(self, bit: int) -> bytes | None:
        """A copy with the same bit changed, None if that was cut out."""
        shift = 0
        for start, end in self.spans:
            if start <= bit >> 3 < end:
                return None
            shift += end - start - 1 if bit >> 3 >= end else 0
        return flipped(self.raw, bit - 8 * shift)
