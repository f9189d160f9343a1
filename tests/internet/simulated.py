"""A whole client on a whole simulated internet, on a virtual clock: everything about a run comes from its seed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import trio

from phasegate.consensus.params import SIMNET
from phasegate.engine.client import Client
from phasegate.engine.config import Address, Config, Limits, watch_script
from phasegate.engine.events import Event, Transition
from phasegate.engine.seams import inline_seams
from phasegate.p2p.reputation import Ban
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.internet import PROVABLE_LIES, Counts, Manner, Population, Role
from tests.internet.cut_network import Line
from tests.simulated_world import START, attended

SEED_NAME = "seed.example"


@cache
def the_chain(blocks: int) -> GeneratedChain:
    """A chain that no test may extend."""
    return generate(blocks, 7)


@attrs.define
class Life:
    """A running client, the internet that it lives on, and what it has told."""

    client: Client
    population: Population
    line: Line
    told: list[Event] = attrs.field(factory=list)

    @property
    def roles(self) -> dict[Address, Role]:
        """Who is what."""
        return {member.address: member.role for member in self.population.members}

    @property
    def bans(self) -> dict[Address, Ban]:
        """Who is banned, for what."""
        memory = self.client._pool.memory
        return {at: ban for at in self.roles if (ban := memory.banned(at)) is not None}

    @property
    def blamed(self) -> set[Address]:
        """Who has something held against it, banned for it or not: half a ban is what a flood costs."""
        records = self.client._pool.memory.reputation.records
        return {Address(record.host, record.port) for record in records} & set(self.roles)

    @property
    def exposed(self) -> set[Address]:
        """The liars that were asked, and lied."""
        return {at for at, lies in self.population.told_lies.items() if lies}

    @property
    def path(self) -> list[str]:
        """The states entered so far."""
        return [event.target for event in self.told if isinstance(event, Transition)]

    async def entered(self, state: str, within: float) -> None:
        """Wait until the chart has entered `state`."""
        with trio.fail_after(within):
            while state not in self.path:
                await trio.sleep(0.01)

    async def until(self, state: str, within: float) -> None:
        """Wait until the chart is in `state`."""
        with trio.fail_after(within):
            while self.client.state != state:
                await trio.sleep(0.1)

    def found(self) -> list[str]:
        """The transactions found, in display order."""
        return sorted(found.txid[::-1].hex() for found in self.client.transactions())


@asynccontextmanager
async def living(
    directory: Path,
    chain: GeneratedChain,
    seed: int,
    *,
    peers: Sequence[Address] = (),
    limits: Limits | None = None,
    counts: Counts | None = None,
    lies: Sequence[str] = PROVABLE_LIES,
    **config: Any,
) -> AsyncIterator[Life]:
    """A client that knows the name of one DNS seed, which names two members, and nothing else."""

    def now() -> float:
        return START + trio.current_time()

    rng = random.Random(f"life {seed}")
    population = Population.draw(chain, seed, Manner(now, lies=lies), counts=counts)
    for member in population.members:
        if member.node is not None and member.role is Role.HONEST:
            member.node.delay = rng.uniform(0.02, 0.4)  # as far away as nodes are, else two of them would do

    async def resolve(host: str, port: int, /) -> Sequence[str]:
        await trio.sleep(rng.uniform(0.02, 0.3))
        if host != SEED_NAME:
            raise OSError(f"no such name: {host}")
        return [address.host for address in population.seeds]

    async with trio.open_nursery() as world:
        network = population.network(world)

        async def open_stream(host: str, port: int, /) -> trio.abc.Stream:
            await trio.sleep(rng.uniform(0.01, 0.2))
            return await network.open_stream(host, port)

        line = Line(open_stream)
        client = Client(
            Config(
                SIMNET,
                peers=tuple(peers),
                dns_seeds=(SEED_NAME,),
                datadir=directory,
                watch=tuple(watch_script(item, SIMNET) for item in chain.watch),
                limits=limits or Limits(),
                check_facts=True,
                **config,
            ),
            inline_seams(seed, line.open_stream, now, resolve=resolve),
        )
        life = Life(client, population, line)
        async with attended(client, life.told):
            yield life
        world.cancel_scope.cancel()
