"""Network addresses of masternodes, kept byte for byte [Core evo/netinfo.h].

They enter a merkle root, so a parsed and re-written address is not good enough: only its length on the wire is found
here. Versions 1 and 2 have one IPv6-mapped address with a port; version 3 a list of addresses for each purpose.
"""

from __future__ import annotations

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Malformed

SERVICE_SIZE = 18
"""16 bytes of IPv6 (IPv4 as ::ffff:a.b.c.d), then the port, big-endian."""

EXTENDED_VERSION = 3
"""From this ProTx version on the address is a list."""

_MAX_PURPOSES, _MAX_ENTRIES, _MAX_ADDRESS = 16, 32, 512
_SERVICE, _DOMAIN, _INVALID = 1, 2, 0xFF


def take_netinfo(r: Reader, version: int) -> bytes:
    """The raw address of a masternode entry or ProTx of `version`."""
    if version < EXTENDED_VERSION:
        return r.take(SERVICE_SIZE)
    start = r.pos
    if (form := r.u8()) != 1:
        raise Malformed(f"extended address version {form} is unknown")
    r.many(_MAX_PURPOSES, _skip_purpose, at_least=2, what="purpose count")
    return r.since(start)


def _skip_purpose(r: Reader) -> None:
    r.u8()
    r.many(_MAX_ENTRIES, _skip_entry, what="address count")


def _skip_entry(r: Reader) -> None:
    kind = r.u8()
    if kind == _SERVICE:
        r.u8()
    elif kind == _INVALID:
        return
    elif kind != _DOMAIN:
        raise Malformed(f"address of kind {kind} is unknown")
    r.var_bytes(_MAX_ADDRESS, "address length")
    r.u16be()
