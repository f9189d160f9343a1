"""Addresses as they travel: `addr`, `addrv2` [BIP155] and the entries of the masternode list.

What nobody can be reached at becomes None here, so that the rest of the program never meets it: port 0 (but I2P has no
ports), the unspecified address, networks that we do not know, and Tor v2, which is no more. An IPv6 field must hold
IPv6: BIP155 forbids IPv4 and Tor v2 in disguise there, and fc00::/8 is believed to be CJDNS only as network 6.
"""

from __future__ import annotations

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Malformed
from phasegate.consensus.netinfo import EXTENDED_VERSION, SERVICE_SIZE, take_netinfo
from phasegate.p2p.addresses import Address, Kind, is_name
from phasegate.p2p.messages_peer import ADDRESS_SIZES, AddressV1, AddressV2

_MAPPED = bytes(10) + b"\xff\xff"
_TOR_V2 = bytes.fromhex("fd87d87eeb43")
_INTERNAL = bytes.fromhex("fd6b88c08724")
"""fd87:d87e:eb43::/48 carried Tor v2 (OnionCat), fd6b:88c0:8724::/48 is Core's inside [Core netaddress.h]."""
_CJDNS_BYTE = b"\xfc"


def from_v1(told: AddressV1) -> Address | None:
    """The place an `addr` record tells of; None if there is none that we know."""
    return _from_ip16(told.address, told.port)


def from_v2(told: AddressV2) -> Address | None:
    """The place an `addrv2` record tells of; None if there is none that we know or BIP155 forbids the form."""
    return _from_network(told.network, told.address, told.port)


def to_v1(address: Address, time: int, services: int) -> AddressV1 | None:
    """The `addr` record of an IPv4 or IPv6 address seen at `time` (seconds since 1970); None for all others."""
    kind, raw = address.network
    if kind not in (Kind.IPV4, Kind.IPV6) or "%" in address.host:
        return None
    return AddressV1(time, services, _MAPPED + raw if kind is Kind.IPV4 else raw, address.port)


def to_v2(address: Address, time: int, services: int) -> AddressV2 | None:
    """The `addrv2` record of an address seen at `time` (seconds since 1970); None for names and zoned addresses."""
    kind, raw = address.network
    if kind is Kind.NAME or "%" in address.host:
        return None
    return AddressV2(time, services, kind, raw, address.port)


def from_service(raw: bytes) -> tuple[Address, ...]:
    """Where a masternode listens for peers, from the bytes that its entry of the list keeps.

    Args:
        raw: 18 bytes (IPv6 or IPv4-mapped, then the port, big-endian), or the extended form of ProTx version 3, of
            which only purpose 0 (core_p2p) counts.

    Returns:
        Each place once; none if the masternode has none, or if `raw` is not readable.

    An extended form may have 18 bytes too. It begins with 01, which no address of the plain form does: 0100::/8 is
    reserved.
    """
    if raw.startswith(b"\x01"):
        return tuple(dict.fromkeys(_extended(raw)))
    plain = _from_ip16(raw[:16], int.from_bytes(raw[16:])) if len(raw) == SERVICE_SIZE else None
    return () if plain is None else (plain,)


def _from_ip16(raw: bytes, port: int) -> Address | None:
    if raw.startswith(_MAPPED):
        return _from_network(Kind.IPV4, raw[12:], port)
    return _from_network(Kind.IPV6, raw, port)


def _from_network(network: int, raw: bytes, port: int) -> Address | None:
    known = network in _NETWORKS and len(raw) == ADDRESS_SIZES[network]
    if not known or not (port or network == Kind.I2P) or not _is_honest(Kind(network), raw):
        return None
    return Address.of(Kind(network), raw, port)


_NETWORKS = frozenset(kind for kind in Kind if kind is not Kind.NAME)


def _is_honest(kind: Kind, raw: bytes) -> bool:
    """Whether the bytes are what their network says they are, and not the address of nobody."""
    if kind is Kind.IPV6 and raw.startswith((_MAPPED, _TOR_V2, _INTERNAL)):
        return False
    return any(raw) and (kind is Kind.CJDNS) == (len(raw) == 16 and raw.startswith(_CJDNS_BYTE))


_CORE_P2P = 0
_SERVICE, _DOMAIN = 1, 2


def _extended(raw: bytes) -> list[Address]:
    """The places for peers of an extended form; none if it is not one from end to end."""
    try:
        check = Reader(raw, "extended address")
        take_netinfo(check, EXTENDED_VERSION)
        check.end()
    except Malformed:
        return []
    r = Reader(raw[1:])
    purposes = [(r.u8(), [_entry(r) for _ in range(r.compact_size(len(raw)))]) for _ in range(r.compact_size(len(raw)))]
    return [place for purpose, entries in purposes if purpose == _CORE_P2P for place in entries if place is not None]


def _entry(r: Reader) -> Address | None:
    match r.u8():
        case kind if kind == _SERVICE:
            return _from_network(r.u8(), r.var_bytes(r.left), r.u16be())
        case kind if kind == _DOMAIN:
            return _from_domain(r.var_bytes(r.left), r.u16be())
        case _:
            return None


_INDOORS = frozenset({"internal", "local", "localhost", "onion", "i2p"})
"""Names that must not reach DNS, or that lead to the machine or the house of whoever asks [RFC 6761, 6762, 7686]."""


def _from_domain(raw: bytes, port: int) -> Address | None:
    """A name that DNS can know: of two labels or more, the last of which is no number and means the public tree."""
    name = raw.decode("latin-1").lower()
    labels = name.split(".")
    fits = is_name(name) and len(labels) > 1 and labels[-1][:1].isalpha() and labels[-1] not in _INDOORS
    return Address(name, port) if port and fits else None
