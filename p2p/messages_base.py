"""What every P2P message is: frozen data with a wire name, a strict parser and a canonical encoder.

Parsing and encoding are exact inverses: whatever `parse` accepts is the one serialisation of its value. That is why
booleans are 0 or 1, CompactSizes shortest, and no byte may be left. The form of some messages depends on the protocol
version that both sides negotiated, so both directions are told it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self, TypeVar

import attrs

from phasegate.consensus.codec import Reader, compact_size, u64
from phasegate.consensus.faults import Malformed

T = TypeVar("T")

MAX_PAYLOAD = 3 * 1024 * 1024
"""Bytes; a longer payload disconnects its sender [Core net.h MAX_PROTOCOL_MESSAGE_LENGTH]."""


class Message(ABC):
    """Any P2P message, known or not."""

    __slots__ = ()

    @property
    @abstractmethod
    def command(self) -> str:
        """The name on the wire, at most 12 ASCII characters."""

    @abstractmethod
    def to_payload(self, version: int) -> bytes:
        """The payload as peers of protocol `version` read it."""


class KnownMessage(Message):
    """A message this client can read; `max_payload` is the most bytes an honest peer can need for it."""

    __slots__ = ()

    command: ClassVar[str]
    max_payload: ClassVar[int]

    @classmethod
    @abstractmethod
    def parse(cls, r: Reader, version: int) -> Self:
        """From the reader, in the form of protocol `version`; the caller asserts the end.

        Raises:
            PeerMisbehaved: the bytes are no such message.
        """


class PlainMessage(KnownMessage):
    """A message of the same form in every protocol version."""

    __slots__ = ()

    @classmethod
    def parse(cls, r: Reader, version: int) -> Self:
        del version
        return cls.read(r)

    def to_payload(self, version: int) -> bytes:
        del version
        return self.to_bytes()

    @classmethod
    @abstractmethod
    def read(cls, r: Reader) -> Self:
        """What `parse` does, in any version."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """What `to_payload` does, in any version."""


@attrs.frozen
class Unknown(Message):
    """A message of a kind this client does not read: kept as it came, to be ignored."""

    command: str
    payload: bytes

    def to_payload(self, version: int) -> bytes:
        del version
        return self.payload


@attrs.frozen
class Empty(PlainMessage):
    """A message without a payload."""

    command: ClassVar[str]
    max_payload: ClassVar[int] = 0

    @classmethod
    def read(cls, _: Reader) -> Self:
        return cls()

    def to_bytes(self) -> bytes:
        return b""


@attrs.frozen
class Numbered(PlainMessage):
    """A message that carries only a 64-bit nonce."""

    command: ClassVar[str]
    max_payload: ClassVar[int] = 8

    nonce: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.u64())

    def to_bytes(self) -> bytes:
        return u64(self.nonce)


def flag(r: Reader) -> bool:
    """One byte that is 0 or 1."""
    value = r.u8()
    if value > 1:
        raise Malformed(f"flag at {r.pos - 1} is {value}")
    return value == 1


def hashes(r: Reader, limit: int, what: str) -> tuple[bytes, ...]:
    """A counted list of at most `limit` 32-byte hashes."""
    return r.many(limit, Reader.hash32, at_least=32, what=what)


def packed(r: Reader, size: int, limit: int, what: str) -> bytes:
    """A counted list of at most `limit` items of `size` bytes, left in one piece."""
    return r.take(size * r.compact_size(limit, what))


def counted(items: tuple[bytes, ...]) -> bytes:
    """A count and the items behind it."""
    return compact_size(len(items)) + b"".join(items)


def encode_each(items: tuple[T, ...], encode: Callable[[T], bytes]) -> bytes:
    """A count and each item as `encode` writes it."""
    return counted(tuple([encode(item) for item in items]))
