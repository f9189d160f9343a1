"""An internet of scripted nodes for a pool alone: names, addresses, and nodes that greet, gossip and answer pings."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import MAINNET, Network
from phasegate.engine.config import Address, Config, Limits
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Ledger
from phasegate.engine.seams import Seams, Writer, compute_inline, inline_seams
from phasegate.p2p.address_forms import to_v2
from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.messages import AddrV2, GetAddr, Message, Ping, Pong, Services, Verack, Version
from phasegate.p2p.simnet.pipe import pipe

START = 1_800_000_000.0
FULL = int(Services.NETWORK | Services.COMPACT_FILTERS)
PLAIN = int(Services.NETWORK)
PORT = MAINNET.port
LIE = PeerMisbehaved(Fault.BAD_FILTER, "height 5: does not fit")


def at(number: int, host: int = 1, port: int = PORT) -> Address:
    """A public address in a network group of its own."""
    return Address(f"{11 + number // 200}.{number % 200}.0.{host}", port)


@attrs.define(eq=False)
class Node:
    """A node: what it offers, whom it tells of, and what it does to whoever connects.

    `manner`: "" honest, "deaf" neither takes nor refuses connections, "mute" says nothing at all, "hangs up" as soon as
    it is connected to, "speechless" greets and then answers nothing, "reads nothing" does not even read any more. It
    greets after `late` seconds.
    """

    services: int = FULL
    tells: Sequence[Address] = ()
    manner: str = ""
    late: float = 0.0
    others: dict[Address, Node] = attrs.field(factory=dict, repr=False)
    lines: list[Connection] = attrs.field(factory=list)
    heard: list[Message] = attrs.field(factory=list)

    async def serve(self, stream: trio.abc.Stream, magic: bytes, now: float) -> None:
        """Talk to whoever connected, until it leaves."""
        line = Connection(stream, magic, compute=compute_inline)
        self.lines.append(line)
        try:
            if self.manner == "hangs up":
                return
            await trio.sleep(self.late)
            if self.manner != "mute":
                await line.send(Version(70240, self.services, int(now), user_agent="/node/", start_height=10))
            while self.manner != "reads nothing" or Verack() not in self.heard:
                await self._answer(line, await line.receive(), now)
            await trio.sleep_forever()
        except ConnectionLost:
            return
        finally:
            self.lines.remove(line)
            with trio.CancelScope(shield=True):
                await stream.aclose()

    async def _answer(self, line: Connection, message: Message, now: float) -> None:
        self.heard.append(message)
        if isinstance(message, Version) and self.manner != "mute":
            await line.send(Verack())
        elif self.manner:
            return
        elif isinstance(message, GetAddr) and self.tells:
            records = [to_v2(address, int(now), self._offer(address)) for address in self.tells]
            await line.send(AddrV2(tuple([record for record in records if record is not None])))
        elif isinstance(message, Ping):
            await line.send(Pong(message.nonce))

    def _offer(self, address: Address) -> int:
        return self.others[address].services if address in self.others else FULL


@attrs.define(eq=False)
class Internet:
    """Everything that a pool can reach, and what it did."""

    nursery: trio.Nursery
    network: Network = MAINNET
    nodes: dict[Address, Node] = attrs.field(factory=dict)
    names: dict[str, list[str]] = attrs.field(factory=dict)
    hanging: set[str] = attrs.field(factory=set)
    asked: list[str] = attrs.field(factory=list)
    asked_at: list[float] = attrs.field(factory=list)
    dialed: list[tuple[float, Address]] = attrs.field(factory=list)
    down: bool = False
    epoch: float = START

    def add(self, *addresses: Address, **what: Any) -> list[Node]:
        """Nodes of one kind."""
        for address in addresses:
            self.nodes[address] = Node(others=self.nodes, **what)
        return [self.nodes[address] for address in addresses]

    def now(self) -> float:
        """The wall clock."""
        return self.epoch + trio.current_time()

    async def open_stream(self, host: str, port: int, /) -> trio.abc.Stream:
        """The near end of a connection."""
        await trio.lowlevel.checkpoint()
        address = Address(host, port)
        self.dialed.append((trio.current_time(), address))
        if self.down:
            raise OSError(errno.ENETUNREACH, "network is unreachable")
        node = self.nodes.get(address)
        if node is None:
            raise ConnectionRefusedError("connection refused")
        if node.manner == "deaf":
            await trio.sleep_forever()
        near, far = pipe()
        self.nursery.start_soon(node.serve, far, self.network.magic, self.now())
        return near

    async def resolve(self, host: str, _port: int, /) -> Sequence[str]:
        """What DNS answers."""
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        self.asked_at.append(trio.current_time())
        if host in self.hanging:
            await trio.sleep_forever()
        if host not in self.names or self.down:
            raise OSError("no such name")
        return self.names[host]

    def seams(self, seed: int = 5) -> Seams:
        """Seams that lead here."""
        return inline_seams(seed, self.open_stream, self.now, resolve=self.resolve)

    async def cut(self) -> None:
        """Every connection breaks, and none can be made."""
        self.down = True
        for node in self.nodes.values():
            for line in list(node.lines):
                await line.aclose()

    def mark(self) -> int:
        """How often has been connected so far."""
        return len(self.dialed)

    def tried(self, mark: int = 0) -> list[Address]:
        """The addresses connected to since the mark, in order."""
        return [address for _, address in self.dialed[mark:]]


@attrs.define(eq=False)
class Client:
    """A running pool and what it told."""

    pool: Pool
    memory: PeerMemory
    ledger: Ledger
    warnings: list[tuple[str, str]]
    hints: list[Peer]

    @property
    def ready(self) -> set[Address]:
        """Who is ready."""
        return {peer.address for peer in self.pool.connected}

    def peer(self, address: Address) -> Peer:
        """The ready peer there."""
        return next(peer for peer in self.pool.connected if peer.address == address)

    async def until(self, count: int, within: float = 60.0) -> float:
        """Wait until so many peers are ready; the seconds that took."""
        start = trio.current_time()
        with trio.fail_after(within):
            while len(self.ready) != count:
                await self.pool.changed()
        return trio.current_time() - start


def make_client(
    internet: Internet,
    *,
    writer: Writer | None = None,
    limits: Limits | None = None,
    seams: Seams | None = None,
    **settings: Any,
) -> Client:
    """A pool that does not run yet; without `dns_seeds` it has none."""
    settings.setdefault("dns_seeds", ())
    config = Config(internet.network, limits=limits or Limits(), **settings)
    seams = seams or internet.seams()
    warnings, hints, ledger = list[tuple[str, str]](), list[Peer](), Ledger()
    memory = PeerMemory(config, seams, writer, lambda code, line: warnings.append((code, line)))
    pool = Pool(
        config,
        seams,
        ledger,
        known=lambda _: False,
        our_height=lambda: 3,
        on_hint=hints.append,
        on_change=lambda: None,
        warn=lambda code, line: warnings.append((code, line)),
        memory=memory,
    )
    return Client(pool, memory, ledger, warnings, hints)


@asynccontextmanager
async def connecting(internet: Internet, client: Client) -> AsyncIterator[Client]:
    """The pool runs for the length of the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(client.pool.run)
        yield client
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def discovering(internet: Internet, known: Sequence[Address] = (), **settings: Any) -> AsyncIterator[Client]:
    """A running pool whose book knows these addresses, and nothing of what they offer."""
    client = make_client(internet, **settings)
    assert client.memory.learn([(address, 0) for address in known], "dns") == len(known), "the book took all"
    async with connecting(internet, client):
        yield client
