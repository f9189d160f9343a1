"""Messages about the connection itself: greetings, keep-alive, addresses and what masternodes say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from typing import Any, ClassVar, Self

import attrs

from phasegate.consensus.codec import Reader, compact_size, i32, i64, u16be, u32, u64, var_bytes
from phasegate.consensus.faults import Malformed
from phasegate.p2p.messages_base import Empty, Numbered, PlainMessage, encode_each, flag

MAX_USER_AGENT = 256
MAX_ADDRESSES = 1000
NO_ADDRESS = bytes(10) + b"\xff\xff" + bytes((127, 0, 0, 1)) + bytes(2)
"""The 18-byte address of nobody in particular: ::ffff:127.0.0.1 and port 0."""


class Services(IntFlag):
    """What a node offers [Core protocol.h ServiceFlags]."""

    NETWORK = 1
    BLOOM = 4
    COMPACT_FILTERS = 64
    NETWORK_LIMITED = 1024
    HEADERS_COMPRESSED = 2048
    P2P_V2 = 4096


@attrs.frozen
class Version(PlainMessage):
    """The greeting. Addresses are 18 raw bytes (IPv6 and a big-endian port), `time` seconds since 1970.

    The fields from `my_services` on may be missing, from the end backwards: `tail` tells how many of the six groups
    (my services, address and nonce; user agent; start height; relay; mnauth challenge; masternode) are on the wire.
    `user_agent` holds one character a byte (Latin-1), as the peer sent it.
    """

    command: ClassVar[str] = "version"
    max_payload: ClassVar[int] = 400

    version: int
    services: int
    time: int
    peer_services: int = 0
    peer_address: bytes = NO_ADDRESS
    my_services: int = 0
    my_address: bytes = NO_ADDRESS
    nonce: int = 0
    user_agent: str = ""
    start_height: int = 0
    relay: bool = True
    mnauth_challenge: bytes = bytes(32)
    masternode: bool = False
    tail: int = 6

    @classmethod
    def read(cls, r: Reader) -> Self:
        head = r.i32(), r.u64(), r.i64(), r.u64(), r.take(18)
        found: dict[str, Any] = {"tail": 0}
        for tail, group in enumerate(_TAIL, 1):
            if r.left:
                found |= group(r) | {"tail": tail}
        return cls(*head, **found)

    def to_bytes(self) -> bytes:
        groups = (
            u64(self.my_services) + self.my_address + u64(self.nonce),
            var_bytes(self.user_agent.encode("latin-1")),
            i32(self.start_height),
            bytes((self.relay,)),
            self.mnauth_challenge,
            bytes((self.masternode,)),
        )
        head = i32(self.version) + u64(self.services) + i64(self.time) + u64(self.peer_services) + self.peer_address
        return head + b"".join(groups[: self.tail])


def _user_agent(r: Reader) -> str:
    return r.var_bytes(MAX_USER_AGENT, "user agent").decode("latin-1")


_TAIL: tuple[Callable[[Reader], dict[str, Any]], ...] = (
    lambda r: {"my_services": r.u64(), "my_address": r.take(18), "nonce": r.u64()},
    lambda r: {"user_agent": _user_agent(r)},
    lambda r: {"start_height": r.i32()},
    lambda r: {"relay": flag(r)},
    lambda r: {"mnauth_challenge": r.hash32()},
    lambda r: {"masternode": flag(r)},
)


@attrs.frozen
class Verack(Empty):
    """The version was received."""

    command: ClassVar[str] = "verack"


@attrs.frozen
class SendAddrV2(Empty):
    """Wishes addresses in the addrv2 form [BIP155]; only between version and verack."""

    command: ClassVar[str] = "sendaddrv2"


@attrs.frozen
class SendHeaders(Empty):
    """Wishes new blocks announced by headers."""

    command: ClassVar[str] = "sendheaders"


@attrs.frozen
class SendHeaders2(Empty):
    """Wishes new blocks announced by compressed headers [DIP25]."""

    command: ClassVar[str] = "sendheaders2"


@attrs.frozen
class GetAddr(Empty):
    """Asks for addresses; answered once, to inbound peers."""

    command: ClassVar[str] = "getaddr"


@attrs.frozen
class Mempool(Empty):
    """Asks for announcements of everything in the memory pool, and of the best ChainLock."""

    command: ClassVar[str] = "mempool"


@attrs.frozen
class GetSporks(Empty):
    """Asks for the network's sporks."""

    command: ClassVar[str] = "getsporks"


