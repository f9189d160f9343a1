"""A small world for whole clients: simulated nodes behind in-memory streams, a virtual clock, a store on disk.

A pytest plugin, loaded by `tests/conftest.py`: its fixtures are everywhere. A folder whose tests run clients also makes
the scheduler deterministic, and judges no signature twice, by an autouse fixture of its own that asks for
`seeded_scheduler` and `signatures_judged_once`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus import bls
from phasegate.consensus.params import SIMNET, Network
from phasegate.engine.client import Client
from phasegate.engine.config import Address, Config, Limits, watch_script
from phasegate.engine.events import Event, Transition, Warned
from phasegate.engine.seams import inline_seams
from phasegate.p2p.framing import FrameDecoder
from phasegate.p2p.messages import Message, decode
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.node import Node

START = 1_800_000_000.0
"""The wall clock at the beginning of a test, later than every simulated block."""


@cache
def small_chain(blocks: int = 300, seed: int = 7) -> GeneratedChain:
    """A generated chain that no test may extend."""
    return generate(blocks, seed)


class World:
    """Nodes by port, reached through in-memory streams; a port without a node refuses connections."""

    def __init__(self, nursery: trio.Nursery, directory: Path) -> None:
        self.directory = directory
        self.nodes: dict[int, Node] = {}
        self.connections: list[tuple[int, trio.abc.Stream]] = []
        self.vfs: str | None = None
        self._nursery = nursery

    async def open_stream(self, host: str, port: int, /) -> trio.abc.Stream:
        """The client's end of a connection to the node at `port`."""
        await trio.lowlevel.checkpoint()
        if port not in self.nodes:
            raise ConnectionRefusedError(f"nothing listens at {host}:{port}")
        ours, theirs = trio.testing.memory_stream_pair()
        self.connections.append((port, theirs))
        self._nursery.start_soon(self._serve, self.nodes[port], theirs)
        return ours

    async def _serve(self, node: Node, stream: trio.abc.Stream) -> None:
        try:
            await node.handle(stream)
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()

    async def cut(self, port: int) -> None:
        """Break every connection to the node at `port`."""
        for at, stream in self.connections:
            if at == port:
                await trio.aclose_forcefully(stream)
        self.connections = [pair for pair in self.connections if pair[0] != port]

    def add(self, chain: SimulatedChain, port: int, **behaviour: Any) -> Node:
        """A node at `port` that serves `chain`."""
        self.nodes[port] = Node(chain, **behaviour)
        return self.nodes[port]

    def config(self, *ports: int, network: Network = SIMNET, watch: tuple[str, ...] = (), **changes: Any) -> Config:
        """A configuration for a client in this world; its facts are held against the database at every event."""
        limits = Limits(**changes.pop("limits", {}))
        return Config(
            network=network,
            peers=tuple(Address("node", port) for port in ports),
            connect_only=changes.pop("connect_only", True),
            datadir=self.directory,
            watch=tuple(watch_script(item, network) for item in watch),
            limits=limits,
            check_facts=True,
            **changes,
        )


class _Tap(trio.abc.Stream):
    """A stream that keeps what it receives."""

    def __init__(self, stream: trio.abc.Stream, kept: bytearray) -> None:
        self._stream = stream
        self._kept = kept

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        piece = bytes(await self._stream.receive_some(max_bytes))
        self._kept += piece
        return piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Tapped(Node):
    """A node that keeps every byte its one peer sends."""

    def __init__(self, chain: SimulatedChain, **behaviour: Any) -> None:
        super().__init__(chain, **behaviour)
        self.kept = bytearray()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """As any node, listening in."""
        await super().handle(_Tap(stream, self.kept))

    @property
    def taken(self) -> list[Message]:
        """The messages the peer sent, in order."""
        decoder = FrameDecoder(self.chain.network.magic)
        decoder.receive_data(bytes(self.kept))
        messages = []
        while (frame := decoder.next_frame()) is not None:
            messages.append(decode(frame.command, frame.payload, 70240))
        return messages


@attrs.define
class Run:
    """A running client and what it has told."""

    client: Client
    told: list[Event] = attrs.field(factory=list)

    @property
    def path(self) -> list[str]:
        """The states entered so far."""
        return [event.target for event in self.told if isinstance(event, Transition)]

    @property
    def warnings(self) -> list[str]:
        """The codes warned of so far."""
        return [event.code for event in self.told if isinstance(event, Warned)]

    def said(self, code: str) -> str:
        """What was warned of with `code`, a line each."""
        return "\n".join([event.message for event in self.told if isinstance(event, Warned) and event.code == code])

    async def until(self, state: str, within: float = 300.0) -> None:
        """Wait until the chart is in `state`."""
        with trio.fail_after(within):
            while self.client.state != state:
                await trio.sleep(0.05)

    async def until_path(self, path: list[str], within: float = 300.0) -> None:
        """Wait until the states entered are exactly `path`."""
        with trio.fail_after(within):
            while self.path != path:
                await trio.sleep(0.05)

    async def until_warned(self, code: str, within: float = 300.0) -> None:
        """Wait until `code` has been warned of."""
        with trio.fail_after(within):
            while code not in self.warnings:
                await trio.sleep(0.05)

    async def settled(self) -> None:
        """Let everything that can happen now happen."""
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def attended(client: Client, told: list[Event]) -> AsyncIterator[None]:
    """A client that runs for the length of the block, with whatever it tells in `told`."""
    events = client.events(100_000)

    async def listen() -> None:
        async for event in events:
            told.append(event)  # noqa: PERF401 - the list is read while this goes on

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await nursery.start(client.run)
        yield
        if client.state not in ("failed", "stopped"):
            await client.stop()


Start = Callable[[Config], Any]


@pytest.fixture
def seeded_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trio's scheduler draws from a fixed seed: one seed, one run."""
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", random.Random(0))


@lru_cache(10_000)
def _holds(claims: tuple[bls.Claim, ...]) -> bool:
    return _product_holds(claims)


_product_holds = bls._product_holds


@pytest.fixture
def signatures_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a product of pairings holds follows from its claims alone: asked again, the answer is remembered.

    Hundreds of clients sync the same few chains, and a seventh of their time was spent on the same signatures.
    """
    monkeypatch.setattr(bls, "_product_holds", lambda claims: _holds(tuple(claims)))


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> World:
    """An empty world."""
    return World(nursery, tmp_path)


@pytest.fixture
def running(world: World) -> Start:
    """`async with running(config) as run`: a client that runs for the length of the block."""
    return runner(world)


def runner(world: World) -> Start:
    """The same for a world that is no fixture."""

    @asynccontextmanager
    async def start(config: Config) -> AsyncIterator[Run]:
        def now() -> float:
            return START + trio.current_time()

        run = Run(Client(config, inline_seams(1, world.open_stream, now, vfs=world.vfs)))
        async with attended(run.client, run.told):
            yield run

    return start
