"""A network in memory: streams to simulated nodes by their addresses, for a client on a virtual clock.

What is not on it refuses connections at once, or, when it is deaf, never answers. The network can be cut, as when a
cable is pulled: every stream breaks and none can be opened until it is mended.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

import attrs
import trio

from phasegate.p2p.addresses import Address
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.pipe import PipeEnd, pipe


@attrs.define(eq=False)
class MemoryNetwork:
    """Nodes that can be reached.

    Args:
        nursery: the connections live in it.
        nodes: by address.
        deaf: addresses where a connection is neither made nor refused.
    """

    nursery: trio.Nursery
    nodes: Mapping[Address, Node]
    deaf: frozenset[Address] = frozenset()
    _open: list[PipeEnd] = attrs.field(factory=list, init=False)
    _down: bool = attrs.field(default=False, init=False)

    async def open_stream(self, host: str, port: int, /) -> trio.abc.Stream:
        """The caller's end of a new connection.

        Raises:
            OSError: the network is cut, or nothing listens there.
        """
        await trio.lowlevel.checkpoint()
        if self._down:
            raise OSError(errno.ENETUNREACH, f"the network is cut: {host}:{port}")
        address = Address(host, port)
        if address in self.deaf:
            await trio.sleep_forever()
        if address not in self.nodes:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nothing listens at {address}")
        ours, theirs = pipe()
        self._open.append(theirs)
        self.nursery.start_soon(self._serve, self.nodes[address], theirs)
        return ours

    async def cut(self) -> None:
        """Break every connection and let none be opened until `mend`."""
        self._down = True
        for stream in list(self._open):
            await trio.aclose_forcefully(stream)

    def mend(self) -> None:
        """Let connections be opened again."""
        self._down = False

    async def _serve(self, node: Node, stream: PipeEnd) -> None:
        try:
            await node.handle(stream)
        finally:
            self._open.remove(stream)
