"""A Dash node made of a chain: it shakes hands, announces, answers, punishes and keeps silent as dashd does.

`Node.serve` listens on TCP, `Node.handle` takes one connection over any stream. A node may be told to be weak (to wait,
to answer slowly, to fall silent, to hang up) or to misbehave (to lie, to flood); else it is as honest as its chain.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable

import attrs
import trio
from attrs.validators import in_, optional

from phasegate.p2p.messages import AddressV2
from phasegate.p2p.simnet.announcing import FORMS
from phasegate.p2p.simnet.chain import Announced, SimulatedChain, last_shared_height
from phasegate.p2p.simnet.conversation import Conversation
from phasegate.p2p.simnet.flood import Flood
from phasegate.p2p.simnet.gossip import CORE_SHARE, Selection
from phasegate.p2p.simnet.greeting import Identity
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.memory_pool import MemoryPool
from phasegate.p2p.simnet.request_log import RequestLog
from phasegate.p2p.simnet.wire import Wire


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
        known: the addresses it tells of; `address`, if given, is its own and told with them.
        share: how many in a hundred of the known addresses it tells.
        refuse_getaddr: tell no addresses at all.
        flood: junk to send from the handshake on, while it answers.
        stall_after: on each connection, answer so many requests (pings not counted) and then nothing.
        trickle: bytes a second that the line takes after the handshake.
        hang_up_after: seconds after which it closes a connection.
        announce_by: tell of blocks in this one of `announcing.FORMS`, whatever the peer wishes.
        pool: the transactions that wait to be mined, its own or that of several nodes.
        refuse_txs: take no transaction, without a word.
        tx_delay: seconds before it asks for a transaction, and before it tells of one.
        rng: the chance in what it says.
        now: the wall clock, in seconds since 1970.

    Attributes:
        told_lies: how many answers with something false in them have been sent.
    """

    chain: SimulatedChain
    log: RequestLog | None = attrs.field(default=None, kw_only=True)
    lie: Lie | None = attrs.field(default=None, kw_only=True)
    delay: float = attrs.field(default=0.0, kw_only=True)
    silent: bool = attrs.field(default=False, kw_only=True)
    locks: bool = attrs.field(default=True, kw_only=True)
    identity: Identity = attrs.field(factory=Identity, kw_only=True)
    known: tuple[AddressV2, ...] = attrs.field(default=(), kw_only=True)
    address: AddressV2 | None = attrs.field(default=None, kw_only=True)
    share: int = attrs.field(default=CORE_SHARE, kw_only=True)
    refuse_getaddr: bool = attrs.field(default=False, kw_only=True)
    flood: Flood | None = attrs.field(default=None, kw_only=True)
    stall_after: int | None = attrs.field(default=None, kw_only=True)
    trickle: float | None = attrs.field(default=None, kw_only=True)
    hang_up_after: float | None = attrs.field(default=None, kw_only=True)
    announce_by: str | None = attrs.field(default=None, validator=optional(in_(FORMS)), kw_only=True)
    pool: MemoryPool = attrs.field(factory=MemoryPool, kw_only=True)
    refuse_txs: bool = attrs.field(default=False, kw_only=True)
    tx_delay: float = attrs.field(default=2.0, kw_only=True)
    rng: random.Random = attrs.field(factory=random.Random, kw_only=True)
    now: Callable[[], float] = attrs.field(default=time.time, kw_only=True)
    told_lies: int = attrs.field(default=0, init=False)
    _peers: list[Conversation] = attrs.field(factory=list, init=False)
    _selection: Selection | None = attrs.field(default=None, init=False)

    @property
    def peers(self) -> int:
        """How many peers have completed the handshake and are still there."""
        return len(self._ready())

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
        peer = Conversation(self, Wire(stream, self.chain.network.magic))
        self._peers.append(peer)
        try:
            with trio.move_on_after(math.inf if self.hang_up_after is None else self.hang_up_after):
                await peer.run()
        finally:
            self._peers.remove(peer)
            await peer.wire.aclose()

    async def announce(self, blocks: int) -> None:
        """Tell every peer of the newest `blocks` blocks and of their locks; what they hold waits no more."""
        self.pool.settle(self.chain, range(self.chain.height - blocks + 1, self.chain.height + 1))
        for peer in self._ready():
            await peer.announce(blocks)

    async def switch(self, chain: SimulatedChain) -> None:
        """Go over to another chain, as after a reorganisation, and tell every peer of the blocks that are new."""
        fork = last_shared_height(self.chain, chain)
        self.chain = chain
        self.pool.reorganised(fork)
        for peer in self._peers:
            peer.forget_above(fork)
        await self.announce(chain.height - fork)

    async def offer(self, locks: Iterable[Announced]) -> None:
        """Tell every peer of these locks, if it wishes to hear of their kind."""
        offered = tuple(locks)
        for peer in self._ready():
            await peer.tell_locks(offered)

    async def gossip(self, addresses: Iterable[AddressV2]) -> None:
        """Tell addresses, unasked, to every peer that has asked for or told some: dashd tells nobody else."""
        told = tuple(addresses)
        for peer in self._ready():
            if peer.gossips:
                await peer.tell_addresses(told)

    def addresses(self) -> tuple[AddressV2, ...]:
        """What it tells who asks for addresses; the same for about a day, unless `known` is set anew."""
        if self._selection is None or not self._selection.holds(self.known):
            self._selection = Selection.draw(self.known, self.share, self.rng)
        return self._selection.told if self.address is None else (*self._selection.told[:999], self.address)

    def _ready(self) -> list[Conversation]:
        return [peer for peer in self._peers if peer.greeting.complete]
