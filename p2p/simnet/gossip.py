"""The addresses that a node tells [Core net_processing.cpp GETADDR, addrman.cpp GetAddr].

Asked for addresses, dashd tells a random 23 in a hundred of what it knows, rounded down and 1,000 at most, and for
about a day the same ones to everybody, so that nobody can read its whole book by asking again and again. A peer that
has not asked for addrv2 gets what fits the older form. With nothing to tell it is silent.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from ipaddress import ip_address

import attrs
import trio

from phasegate.p2p.messages import Addr, AddressV1, AddressV2, AddrV2, Message
from phasegate.p2p.messages_peer import MAX_ADDRESSES

CORE_SHARE = 23
"""Of a hundred known addresses so many are told [Core MAX_PCT_ADDR_TO_SEND]."""
KEPT = (21 * 3600.0, 27 * 3600.0)
"""Seconds for which a node tells the same addresses: chance decides between these."""
_IPV4, _IPV6 = 1, 2
_MAPPED = bytes(10) + b"\xff\xff"


def known_node(host: str, port: int, *, services: int, time: float) -> AddressV2:
    """A node at an IPv4 or IPv6 `host`, seen at `time` (seconds since 1970), that offers these `Services`.

    Raises:
        ValueError: `host` is no such address.
    """
    ip = ip_address(host)
    return AddressV2(int(time), services, _IPV4 if ip.version == 4 else _IPV6, ip.packed, port)


def address_message(addresses: Sequence[AddressV2], *, addrv2: bool) -> Message | None:
    """The message that tells these, in the form that the peer wishes; None when none of them fits it."""
    if addrv2:
        return AddrV2(tuple(addresses)) if addresses else None
    fitting = tuple([older for address in addresses if (older := _older_form(address))])
    return Addr(fitting) if fitting else None


def _older_form(address: AddressV2) -> AddressV1 | None:
    if address.network not in (_IPV4, _IPV6):
        return None
    raw = address.address if address.network == _IPV6 else _MAPPED + address.address
    return AddressV1(address.time, address.services, raw, address.port)


@attrs.frozen
class Selection:
    """What a node tells of the addresses it knows, until Trio's clock says `until`."""

    source: tuple[AddressV2, ...]
    told: tuple[AddressV2, ...]
    until: float

    @classmethod
    def draw(cls, known: tuple[AddressV2, ...], share: int, rng: random.Random) -> Selection:
        """`share` in a hundred of `known`, rounded down, 1,000 at most."""
        count = min(MAX_ADDRESSES, share * len(known) // 100)
        return cls(known, tuple(rng.sample(known, count)), trio.current_time() + rng.uniform(*KEPT))

    def holds(self, known: tuple[AddressV2, ...]) -> bool:
        """Whether this is still what a node tells that knows these."""
        return self.source is known and trio.current_time() < self.until
