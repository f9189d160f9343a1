"""A whole simulated internet out of a seed: honest nodes, dead addresses, and every kind of nuisance.

All live members serve one chain and gossip addresses of members, dead ones among them. Two honest members are what DNS
seeds would name; from these alone a client must find its way. Liars tell only what an attacker can afford to tell and
an honest client can prove false once it has asked. Who lies, floods or is silent says that it serves filters, for that
is how one gets asked. Any number of processes that draw from the same seed and the same chain draw the same internet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Any, Self

import attrs
import trio

from phasegate.p2p.addresses import Address
from phasegate.p2p.messages import Services
from phasegate.p2p.simnet import CannotServe
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.flood import ALL, Flood
from phasegate.p2p.simnet.gossip import known_node
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.memory_network import MemoryNetwork
from phasegate.p2p.simnet.memory_pool import MemoryPool
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.request_log import RequestLog

PROVABLE_LIES = (
    "wrong-pow",
    "broken-link",
    "wrong-difficulty",
    "wrong-merkle-proof",
    "wrong-masternode-entry",
    "wrong-quorum",
    "wrong-filter",
    "wrong-filter-header",
    "omitted-output",
    "omitted-spend",
    "wrong-filter-count",
    "wrong-block-body",
)
SEEDS = 2
_PLAIN = Identity(services=SERVICES & ~Services.COMPACT_FILTERS)
_LONELY_GROUPS = 0.9
"""So many of the members have a /16 network of their own; the others share one with somebody."""
_LIVELY_SECONDS = 3 * 3600


Listening = tuple[Node, list[trio.SocketListener]]
"""A node and its open ports."""


class Role(StrEnum):
    """What a member of the internet is like."""

    HONEST = "honest"
    DEAD = "dead"
    SLOW = "slow"
    SILENT = "silent"
    LYING = "lying"
    FLOODING = "flooding"


@attrs.frozen
class Counts:
    """How many members of each kind there are; `filtering` of the honest ones serve filters."""

    honest: int = 20
    filtering: int = 6
    dead: int = 10
    slow: int = 5
    silent: int = 5
    lying: int = 5
    flooding: int = 5

    def roles(self) -> list[Role]:
        """The role of each member, kind by kind, those who serve filters first."""
        numbers = (self.honest, self.dead, self.slow, self.silent, self.lying, self.flooding)
        return [role for role, number in zip(Role, numbers, strict=True) for _ in range(number)]


@attrs.frozen
class Manner:
    """What is common to all live members of one internet.

    Attributes:
        now: the wall clock, in seconds since 1970.
        share: how many in a hundred of the addresses it knows a node tells.
        knows: what part of the other members each live one knows.
        lies: the kinds that liars draw from.
        flood_rate: bytes of junk a second; None: as many as the socket takes.
        log: gets one line a request served, with the address of who served it.
    """

    now: Callable[[], float]
    share: int = 100
    knows: float = 0.6
    lies: Sequence[str] = PROVABLE_LIES
    flood_rate: float | None = None
    log: RequestLog | None = None


@attrs.frozen
class Member:
    """Somebody on the internet: nobody is at a dead address, which may be `deaf` and not even refuse."""

    address: Address
    role: Role
    node: Node | None = attrs.field(default=None, repr=False)
    deaf: bool = False


@attrs.frozen
class Population:
    """All members, in an order that tells nothing, and the addresses that DNS seeds name."""

    members: tuple[Member, ...]
    seeds: tuple[Address, ...]

    @classmethod
    def draw(
        cls,
        chain: SimulatedChain,
        seed: int | str,
        manner: Manner,
        *,
        counts: Counts | None = None,
        port: int | None = None,
    ) -> Self:
        """The internet of `seed`; all nodes serve `chain` and share one memory pool.

        Args:
            chain: what they serve; no node changes it.
            seed: decides everything but the chain.
            manner: what is common to all.
            counts: of each kind of member.
            port: where all of them listen, the network's if not given.

        Raises:
            CannotServe: fewer honest members than seeds or filters need, or a lie the chain has no place for.
        """
        counts = counts or Counts()
        if counts.honest < max(SEEDS, counts.filtering):
            raise CannotServe(f"{counts.honest} honest nodes cannot hold {SEEDS} seeds and {counts.filtering} filters")
        rng, maker = random.Random(f"phasegate internet {seed}"), _Maker(chain, manner, MemoryPool())
        roles = counts.roles()
        addresses = _addresses(rng, len(roles), port or chain.network.port)
        members = [
            maker.member(address, role, place < counts.filtering, rng)
            for place, (address, role) in enumerate(zip(addresses, roles, strict=True))
        ]
        rng.shuffle(members)
        _introduce(members, manner, rng)
        honest = [member.address for member in members if member.role == Role.HONEST]
        return cls(tuple(members), tuple(rng.sample(honest, SEEDS)))

    @property
    def live(self) -> dict[Address, Node]:
        """The nodes, by address."""
        return {member.address: member.node for member in self.members if member.node is not None}

    def part(self, index: int, of: int) -> dict[Address, Node]:
        """The nodes of the `index`-th (from 1) of so many parts."""
        return dict(list(self.live.items())[index - 1 :: of])

    @property
    def told_lies(self) -> dict[Address, int]:
        """How many false answers each liar has sent."""
        return {m.address: m.node.told_lies for m in self.members if m.role == Role.LYING and m.node is not None}

    def network(self, nursery: trio.Nursery) -> MemoryNetwork:
        """All of it in memory; connections live in `nursery`."""
        deaf = frozenset([member.address for member in self.members if member.deaf])
        return MemoryNetwork(nursery, self.live, deaf)


async def listen(nodes: Mapping[Address, Node]) -> list[Listening]:
    """Open the port of each of these nodes, on its own address.

    Raises:
        CannotServe: one of them cannot be opened; none is then.
    """
    async with AsyncExitStack() as stack:
        listening: list[Listening] = []
        for address, node in nodes.items():
            try:
                listeners = await node.listen(address.host, address.port)
            except OSError as error:
                raise CannotServe(f"{address}: {error.strerror}") from error
            listening.append((node, [await stack.enter_async_context(listener) for listener in listeners]))
        stack.pop_all()
    return listening


async def serve(listening: Iterable[Listening]) -> None:
    """Serve nodes over TCP until cancelled."""
    async with trio.open_nursery() as nursery:
        for node, listeners in listening:
            nursery.start_soon(trio.serve_listeners, node.handle, listeners)


@attrs.frozen
class _Maker:
    """Makes members."""

    chain: SimulatedChain
    manner: Manner
    pool: MemoryPool

    def member(self, address: Address, role: Role, filtering: bool, rng: random.Random) -> Member:
        if role == Role.DEAD:
            return Member(address, role, deaf=rng.random() < 0.5)
        ways = self._ways(role, filtering, rng)
        node = Node(
            self.chain,
            log=self.manner.log.of(str(address)) if self.manner.log else None,
            pool=self.pool,
            share=self.manner.share,
            rng=random.Random(rng.getrandbits(64)),
            now=self.manner.now,
            **ways,
        )
        return Member(address, role, node)

    def _ways(self, role: Role, filtering: bool, rng: random.Random) -> dict[str, Any]:
        match role:
            case Role.LYING:
                return {"lie": Lie.parse(rng.choice(self.manner.lies), self.chain)}
            case Role.FLOODING:
                return {"flood": Flood.parse(ALL, self.manner.flood_rate)}
            case Role.SILENT:
                return {"silent": True}
            case Role.SLOW:
                return _slowness(rng) | ({} if rng.random() < 0.5 else {"identity": _PLAIN})
            case _:
                return {} if filtering else {"identity": _PLAIN}


def _slowness(rng: random.Random) -> dict[str, float]:
    ways = {"delay": rng.uniform(1.0, 5.0), "trickle": rng.uniform(8_000.0, 64_000.0)}
    return {name: ways[name] for name in rng.choice([("delay",), ("trickle",), ("delay", "trickle")])}


def _addresses(rng: random.Random, count: int, port: int) -> list[Address]:
    """Loopback addresses, most of them in a /16 network of their own."""
    groups = rng.sample(range(1, 256), count) if count < 256 else rng.choices(range(1, 256), k=count)
    lonely = max(1, round(_LONELY_GROUPS * count))
    groups = [group if place < lonely else rng.choice(groups[:lonely]) for place, group in enumerate(groups)]
    hosts: dict[str, None] = {}
    for group in groups:
        host = ""
        while not host or host in hosts:
            host = f"127.{group}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        hosts[host] = None
    return [Address(host, port) for host in hosts]


def _introduce(members: Sequence[Member], manner: Manner, rng: random.Random) -> None:
    """Let every live member know its own address and a random part of the others, dead ones too."""
    now = manner.now()
    entries = []
    for member in members:
        services = member.node.identity.services if member.node else SERVICES
        seen = now - rng.randrange(_LIVELY_SECONDS)
        entries.append(known_node(member.address.host, member.address.port, services=services, time=seen))
    for member, entry in zip(members, entries, strict=True):
        if member.node is not None:
            others = [other for other in entries if other is not entry]
            member.node.address = entry
            member.node.known = tuple(rng.sample(others, round(manner.knows * len(others))))
