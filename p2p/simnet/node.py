"""A Dash node made of a chain: it shakes hands, announces, answers, punishes and keeps silent as dashd does.

`Node.serve` listens on TCP, `Node.handle` takes one connection over any stream. A node may be told to lie (`lies`), to
wait before each answer, or to fall silent after the handshake.
"""

from __future__ import annotations

from collections.abc import Iterable

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
    Mempool,
    Message,
)
from phasegate.p2p.simnet.answers import Answer, Punished, answer, check_offered
from phasegate.p2p.simnet.chain import Announced, SimulatedChain, last_shared_height
from phasegate.p2p.simnet.greeting import Greeting, Identity
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.request_log import RequestLog
from phasegate.p2p.simnet.wire import Gone, Wire

HANDSHAKE_TIMEOUT = 60.0
PING_INTERVAL = 120.0
SILENCE_LIMIT = 1200.0
MAX_HEADERS_ANNOUNCED = 8
MAX_BLOCKS_OF_LOCKS = 100
"""Of so many of the newest blocks the locks are announced; nobody has waited for older ones."""


@attrs.define(eq=False)
class Node:
    """A node with one chain, for any number of peers.

    Args:
        chain: what it serves; it may grow, after which `announce` tells the peers, or be changed by `switch`.
        log: gets one line a request served.
        lie: what it lies about.
        delay: seconds to wait before each answer.
        silent: shake hands, then answer nothing.
        locks: whether it knows of ChainLocks and InstantSend locks, apart from those in blocks.
        identity: what it says of itself.
    """

    chain: SimulatedChain
    log: RequestLog | None = attrs.field(default=None, kw_only=True)
    lie: Lie | None = attrs.field(default=None, kw_only=True)
    delay: float = attrs.field(default=0.0, kw_only=True)
    silent: bool = attrs.field(default=False, kw_only=True)
    locks: bool = attrs.field(default=True, kw_only=True)
    identity: Identity = attrs.field(factory=Identity, kw_only=True)
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
        """Tell every peer of the newest `blocks` blocks, by headers if it asked for them, else by inv, and of locks."""
        for peer in [peer for peer in self._peers if peer.greeting.complete and not self.silent]:
            await peer.announce(blocks)

    async def switch(self, chain: SimulatedChain) -> None:
        """Go over to another chain, as after a reorganisation, and tell every peer of the blocks that are new."""
        fork = last_shared_height(self.chain, chain)
        self.chain = chain
        for peer in self._peers:
            peer.forget_above(fork)
        await self.announce(chain.height - fork)


@attrs.define(eq=False)
class _Peer:
    """One connection, seen from the node."""

    node: Node
    wire: Wire
    greeting: Greeting = attrs.field(init=False)
    _known: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.greeting = Greeting(self.node.chain.network, self.node.chain.height, self.node.identity)

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

    def forget_above(self, fork: int) -> None:
        """What the peer was told above this height is of another chain now."""
        self._known = min(self._known, fork)

    async def announce(self, blocks: int) -> None:
        chain, heights = self.node.chain, range(self.node.chain.height - blocks + 1, self.node.chain.height + 1)
        locks = [lock for height in heights[-MAX_BLOCKS_OF_LOCKS:] for lock in chain.locks_of(height)]
        await self._offer([lock for lock in locks if lock.inv_type == InvType.INSTANTSEND_LOCK])
        if heights:
            await self._announce_blocks(chain, heights.start, blocks)
        await self._offer([lock for lock in locks if lock.inv_type == InvType.CHAINLOCK][-1:])

    async def _announce_blocks(self, chain: SimulatedChain, first: int, blocks: int) -> None:
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
        await self._offer(self.node.chain.locks())

    async def _offer(self, locks: Iterable[Announced]) -> None:
        """Announce those of `locks` that this peer wishes to hear of."""
        kinds = (InvType.CHAINLOCK, InvType.INSTANTSEND_LOCK) if self.greeting.relay else (InvType.CHAINLOCK,)
        offered = tuple([InvItem(lock.inv_type, lock.hash) for lock in locks if lock.inv_type in kinds])
        if offered and self.node.locks:
            await self._send_quietly(Inv(offered))

    async def _answer(self, request: Message) -> None:
        chain, version = self.node.chain, self.wire.version
        check_offered(request, self.node.identity.services)
        given = answer(chain, request, version)
        if given is None or (isinstance(request, Mempool) and not self.node.locks):
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
