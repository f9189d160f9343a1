"""Transactions and blocks as they stand on the wire [BIP: none; DIP2, DIP4; Core primitives/].

Dash transactions have a 16-bit version and a 16-bit type, no witness, may have no input at all (types 6, 7, 9), and
carry an extra payload when the type is not 0. The payload belongs to the txid. Hashes are 32 raw bytes in wire order.
"""

from __future__ import annotations

from functools import cached_property

import attrs

from phasegate.consensus.codec import Reader, compact_size, dsha, i32, i64, u16, u32, var_bytes
from phasegate.consensus.faults import Malformed
from phasegate.consensus.x11 import HEADER_SIZE, x11

MAX_BLOCK_SIZE = 2_000_000
MAX_EXTRA_PAYLOAD = 10_000
COINBASE, QUORUM_COMMITMENT = 5, 6
MAX_MONEY = 21_000_000 * 100_000_000
"""Duffs; no transaction pays more [Core consensus/amount.h]."""


@attrs.frozen
class BlockHeader:
    """One 80-byte block header; `prev` and `merkle_root` in wire order, `time` in seconds since 1970."""

    version: int
    prev: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int

    @classmethod
    def parse(cls, r: Reader) -> BlockHeader:
        return cls(r.i32(), r.hash32(), r.hash32(), r.u32(), r.u32(), r.u32())

    @classmethod
    def from_bytes(cls, raw: bytes) -> BlockHeader:
        """From exactly 80 bytes."""
        r = Reader(raw, "header")
        header = cls.parse(r)
        r.end()
        return header

    def to_bytes(self) -> bytes:
        return i32(self.version) + self.prev + self.merkle_root + u32(self.time) + u32(self.bits) + u32(self.nonce)

    @property
    def hash(self) -> bytes:
        """The block id: X11, wire order."""
        return x11(self.to_bytes())


@attrs.frozen
class OutPoint:
    """An output of a transaction: its txid (wire order) and index."""

    txid: bytes
    index: int

    @classmethod
    def parse(cls, r: Reader) -> OutPoint:
        return cls(r.hash32(), r.u32())

    def to_bytes(self) -> bytes:
        return self.txid + u32(self.index)

    @property
    def is_null(self) -> bool:
        """Whether this is the outpoint of a coinbase input."""
        return self.index == 0xFFFFFFFF and self.txid == bytes(32)


@attrs.frozen
class TxIn:
    """An input: what it spends, its scriptSig and its sequence number."""

    prevout: OutPoint
    script_sig: bytes
    sequence: int = 0xFFFFFFFF

    @classmethod
    def parse(cls, r: Reader) -> TxIn:
        return cls(OutPoint.parse(r), r.var_bytes(MAX_BLOCK_SIZE, "scriptSig"), r.u32())

    def to_bytes(self) -> bytes:
        return self.prevout.to_bytes() + var_bytes(self.script_sig) + u32(self.sequence)


@attrs.frozen
class TxOut:
    """An output: its value in duffs and its scriptPubKey."""

    value: int
    script: bytes

    @classmethod
    def parse(cls, r: Reader) -> TxOut:
        return cls(r.i64(), r.var_bytes(MAX_BLOCK_SIZE, "scriptPubKey"))

    def to_bytes(self) -> bytes:
        return i64(self.value) + var_bytes(self.script)


