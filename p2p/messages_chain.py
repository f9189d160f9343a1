"""Messages about the chain itself: headers, announcements, blocks and transactions; hashes in wire order."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Self

import attrs

from phasegate.consensus.codec import Reader, compact_size, i32, u32, u64
from phasegate.consensus.faults import Malformed
from phasegate.consensus.primitives import MAX_BLOCK_SIZE, Block, BlockHeader, Transaction
from phasegate.consensus.raw_blocks import RawBlock, raw_block
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.p2p.messages_base import PlainMessage, counted, encode_each, hashes, packed

MAX_LOCATOR = 101
MAX_HEADERS = 2000
MAX_INVENTORY = 50_000
MAX_TRANSACTION_SIZE = 1_000_000


@attrs.frozen
class LocatorRequest(PlainMessage):
    """Asks for what follows the first hash of `locator` that the peer has, up to `stop` (32 zero bytes: no end)."""

    command: ClassVar[str]
    max_payload: ClassVar[int] = 4 + 1 + 32 * MAX_LOCATOR + 32

    version: int
    locator: tuple[bytes, ...]
    stop: bytes = bytes(32)

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.i32(), hashes(r, MAX_LOCATOR, "locator count"), r.hash32())

    def to_bytes(self) -> bytes:
        return i32(self.version) + counted(self.locator) + self.stop


@attrs.frozen
class GetHeaders(LocatorRequest):
    """Asks for at most 2,000 headers."""

    command: ClassVar[str] = "getheaders"


@attrs.frozen
class GetHeaders2(LocatorRequest):
    """Asks for at most 8,000 compressed headers (2,000 below protocol 70235)."""

    command: ClassVar[str] = "getheaders2"


@attrs.frozen
class GetBlocks(LocatorRequest):
    """Asks for announcements of at most 500 blocks."""

    command: ClassVar[str] = "getblocks"


@attrs.frozen
class Headers(PlainMessage):
    """At most 2,000 headers, one piece of 80 bytes each; a full message means that there may be more."""

    command: ClassVar[str] = "headers"
    max_payload: ClassVar[int] = 3 + 81 * MAX_HEADERS

    raw: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        records = packed(r, HEADER_SIZE + 1, MAX_HEADERS, "header count")
        if any(records[HEADER_SIZE :: HEADER_SIZE + 1]):
            raise Malformed("a header claims transactions")
        step = HEADER_SIZE + 1
        return cls(b"".join([records[i : i + HEADER_SIZE] for i in range(0, len(records), step)]))

    def to_bytes(self) -> bytes:
        headers = [self.raw[i : i + HEADER_SIZE] + b"\0" for i in range(0, len(self.raw), HEADER_SIZE)]
        return counted(tuple(headers))

    @property
    def count(self) -> int:
        """The number of headers."""
        return len(self.raw) // HEADER_SIZE


class InvType(IntEnum):
    """What an announcement is about [Core protocol.h]; other numbers are to be ignored."""

    TX = 1
    BLOCK = 2
    FILTERED_BLOCK = 3
    SPORK = 6
    DSTX = 16
    GOVERNANCE_OBJECT = 17
    GOVERNANCE_VOTE = 18
    COMPACT_BLOCK = 20
    QUORUM_COMMITMENT = 21
    RECOVERED_SIGNATURE = 28
    CHAINLOCK = 29
    INSTANTSEND_LOCK = 31
    DSQ = 32
    PLATFORM_BAN = 33


@attrs.frozen
class InvItem:
    """Something announced or asked for: its type (an `InvType`, or a number unknown to us) and hash."""

    type: int
    hash: bytes

    @classmethod
    def parse(cls, r: Reader) -> InvItem:
        return cls(r.u32(), r.hash32())

    def to_bytes(self) -> bytes:
        return u32(self.type) + self.hash


@attrs.frozen
class Inventory(PlainMessage):
    """At most 50,000 items."""

    command: ClassVar[str]
    max_payload: ClassVar[int] = 3 + 36 * MAX_INVENTORY

    items: tuple[InvItem, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.many(MAX_INVENTORY, InvItem.parse, at_least=36, what="item count"))

    def to_bytes(self) -> bytes:
        return encode_each(self.items, InvItem.to_bytes)


@attrs.frozen
class Inv(Inventory):
    """Announces items."""

    command: ClassVar[str] = "inv"


@attrs.frozen
class GetData(Inventory):
    """Asks for announced items, or for blocks."""

    command: ClassVar[str] = "getdata"


@attrs.frozen
class NotFound(Inventory):
    """Items that were asked for and are not there; never sent for blocks."""

    command: ClassVar[str] = "notfound"


@attrs.frozen
class TxMessage(PlainMessage):
    """One transaction."""

    command: ClassVar[str] = "tx"
    max_payload: ClassVar[int] = MAX_TRANSACTION_SIZE

    tx: Transaction

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(Transaction.parse(r))

    def to_bytes(self) -> bytes:
        return self.tx.to_bytes()


@attrs.frozen
class BlockMessage(PlainMessage):
    """One block of at most 2,000,000 bytes, kept as it came."""

    command: ClassVar[str] = "block"
    max_payload: ClassVar[int] = MAX_BLOCK_SIZE

    body: RawBlock = attrs.field(converter=raw_block)

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(RawBlock.parse(r))

    def to_bytes(self) -> bytes:
        return self.body.raw

    @property
    def block(self) -> Block:
        """The block as objects, made at the first look."""
        return self.body.block


@attrs.frozen
class PrefilledTx:
    """A transaction sent with a compact block; `skipped` counts the short ids between it and the one before."""

    skipped: int
    tx: Transaction

    @classmethod
    def parse(cls, r: Reader) -> PrefilledTx:
        return cls(r.compact_size(0xFFFF, "skipped transactions"), Transaction.parse(r))

    def to_bytes(self) -> bytes:
        return compact_size(self.skipped) + self.tx.to_bytes()


@attrs.frozen
class CmpctBlock(PlainMessage):
    """A block by the short ids of its transactions [BIP152]: `short_ids` are n pieces of 6 bytes."""

    command: ClassVar[str] = "cmpctblock"
    max_payload: ClassVar[int] = MAX_BLOCK_SIZE

    header: BlockHeader
    nonce: int
    short_ids: bytes
    prefilled: tuple[PrefilledTx, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        header, nonce, short_ids = BlockHeader.parse(r), r.u64(), packed(r, 6, 0xFFFF, "short id count")
        return cls(header, nonce, short_ids, r.many(0xFFFF, PrefilledTx.parse, at_least=11, what="prefilled count"))

    def to_bytes(self) -> bytes:
        short_ids = compact_size(len(self.short_ids) // 6) + self.short_ids
        return self.header.to_bytes() + u64(self.nonce) + short_ids + encode_each(self.prefilled, PrefilledTx.to_bytes)
