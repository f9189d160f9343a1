"""Where a node listens: one form for people, for the wire and for the address book.

A host is text in one canonical spelling: dotted IPv4; compressed lower-case IPv6 without brackets; a Tor v3 or I2P
name; or a name that DNS knows. Its network follows from the text alone, so that nothing else need be stored. That has
one price: fc00::/8 is CJDNS to some and a private IPv6 network to others. Here such a text is always CJDNS, and the
wire's forms let it in only where the sender said so [BIP155 network 6].

What a person writes stays as written; `canonical` is the same place as the wire would spell it.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from hashlib import sha3_256
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import attrs

from phasegate.p2p.address_groups import Kind, group, is_routable

__all__ = ["Address", "BadAddress", "Kind", "group", "is_name", "is_routable"]


class BadAddress(ValueError):
    """A text that is no `HOST:PORT`."""


@attrs.frozen
class Address:
    """Where a peer listens.

    Args:
        host: as the module says.
        port: 1 to 65535; 0 only with I2P, whose SAM 3.1 knows no ports [Core i2p.h].
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def kind(self) -> Kind:
        """The network of the host."""
        return self.network[0]

    @property
    def network(self) -> tuple[Kind, bytes]:
        """The network of the host, and its bytes there as BIP155 has them; of a name its lower-case text.

        IPv6 text of an IPv4-mapped address is IPv4. A zone (`%eth0`) is not part of the bytes.
        """
        return _read(self.host)

    @property
    def is_routable(self) -> bool:
        """Whether anybody on the public internet could reach it (see `is_routable`)."""
        return is_routable(self)

    @property
    def canonical(self) -> Address:
        """The same place in the one spelling that the wire leads to; a zone stays, for without it the place is lost."""
        return self if "%" in self.host else Address.of(*self.network, self.port)

    @classmethod
    def of(cls, kind: Kind, raw: bytes, port: int) -> Address:
        """From the bytes of a host, the reverse of `network`.

        Raises:
            ValueError: `raw` has not the size of an address of `kind`.
        """
        return cls(_write(kind, raw), port)

    @classmethod
    def parse(cls, text: str, default_port: int) -> Address:
        """From `HOST`, `HOST:PORT` or `[IPV6]:PORT`.

        Raises:
            BadAddress: `text` is none of these, or the port is not in 1..65535 (0 is one only with I2P).
        """
        host, port = _split(text.strip())
        address = cls(host, default_port if port is None else int(port) if _PORT.fullmatch(port) else -1)
        if not (_is_ipv6(host) if ":" in host else is_name(host)) or not address._has_port:
            raise BadAddress(f"{text!r} is not HOST:PORT with a port from 1 to 65535")
        return address

    @property
    def _has_port(self) -> bool:
        return 0 < self.port < 65536 or (self.port == 0 and self.kind is Kind.I2P)


def is_name(host: str) -> bool:
    """Whether `host` has the form of a DNS name; dotted IPv4 has it too."""
    return _NAME.fullmatch(host) is not None


_PORT = re.compile("[0-9]{1,5}")
_LABEL = "[A-Za-z0-9_-]{1,63}"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")
_DOTTED = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_ONION, _I2P = ".onion", ".b32.i2p"
_TOR_VERSION = b"\x03"
_CJDNS_BYTE = 0xFC


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return "", None
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _read(host: str) -> tuple[Kind, bytes]:
    if ":" in host and _is_ipv6(host):
        return _read_ipv6(IPv6Address(host))
    if _DOTTED.fullmatch(host) and (ipv4 := _ipv4(host)) is not None:
        return Kind.IPV4, ipv4
    name = host.lower().removesuffix(".")
    if name.endswith(_ONION) and (key := _onion_key(name.removesuffix(_ONION))) is not None:
        return Kind.TORV3, key
    if name.endswith(_I2P) and (digest := _base32(name.removesuffix(_I2P), 32)) is not None:
        return Kind.I2P, digest
    return Kind.NAME, name.encode()


def _read_ipv6(ip: IPv6Address) -> tuple[Kind, bytes]:
    if ip.ipv4_mapped is not None:
        return Kind.IPV4, ip.ipv4_mapped.packed
    return Kind.CJDNS if ip.packed[0] == _CJDNS_BYTE else Kind.IPV6, ip.packed


def _ipv4(host: str) -> bytes | None:
    try:
        return IPv4Address(host).packed
    except AddressValueError:
        return None


def _onion_key(text: str) -> bytes | None:
    """The public key in the name of a Tor v3 service; None if the length, checksum or version is another."""
    raw = _base32(text, 35)
    return raw[:32] if raw is not None and raw == _onion_bytes(raw[:32]) else None


def _onion_bytes(key: bytes) -> bytes:
    """Key, checksum and version [Tor rend-spec-v3, "Encoding onion addresses"]."""
    return key + sha3_256(b".onion checksum" + key + _TOR_VERSION).digest()[:2] + _TOR_VERSION


def _base32(text: str, size: int) -> bytes | None:
    """`size` bytes from unpadded lower-case base32; None if `text` is not the one spelling of so many bytes."""
    if len(text) != (size * 8 + 4) // 5 or not text.isascii():
        return None
    try:
        raw = b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return None
    return raw if _base32_text(raw) == text else None


def _base32_text(raw: bytes) -> str:
    return b32encode(raw).decode().rstrip("=").lower()


_SIZES = {Kind.IPV4: 4, Kind.IPV6: 16, Kind.TORV3: 32, Kind.I2P: 32, Kind.CJDNS: 16}


def _write(kind: Kind, raw: bytes) -> str:
    if len(raw) != _SIZES.get(kind, len(raw)):
        raise ValueError(f"an address of {kind.name} does not have {len(raw)} bytes")
    match kind:
        case Kind.IPV4:
            return str(IPv4Address(raw))
        case Kind.TORV3:
            return _base32_text(_onion_bytes(raw)) + _ONION
        case Kind.I2P:
            return _base32_text(raw) + _I2P
        case Kind.NAME:
            return raw.decode()
        case _:
            return str(IPv6Address(raw))