@attrs.frozen(slots=False)
class Transaction:
    """A transaction [DIP2]: `version` and `type` are 16 bits each, `payload` the extra payload of special types."""

    version: int
    type: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int = 0
    payload: bytes = b""

    @classmethod
    def parse(cls, r: Reader) -> Transaction:
        version, kind = r.u16(), r.u16()
        inputs = r.many(MAX_BLOCK_SIZE // 41, TxIn.parse, at_least=41, what="input count")
        outputs = r.many(MAX_BLOCK_SIZE // 9, TxOut.parse, at_least=9, what="output count")
        lock_time = r.u32()
        payload = r.var_bytes(MAX_EXTRA_PAYLOAD, "extra payload") if version >= 3 and kind else b""
        return cls(version, kind, inputs, outputs, lock_time, payload)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Transaction:
        """From its whole serialisation."""
        r = Reader(raw, "transaction")
        tx = cls.parse(r)
        r.end()
        return tx

    def to_bytes(self) -> bytes:
        parts = [u16(self.version), u16(self.type), compact_size(len(self.inputs))]
        parts += [i.to_bytes() for i in self.inputs]
        parts.append(compact_size(len(self.outputs)))
        parts += [o.to_bytes() for o in self.outputs]
        parts.append(u32(self.lock_time))
        if self.version >= 3 and self.type:
            parts.append(var_bytes(self.payload))
        return b"".join(parts)

    @cached_property
    def txid(self) -> bytes:
        """Double SHA-256 of the whole serialisation, wire order."""
        return dsha(self.to_bytes())

    @property
    def is_coinbase(self) -> bool:
        """Whether the only input is the null outpoint."""
        return len(self.inputs) == 1 and self.inputs[0].prevout.is_null


@attrs.frozen(slots=False)
class Block:
    """A header and its transactions."""

    header: BlockHeader
    transactions: tuple[Transaction, ...]

    @classmethod
    def parse(cls, r: Reader) -> Block:
        return cls(BlockHeader.parse(r), r.many(MAX_BLOCK_SIZE // 10, Transaction.parse, at_least=10, what="tx count"))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Block:
        """From its whole serialisation of at most 2,000,000 bytes (DIP1)."""
        if len(raw) > MAX_BLOCK_SIZE:
            raise Malformed(f"block of {len(raw)} bytes exceeds {MAX_BLOCK_SIZE}")
        r = Reader(raw, "block")
        block = cls.parse(r)
        r.end()
        return block

    def to_bytes(self) -> bytes:
        txs = b"".join([tx.to_bytes() for tx in self.transactions])
        return self.header.to_bytes() + compact_size(len(self.transactions)) + txs

    @cached_property
    def hash(self) -> bytes:
        """The block id: X11 of the header, wire order."""
        return x11(self.header.to_bytes())

    @property
    def merkle_root(self) -> bytes:
        """The root that the header states, wire order."""
        return self.header.merkle_root

    @property
    def txids(self) -> list[bytes]:
        """The ids of all transactions, wire order."""
        return [tx.txid for tx in self.transactions]

    @property
    def is_affordable(self) -> bool:
        """Whether all amounts can exist."""
        return all(map(is_affordable, self.transactions))


def is_affordable(tx: Transaction) -> bool:
    """Whether no output, nor their sum, is negative or more than all money [Core consensus/tx_check.cpp]."""
    return all(out.value >= 0 for out in tx.outputs) and sum(out.value for out in tx.outputs) <= MAX_MONEY


@attrs.frozen
class CoinbasePayload:
    """The cbTx payload [DIP4, Core evo/cbtx.h]: the roots that a light client checks lists against.

    `quorum_root` exists from version 2 on, the last three fields from version 3 (V20) on.
    """

    version: int
    height: int
    masternode_root: bytes
    quorum_root: bytes = b""
    best_cl_height_diff: int = 0
    best_cl_signature: bytes = b""
    credit_pool: int = 0

    @classmethod
    def from_bytes(cls, raw: bytes) -> CoinbasePayload:
        """From the extra payload of a type 5 transaction."""
        r = Reader(raw, "cbTx payload")
        version, height, masternodes = r.u16(), r.i32(), r.hash32()
        if not 1 <= version <= 3:
            raise Malformed(f"cbTx payload version {version} is unknown")
        quorums = r.hash32() if version >= 2 else b""
        rest = (r.compact_size(0xFFFFFFFF, "bestCLHeightDiff"), r.take(96), r.i64()) if version >= 3 else (0, b"", 0)
        r.end()
        return cls(version, height, masternodes, quorums, *rest)

    def to_bytes(self) -> bytes:
        raw = u16(self.version) + i32(self.height) + self.masternode_root
        if self.version >= 2:
            raw += self.quorum_root
        if self.version >= 3:
            raw += compact_size(self.best_cl_height_diff) + self.best_cl_signature + i64(self.credit_pool)
        return raw


def header_at(headers: bytes, index: int) -> bytes:
    """The `index`-th of concatenated 80-byte headers."""
    return headers[index * HEADER_SIZE : (index + 1) * HEADER_SIZE]