@attrs.frozen
class Ping(Numbered):
    """Asks for a pong with the same nonce."""

    command: ClassVar[str] = "ping"


@attrs.frozen
class Pong(Numbered):
    """Answers a ping, by its nonce."""

    command: ClassVar[str] = "pong"


@attrs.frozen
class SendCmpct(PlainMessage):
    """How compact blocks [BIP152] are wished: announced by themselves or not, and in which version."""

    command: ClassVar[str] = "sendcmpct"
    max_payload: ClassVar[int] = 9

    announce: bool
    block_version: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(flag(r), r.u64())

    def to_bytes(self) -> bytes:
        return bytes((self.announce,)) + u64(self.block_version)


@attrs.frozen
class SendDsq(PlainMessage):
    """Whether CoinJoin queues are wished."""

    command: ClassVar[str] = "senddsq"
    max_payload: ClassVar[int] = 1

    wanted: bool

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(flag(r))

    def to_bytes(self) -> bytes:
        return bytes((self.wanted,))


@attrs.frozen
class AddressV1:
    """A node seen at `time` (seconds since 1970): an IPv6 or IPv4-mapped address of 16 bytes, and its port."""

    time: int
    services: int
    address: bytes
    port: int

    @classmethod
    def parse(cls, r: Reader) -> AddressV1:
        return cls(r.u32(), r.u64(), r.take(16), r.u16be())

    def to_bytes(self) -> bytes:
        return u32(self.time) + u64(self.services) + self.address + u16be(self.port)


ADDRESS_SIZES = {1: 4, 2: 16, 3: 10, 4: 32, 5: 32, 6: 16}
"""Bytes of an address of each network BIP155 names: IPv4, IPv6, Tor v2, Tor v3, I2P, CJDNS."""


@attrs.frozen
class AddressV2:
    """A node seen at `time`, in the form of BIP155: `network` is its number there, unknown ones are kept raw."""

    time: int
    services: int
    network: int
    address: bytes
    port: int

    @classmethod
    def parse(cls, r: Reader) -> AddressV2:
        time, services, network = r.u32(), r.compact_size((1 << 64) - 1, "services"), r.u8()
        address = r.var_bytes(512, "address length")
        if len(address) != ADDRESS_SIZES.get(network, len(address)):
            raise Malformed(f"address of network {network} has {len(address)} bytes")
        return cls(time, services, network, address, r.u16be())

    def to_bytes(self) -> bytes:
        head = u32(self.time) + compact_size(self.services) + bytes((self.network,))
        return head + var_bytes(self.address) + u16be(self.port)


@attrs.frozen
class Addr(PlainMessage):
    """At most 1,000 addresses of nodes."""

    command: ClassVar[str] = "addr"
    max_payload: ClassVar[int] = 3 + 30 * MAX_ADDRESSES

    addresses: tuple[AddressV1, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.many(MAX_ADDRESSES, AddressV1.parse, at_least=30, what="address count"))

    def to_bytes(self) -> bytes:
        return encode_each(self.addresses, AddressV1.to_bytes)


@attrs.frozen
class AddrV2(PlainMessage):
    """At most 1,000 addresses of nodes on any network [BIP155]."""

    command: ClassVar[str] = "addrv2"
    max_payload: ClassVar[int] = 3 + 531 * MAX_ADDRESSES

    addresses: tuple[AddressV2, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.many(MAX_ADDRESSES, AddressV2.parse, at_least=9, what="address count"))

    def to_bytes(self) -> bytes:
        return encode_each(self.addresses, AddressV2.to_bytes)
