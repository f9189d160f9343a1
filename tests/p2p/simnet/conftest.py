"""Chains that are served, and a client made by hand that talks to a node over memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from phasegate.p2p.connection import Connection
from phasegate.p2p.handshake import Handshake, our_version
from phasegate.p2p.messages import Message, Ping, Pong
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.recording import RecordedChain, load_recording

LONG = 2300


@pytest.fixture(scope="session")
def long_chain() -> GeneratedChain:
    """A generated chain long enough for every limit of the filter messages; not to be extended."""
    return generate(LONG, "long")


@pytest.fixture(scope="session")
def recorded(capture: Path) -> RecordedChain:
    """The recorded Dash Core chain."""
    return load_recording(capture)


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    """Compute without a thread."""
    return function(*args)


@attrs.define
class Caller:
    """A client at one end of a memory stream, the node at the other."""

    connection: Connection

    async def greet(self, *, addrv2: bool = False, **fields: Any) -> list[Message]:
        """Shake hands; what the node said unasked up to its ping."""
        handshake = Handshake(our_version(**{"nonce": 1, "time": 0} | fields), want_addrv2=addrv2)
        for message in handshake.start():
            await self.connection.send(message)
        while not handshake.complete:
            for reply in handshake.receive(await self.connection.receive()):
                await self.connection.send(reply)
        self.connection.version = handshake.peer.negotiated
        return await self.until(Ping)

    async def until(self, kind: type[Message]) -> list[Message]:
        """Everything up to and with the first message of `kind`."""
        got: list[Message] = []
        while not got or not isinstance(got[-1], kind):
            got.append(await self.connection.receive())
        return got

    async def ask(self, request: Message) -> list[Message]:
        """All that comes before the answer to a ping sent after `request`."""
        await self.connection.send(request)
        await self.connection.send(Ping(77))
        return [m for m in await self.until(Pong) if not isinstance(m, Ping | Pong)]


Calling = Callable[[Node], Caller]


@pytest.fixture
def call(nursery: trio.Nursery) -> Calling:
    """Connect to a node in memory."""

    def connect(node: Node) -> Caller:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(node.handle, theirs)
        return Caller(Connection(ours, node.chain.network.magic, compute=inline))

    return connect
