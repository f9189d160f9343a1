"""Messages about compact block filters [BIP157]; hashes and filter headers are 32 bytes in wire order."""

from __future__ import annotations

from typing import ClassVar, Self

import attrs

from phasegate.consensus.codec import Reader, compact_size, u32, var_bytes
from phasegate.p2p.messages_base import PlainMessage, packed

BASIC = 0
"""The only filter type in use."""

MAX_FILTERS_ASKED = 1000
MAX_FILTER_HEADERS_ASKED = 2000
MAX_FILTER_SIZE = 1_000_000
"""Bytes; a full block of 2,000,000 has far fewer than the 400,000 scripts this would take."""

MAX_CHECKPOINTS = 20_000
"""One each 1,000 blocks."""


@attrs.frozen
class FilterRange(PlainMessage):
    """Asks for something about each block from a height to the block `stop_hash`, both included."""

    command: ClassVar[str]
    max_payload: ClassVar[int] = 37

    filter_type: int
    start_height: int
    stop_hash: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.u8(), r.u32(), r.hash32())

    def to_bytes(self) -> bytes:
        return bytes((self.filter_type,)) + u32(self.start_height) + self.stop_hash


@attrs.frozen
class GetCFilters(FilterRange):
    """Asks for at most 1,000 filters: one cfilter message each, ascending."""

    command: ClassVar[str] = "getcfilters"


@attrs.frozen
class GetCFHeaders(FilterRange):
    """Asks for at most 2,000 filter hashes, in one cfheaders message."""

    command: ClassVar[str] = "getcfheaders"


@attrs.frozen
class CFilter(PlainMessage):
    """The filter of one block, with the count in front that belongs to it."""

    command: ClassVar[str] = "cfilter"
    max_payload: ClassVar[int] = 33 + 5 + MAX_FILTER_SIZE

    filter_type: int
    block_hash: bytes
    filter: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.u8(), r.hash32(), r.var_bytes(MAX_FILTER_SIZE, "filter length"))

    def to_bytes(self) -> bytes:
        return bytes((self.filter_type,)) + self.block_hash + var_bytes(self.filter)


@attrs.frozen
class CFHeaders(PlainMessage):
    """The filter header before the range and the filter hashes of its n blocks (`hashes`: 32n bytes), ascending."""

    command: ClassVar[str] = "cfheaders"
    max_payload: ClassVar[int] = 65 + 3 + 32 * MAX_FILTER_HEADERS_ASKED

    filter_type: int
    stop_hash: bytes
    prev_header: bytes
    hashes: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.u8(), r.hash32(), r.hash32(), packed(r, 32, MAX_FILTER_HEADERS_ASKED, "filter hash count"))

    def to_bytes(self) -> bytes:
        head = bytes((self.filter_type,)) + self.stop_hash + self.prev_header
        return head + compact_size(len(self.hashes) // 32) + self.hashes


@attrs.frozen
class GetCFCheckpt(PlainMessage):
    """Asks for the filter headers at heights 1000, 2000, .. up to the block `stop_hash`."""

    command: ClassVar[str] = "getcfcheckpt"
    max_payload: ClassVar[int] = 33

    filter_type: int
    stop_hash: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.u8(), r.hash32())

    def to_bytes(self) -> bytes:
        return bytes((self.filter_type,)) + self.stop_hash


@attrs.frozen
class CFCheckpt(PlainMessage):
    """The n filter headers at heights 1000, 2000, .. (`headers`: 32n bytes) below the block `stop_hash`."""

    command: ClassVar[str] = "cfcheckpt"
    max_payload: ClassVar[int] = 33 + 3 + 32 * MAX_CHECKPOINTS

    filter_type: int
    stop_hash: bytes
    headers: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.u8(), r.hash32(), packed(r, 32, MAX_CHECKPOINTS, "filter header count"))

    def to_bytes(self) -> bytes:
        return bytes((self.filter_type,)) + self.stop_hash + compact_size(len(self.headers) // 32) + self.headers
