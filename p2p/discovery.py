"""Where the addresses of unknown nodes come from: DNS seeds, and the masternode list itself.

A DNS seed is a name whose addresses are nodes. Seeds die, lie and hang, so none of them may stop anything: a seed that
does not answer is a result like any other, with the reason for a warning. All are asked at once and each has its own
time. The masternode list is the better source once it is proven: a masternode has to be reachable, or it loses its
reward. What is found here is only claimed: the address book judges whether an address can be a node of this network
(private and loopback ones are let through, for private networks have such seeds), and a handshake proves it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Protocol

import attrs
import trio

from phasegate.consensus.masternodes import MasternodeState
from phasegate.p2p.address_forms import from_service
from phasegate.p2p.addresses import Address, BadAddress, Kind

MAX_ANSWERS = 256
"""The most addresses taken from one seed, as Core does."""


class Resolve(Protocol):
    """All numeric hosts of a name, IPv4 and IPv6; raises OSError when there are none to be had."""

    def __call__(self, host: str, port: int, /) -> Awaitable[Sequence[str]]: ...


@attrs.frozen
class Seeded:
    """What one seed gave.

    Args:
        name: the seed as it was written.
        addresses: each once, in the order of the answer.
        error: why there are none, for people; "" otherwise.
    """

    name: str
    addresses: tuple[Address, ...] = ()
    error: str = ""


async def resolve_seed(resolve: Resolve, name: str, default_port: int) -> Seeded:
    """All addresses of one seed; a dead one has none, and an error.

    Args:
        resolve: looks names up.
        name: `NAME`, `NAME:PORT`, or an address, which is taken as it is.
        default_port: of the nodes, where `name` has none.
    """
    try:
        seed = Address.parse(name, default_port)
        if _is_literal(seed.host):
            return Seeded(name, (seed,))
        answers = await resolve(seed.host, seed.port)
    except BadAddress as wrong:
        return Seeded(name, error=str(wrong))
    except OSError as failed:
        return Seeded(name, error=failed.strerror or str(failed) or type(failed).__name__)
    hosts = _first(_usable(answers))
    return Seeded(name, tuple([Address(host, seed.port) for host in hosts]), "" if hosts else "no usable address")


async def resolve_all(
    resolve: Resolve,
    names: Iterable[str],
    default_port: int,
    *,
    timeout: float,
    found: Callable[[Seeded], None],
) -> None:
    """Ask all seeds at once, and tell what each gave as soon as it is there.

    Args:
        resolve: looks names up.
        names: as `resolve_seed` takes them; each is asked once.
        default_port: of the nodes.
        timeout: seconds that each seed has.
        found: called once for each seed.
    """

    async def ask(name: str) -> None:
        seeded = Seeded(name, error=f"no answer within {timeout:g} s")
        with trio.move_on_after(timeout):
            seeded = await resolve_seed(resolve, name, default_port)
        found(seeded)

    async with trio.open_nursery() as nursery:
        for name in dict.fromkeys(names):
            nursery.start_soon(ask, name)


def masternode_addresses(state: MasternodeState) -> Iterator[tuple[Address, int]]:
    """Where the masternodes that are not banned listen for peers, with the services that are known of them: 0, none.

    Those that give a name are left out: where it leads is not proven by the list, and may change.
    """
    for entry in state.entries.values():
        if entry.valid:
            yield from ((place, 0) for place in from_service(entry.address) if place.kind is not Kind.NAME)


def is_hidden(host: str) -> bool:
    """Whether only a proxy into Tor or I2P reaches `host`; to ask DNS for it would give it away [RFC 7686]."""
    return host.lower().rstrip(".").endswith((".onion", ".i2p"))


def _is_literal(host: str) -> bool:
    """Whether `host` is an address already: a number, or the name of a hidden service, which no DNS knows."""
    return _number(host) is not None or is_hidden(host)


def _number(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _usable(answers: Iterable[str]) -> Iterator[str]:
    """The hosts that one can connect to, in their one spelling; not fc00::/8, which would pass for CJDNS."""
    for number in map(_number, answers):
        if isinstance(number, IPv6Address):
            number = number.ipv4_mapped or number
        if number is None or number.is_unspecified or number.is_multicast or number.is_link_local:
            continue
        if number.version == 4 or number not in _CJDNS:
            yield str(number)


_CJDNS = IPv6Network("fc00::/8")


def _first(hosts: Iterator[str]) -> tuple[str, ...]:
    """The first distinct ones, as many as are taken from one seed."""
    distinct: dict[str, None] = {}
    for host in hosts:
        distinct[host] = None
        if len(distinct) == MAX_ANSWERS:
            break
    return tuple(distinct)
