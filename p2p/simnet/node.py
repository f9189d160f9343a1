"""A Dash node made of a chain: it shakes hands, announces, answers, punishes and keeps silent as dashd does.

`Node.serve` listens on TCP, `Node.handle` takes one connection over any stream. A node may be told to lie (`lies`), to
wait before each answer, or to fall silent after the handshake.
"""

from __future__ import annotations

import attrs
import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.p2p.compressed import compress
from phasegate.p2p.messages import (
    CFCheckpt,
    CFHeaders,
    GetHeaders,
    GetHeaders2,
    Headers,
    Headers2,
    Inv,
    InvItem,
    InvType,
    Message,
)
from phasegate.p2p.simnet.answers import Answer, Punished, answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.greeting import Greeting
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.request_log import RequestLog
from phasegate.p2p.simnet.wire import Gone, Wire

HANDSHAKE_TIMEOUT = 60.0
PING_INTERVAL = 120.0
SILENCE_LIMIT = 1200.0
MAX_HEADERS_ANNOUNCED = 8


@attrs.define(eq=False)
class Node:
    """A node with one chain, for any number of peers.

    Args:
        chain: what it serves; it may grow, after which `announce` tells the peers.
        log: gets one line a request served.
        lie: what it lies about.
        delay: seconds to wait before each answer.
        silent: shake hands, then answer nothing.
    """

    chain: SimulatedChain
    log: RequestLog | None = attrs.field(default=None, kw_only=True)
    lie: Lie | None = attrs.field(default=None, kw_only=True)
    delay: float = attrs.field(default=0.0, kw_only=True)
    silent: bool = attrs.field(default=False, kw_only=True)
    _peers: list[_Peer] = attrs.field(factory=list, init=False)

    @property
    def peers(self) -> int:
        """How many peers have completed the handshake and are still there."""
        return sum(peer.greeting.complete for peer in self._peers)

    async def serve(
        self, host: str, port: int, *, task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until cancelled; `started` is told the host and the real port.

        Raises:
            OSError: the address cannot be listened on.
        """
        listeners = await self.listen(host, port)
        task_status.started(listeners[0].socket.getsockname()[:2])
        await trio.serve_listeners(self.handle, listeners)

    async def listen(self, host: str, port: int) -> list[trio.SocketListener]:
        """Open the port (0 takes any free one), for `trio.serve_listeners(node.handle, ...)`.

        Raises:
            OSError: the address cannot be listened on.
        """
        return await trio.open_tcp_listeners(port, host=host)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one peer until it leaves or is disconnected; the stream is closed then."""
        peer = _Peer(self, Wire(stream, self.chain.network.magic))
        self._peers.append(peer)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.keep_alive, nursery.cancel_scope)
                await peer.talk()
                nursery.cancel_scope.cancel()
        finally:
            self._peers.remove(peer)
            await peer.wire.aclose()

    async def announce(self, blocks: int) -> None:
        """Tell every peer of the newest `blocks` blocks, by headers if it asked for them, else by inv."""
        for peer in [peer for peer in self._peers if peer.greeting.complete and not self.silent]:
            await peer.announce(blocks)


@attrs.define(eq=False)
class _Peer:
    """One connection, seen from the node."""

    node: Node
    wire: Wire
    greeting: Greeting = attrs.field(init=False)
    _known: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.greeting = Greeting(self.node.chain.height)

    async def talk(self) -> None:
        """Read and answer, one message after the other, until the end."""
        try:
            while True:
                await self._take(await self.wire.receive())
        except (Gone, Punished, PeerMisbehaved):
            return

    async def keep_alive(self, scope: trio.CancelScope) -> None:
        """Drop a peer that does not finish the handshake or says nothing for too long; ping it meanwhile."""
        await trio.sleep(HANDSHAKE_TIMEOUT)
        while self.greeting.complete and trio.current_time() - self.wire.last_heard < SILENCE_LIMIT:
            await trio.sleep(PING_INTERVAL)
            if not self.node.silent:
                await self._send_quietly(self.greeting.ping())
        scope.cancel()

    async def announce(self, blocks: int) -> None:
        chain = self.node.chain
        first = chain.height - blocks + 1
        by_headers = blocks <= MAX_HEADERS_ANNOUNCED and self._known >= first - 1
        raw = chain.headers(first, blocks)
        if by_headers and self.greeting.wants_headers2:
            message: Message = compress(raw, announcement=True)
        elif by_headers and self.greeting.wants_headers:
            message = Headers(raw)
        else:
            message = Inv((InvItem(InvType.BLOCK, chain.tip_hash),))
        await self._send_quietly(message)
        self._known = max(self._known, chain.height) if by_headers else self._known

    async def _take(self, message: Message) -> None:
        if not self.greeting.complete or self.greeting.concerns(message):
            await self._greet(message)
        elif not self.node.silent:
            await self._answer(message)

    async def _greet(self, message: Message) -> None:
        was_complete = self.greeting.complete
        for reply in self.greeting.receive(message):
            await self.wire.send(reply)
        self.wire.version = self.greeting.version
        if self.greeting.complete and not was_complete and not self.node.silent:
            await self._welcome()

    async def _welcome(self) -> None:
        for message in self.greeting.welcome():
            await self.wire.send(message)
        kinds = [InvType.CHAINLOCK, *([InvType.INSTANTSEND_LOCK] if self.greeting.relay else [])]
        offered = [InvItem(lock.inv_type, lock.hash) for lock in self.node.chain.locks() if lock.inv_type in kinds]
        if offered:
            await self.wire.send(Inv(tuple(offered)))

    async def _answer(self, request: Message) -> None:
        chain, version = self.node.chain, self.wire.version
        given = answer(chain, request, version)
        if given is None:
            return
        if self.node.delay:
            await trio.sleep(self.node.delay)
        if self.node.lie is not None:
            given = self.node.lie.tell(chain, given, version)
        await self._give(request, given)
        if isinstance(request, GetHeaders | GetHeaders2):
            self._known = max(self._known, given.facts["to"])

    async def _give(self, request: Message, given: Answer) -> None:
        served = 0
        try:
            for message in given.messages:
                await self.wire.send(message)
                served += _items(message)
        finally:
            if self.node.log is not None and given.facts:
                self.node.log.write(self.wire.name, request.command, given.facts, served)

    async def _send_quietly(self, message: Message) -> None:
        try:
            await self.wire.send(message)
        except Gone:
            return


def _items(message: Message) -> int:
    """How many things a message brings."""
    match message:
        case Headers() | Headers2():
            return message.count
        case CFHeaders():
            return len(message.hashes) // 32
        case CFCheckpt():
            return len(message.headers) // 32
        case _:
            return 1
