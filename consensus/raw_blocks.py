"""A block as it came: its bytes, and where its transactions begin.

A downloaded block is checked whole but only the few transactions that concern the client are ever looked into; so a
block is kept as bytes, a fifth of what it takes as objects, and its parts are made when they are wanted. What is
accepted is exactly what `Block` accepts. The compiled walk is used once it was loaded, which takes a second and is
therefore done in a worker thread by the phase that is going to need it; until then, and for whatever the walk refuses,
blocks are read in plain Python, so that there is one place that says what is wrong with one.
"""

from __future__ import annotations

import struct
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import Any

import attrs
import numpy as np

from phasegate.consensus.codec import Reader, dsha
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.primitives import (
    MAX_BLOCK_SIZE,
    Block,
    BlockHeader,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    is_affordable,
)
from phasegate.consensus.x11 import HEADER_SIZE, x11

_loaded: list[ModuleType] = []


def load_kernel() -> Any:
    """The compiled walk, which is used from now on, as is the compiled merkle root."""
    if not _loaded:
        from phasegate.consensus import block_kernel, merkle_kernel

        block_kernel.walk(np.frombuffer(bytes(HEADER_SIZE + 1), np.uint8))
        merkle_kernel.root_of(b"\0", np.array([0, 1], np.int32))
        _loaded.extend((block_kernel, merkle_kernel))
    return _loaded[0]


@attrs.frozen
class Layout:
    """Where in a block each transaction begins, and where the last one ends; whether all its amounts can exist."""

    starts: Any = attrs.field(eq=lambda starts: tuple(map(int, starts)))
    is_affordable: bool


@attrs.frozen(slots=False)
class RawBlock:
    """A well-formed block, by its bytes.

    Args:
        raw: the header, the number of transactions and the transactions; whoever makes one of other bytes than `parse`
            accepts gets Malformed when they are looked into.
    """

    raw: bytes

    @classmethod
    def parse(cls, r: Reader) -> RawBlock:
        """The block that the rest of `r` is; if something is left behind it, that is left in `r`.

        Raises:
            Malformed: as from `Block.parse`.
        """
        start = r.pos
        if _loaded:
            block = cls(r.take(r.left))
            if (layout := compiled_layout(block.raw)) is not None:
                block.__dict__["layout"] = layout
                return block
            r.pos = start
        Block.parse(r)
        return cls(r.since(start))

    @classmethod
    def read(cls, raw: bytes, layout: Layout, computed_root: tuple[bytes, bool]) -> RawBlock:
        """One whose layout and root are computed already."""
        block = cls(raw)
        block.__dict__.update(layout=layout, computed_root=computed_root)
        return block

    @cached_property
    def layout(self) -> Layout:
        """Where its parts are."""
        return (compiled_layout(self.raw) if _loaded else None) or plain_layout(self.raw)

    def __len__(self) -> int:
        """The number of transactions."""
        return len(self.layout.starts) - 1

    @cached_property
    def hash(self) -> bytes:
        """The block id: X11 of the header, wire order."""
        return x11(self.raw[:HEADER_SIZE])

    def named(self, name: bytes) -> None:
        """Take the word of a caller who knows that `hash` is `name`."""
        self.__dict__["hash"] = name

    @property
    def header(self) -> BlockHeader:
        """Its header."""
        return BlockHeader.from_bytes(self.raw[:HEADER_SIZE])

    @property
    def merkle_root(self) -> bytes:
        """The root that the header states, wire order."""
        return self.raw[36:68]

    @property
    def txids(self) -> list[bytes]:
        """The ids of all transactions, wire order."""
        raw = self.raw
        return [dsha(raw[start:end]) for start, end in pairwise(self.layout.starts.tolist())]

    @cached_property
    def computed_root(self) -> tuple[bytes, bool]:
        """The root over all transactions, wire order, and whether equal neighbours betray a doubled list."""
        if _loaded:
            root: tuple[bytes, bool] = _loaded[1].root_of(self.raw, self.layout.starts)
            return root
        return merkle_root(self.txids)

    @property
    def is_affordable(self) -> bool:
        """Whether all amounts can exist."""
        return self.layout.is_affordable

    def transaction(self, position: int) -> Transaction:
        """The transaction at `position`."""
        start, end = self.layout.starts[position : position + 2].tolist()
        tx = _transaction(self.raw, start)
        tx.__dict__["txid"] = dsha(self.raw[start:end])  # what parses encodes to the same bytes
        return tx

    @cached_property
    def block(self) -> Block:
        """All of it as objects."""
        return Block.from_bytes(self.raw)

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """All transactions as objects."""
        return self.block.transactions

    def to_bytes(self) -> bytes:
        """The bytes that it is."""
        return self.raw


def _transaction(raw: bytes, at: int) -> Transaction:
    """What `Transaction.parse` reads at `at`, where there is a well-formed one: nothing need be checked any more."""
    version, kind = _TWO_SHORTS.unpack_from(raw, at)
    inputs, outputs, payload = list[TxIn](), list[TxOut](), b""
    count, at = _size(raw, at + 4)
    for _ in range(count):
        spent = OutPoint(raw[at : at + 32], _LONG.unpack_from(raw, at + 32)[0])
        size, at = _size(raw, at + 36)
        inputs.append(TxIn(spent, raw[at : at + size], _LONG.unpack_from(raw, at + size)[0]))
        at += size + 4
    count, at = _size(raw, at)
    for _ in range(count):
        value = _AMOUNT.unpack_from(raw, at)[0]
        size, at = _size(raw, at + 8)
        outputs.append(TxOut(value, raw[at : at + size]))
        at += size
    if version >= 3 and kind:
        size, start = _size(raw, at + 4)
        payload = raw[start : start + size]
    return Transaction(version, kind, tuple(inputs), tuple(outputs), _LONG.unpack_from(raw, at)[0], payload)


def _size(raw: bytes, at: int) -> tuple[int, int]:
    """The CompactSize at `at`, and where it ends."""
    size = raw[at]
    if size < 0xFD:
        return size, at + 1
    end = at + (3 if size == 0xFD else 5)
    return int.from_bytes(raw[at + 1 : end], "little"), end


_TWO_SHORTS, _LONG, _AMOUNT = struct.Struct("<HH"), struct.Struct("<I"), struct.Struct("<q")


def raw_block(block: Block | RawBlock) -> RawBlock:
    """`block` as bytes."""
    return block if isinstance(block, RawBlock) else RawBlock(block.to_bytes())


def compiled_layout(raw: bytes) -> Layout | None:
    """What the compiled walk says of a block; None if it is malformed."""
    starts, affordable = load_kernel().walk(np.frombuffer(raw, np.uint8))
    return Layout(starts, affordable) if len(starts) else None


def plain_layout(raw: bytes) -> Layout:
    """The same in plain Python.

    Raises:
        Malformed: it is no block.
    """
    r, starts = Reader(raw, "block"), list[int]()

    def read_one(reader: Reader) -> Transaction:
        starts.append(reader.pos)
        return Transaction.parse(reader)

    r.take(HEADER_SIZE)
    transactions = r.many(MAX_BLOCK_SIZE // 10, read_one, at_least=10, what="tx count")
    r.end()
    return Layout(np.array([*starts, r.pos], np.int32), all(map(is_affordable, transactions)))
