"""Who could own an address: its network, its group in that, and whether the public internet reaches it at all.

One party easily owns a whole range of addresses, hardly ranges in many places. What spreads over groups (the buckets
of the address book, the choice of peers) is therefore dear to fill for one party. The groups are those of Core's
netgroup.cpp without an AS map: /16 of IPv4, /32 of IPv6, 4 bits of Tor, I2P and CJDNS, where addresses cost nothing.
IPv6 that carries an IPv4 address (6to4, Teredo, NAT64) belongs to the group of that, or one IPv4 host would count as
many. Unlike in Core, loopback and private addresses have groups by the same lengths, so that an internet simulated in
127.0.0.0/8 has groups too; whether such are kept at all is for the address book's `accepts`.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phasegate.p2p.addresses import Address


class Kind(IntEnum):
    """The network that a host belongs to, by its number in BIP155; Tor v2 (3) is obsolete and has no place here."""

    NAME = 0
    """A name for DNS: it has no bytes on the wire and is never told to others."""
    IPV4 = 1
    IPV6 = 2
    TORV3 = 4
    I2P = 5
    CJDNS = 6


def group(address: Address) -> bytes:
    """The network group: the kind, then the prefix of the host that one party may well own; of a name the name."""
    kind, raw = address.network
    match kind:
        case Kind.IPV4:
            return _of_ipv4(raw)
        case Kind.IPV6:
            return _of_ipv6(raw)
        case Kind.TORV3 | Kind.I2P:
            return bytes((kind, raw[0] & 0xF0))
        case Kind.CJDNS:  # its first byte is always the same
            return bytes((kind, raw[0], raw[1] & 0xF0))
        case _:
            return bytes((kind,)) + raw


def is_routable(address: Address) -> bool:
    """Whether anybody on the public internet could reach the address.

    Of IPv4 all but the special ranges; of IPv6 the global unicast range 2000::/3 without its special parts, and what
    carries a routable IPv4 address. Tor, I2P and CJDNS reach everybody who is on them. A DNS name is not an address:
    it is never gossiped, and what it resolves to is judged by itself, so the answer for it is False.
    """
    kind, raw = address.network
    if kind is Kind.IPV4:
        return not _in(_SPECIAL_IPV4, raw)
    if kind is Kind.IPV6:
        linked = _linked_ipv4(raw)
        return _is_global_ipv6(raw) if linked is None else not _in(_SPECIAL_IPV4, linked)
    return kind is not Kind.NAME


def _of_ipv4(raw: bytes) -> bytes:
    return bytes((Kind.IPV4,)) + raw[:2]


def _of_ipv6(raw: bytes) -> bytes:
    linked = _linked_ipv4(raw)
    if linked is not None:
        return _of_ipv4(linked)
    head = bytes((Kind.IPV6,)) + raw[:4]
    return head + bytes((raw[4] & 0xF0,)) if raw.startswith(_HURRICANE_ELECTRIC) else head


_HURRICANE_ELECTRIC = bytes.fromhex("20010470")
"""2001:470::/32 gives /48s to everybody for nothing: its groups are /36."""
_6TO4 = bytes.fromhex("2002")
_TEREDO = bytes.fromhex("20010000")
_NAT64 = (bytes.fromhex("0064ff9b") + bytes(8), bytes(8) + bytes.fromhex("ffff0000"))
"""64:ff9b::/96 of RFC 6052 and ::ffff:0:0:0/96 of RFC 6145: the IPv4 address stands at the end."""


def _linked_ipv4(raw: bytes) -> bytes | None:
    """The IPv4 address that an IPv6 address is a form of [RFC 3964, 4380, 6052, 6145]."""
    if raw.startswith(_6TO4):
        return raw[2:6]
    if raw.startswith(_TEREDO):  # the client's address, every bit turned over
        return bytes(byte ^ 0xFF for byte in raw[12:])
    return raw[12:] if raw.startswith(_NAT64) else None


Prefix = tuple[int, int]
"""Bits to shift away, and what must be left."""


def _prefixes(*texts: str) -> tuple[Prefix, ...]:
    networks = [ip_network(text) for text in texts]
    shifts = [net.max_prefixlen - net.prefixlen for net in networks]
    return tuple((shift, int(net.network_address) >> shift) for shift, net in zip(shifts, networks, strict=True))


def _in(prefixes: tuple[Prefix, ...], raw: bytes) -> bool:
    number = int.from_bytes(raw)
    return any(number >> shift == rest for shift, rest in prefixes)


def _is_global_ipv6(raw: bytes) -> bool:
    return _in(_GLOBAL_IPV6, raw) and not _in(_SPECIAL_IPV6, raw)


_SPECIAL_IPV4 = _prefixes(
    "0.0.0.0/8",  # this host [RFC 1122]
    "10.0.0.0/8",  # private [RFC 1918]
    "100.64.0.0/10",  # behind a carrier's NAT [RFC 6598]
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local [RFC 3927]
    "172.16.0.0/12",  # private [RFC 1918]
    "192.0.0.0/24",  # protocol assignments [RFC 6890]
    "192.0.2.0/24",  # documentation [RFC 5737]
    "192.168.0.0/16",  # private [RFC 1918]
    "198.18.0.0/15",  # benchmarks [RFC 2544]
    "198.51.100.0/24",  # documentation [RFC 5737]
    "203.0.113.0/24",  # documentation [RFC 5737]
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)
_GLOBAL_IPV6 = _prefixes("2000::/3")
_SPECIAL_IPV6 = _prefixes(
    "2001:2::/48",  # benchmarks [RFC 5180]
    "2001:10::/28",  # ORCHID [RFC 4843]
    "2001:20::/28",  # ORCHIDv2 [RFC 7343]
    "2001:db8::/32",  # documentation [RFC 3849]
    "3fff::/20",  # documentation [RFC 9637]
)
