"""One connection, seen from the node: greeting, requests and their answers, what is said unasked, and misbehaviour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.p2p.messages import (
    Addr,
    AddressV2,
    AddrV2,
    CFCheckpt,
    CFHeaders,
    GetAddr,
    GetData,
    GetHeaders,
    GetHeaders2,
    Headers,
    Headers2,
    Inv,
    InvItem,
    InvType,
    Mempool,
    Message,
    Ping,
    TxMessage,
)
from phasegate.p2p.simnet.announcing import INV, MAX_HEADERS_ANNOUNCED, announcement, wished_form
from phasegate.p2p.simnet.answers import Answer, Punished, answer, check_offered
from phasegate.p2p.simnet.chain import Announced, SimulatedChain
from phasegate.p2p.simnet.flood import MEMORY_RATE, Flood
from phasegate.p2p.simnet.gossip import address_message
from phasegate.p2p.simnet.greeting import Greeting
from phasegate.p2p.simnet.pool_answers import pool_inventory, with_transactions
from phasegate.p2p.simnet.tx_relay import TxRelay
from phasegate.p2p.simnet.wire import Gone, Wire

if TYPE_CHECKING:
    from phasegate.p2p.simnet.node import Node

HANDSHAKE_TIMEOUT = 60.0
PING_INTERVAL = 120.0
SILENCE_LIMIT = 1200.0
MAX_BLOCKS_OF_LOCKS = 100
"""Of so many of the newest blocks the locks are announced; nobody has waited for older ones."""


@attrs.define(eq=False)
class Conversation:
    """A peer of `node` at the other end of `wire`."""

    node: Node
    wire: Wire
    greeting: Greeting = attrs.field(init=False)
    gossips: bool = attrs.field(default=False, init=False)
    _asked_addresses: bool = attrs.field(default=False, init=False)
    _answered: int = attrs.field(default=0, init=False)
    _known: int = attrs.field(default=0, init=False)
    _relay: TxRelay = attrs.field(init=False)
    _welcomed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        node = self.node
        self.greeting = Greeting(node.chain.network, node.chain.height, node.identity, node.rng, node.now)
        self._relay = TxRelay(node.pool, self.say, node.tx_delay, node.refuse_txs)

    @property
    def mute(self) -> bool:
        """Whether the node says nothing on this connection, or nothing any more."""
        limit = self.node.stall_after
        return self.node.silent or (limit is not None and self._answered >= limit)

    async def run(self) -> None:
        """Talk until either side ends it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_alive, nursery.cancel_scope)
                nursery.start_soon(self._relay.run)
                if self.node.flood is not None:
                    nursery.start_soon(self._flood, self.node.flood)
                await self._talk()
                nursery.cancel_scope.cancel()
        finally:
            if self._relay in self.node.pool.listeners:
                self.node.pool.listeners.remove(self._relay)

    async def say(self, message: Message) -> None:
        """Send what nobody asked for, unless the node is mute; a peer that has gone misses it."""
        if self.mute:
            return
        try:
            await self.wire.send(message)
        except Gone:
            return

    def forget_above(self, fork: int) -> None:
        """What the peer was told above this height is of another chain now."""
        self._known = min(self._known, fork)

    async def announce(self, blocks: int) -> None:
        """Tell of the newest `blocks` blocks, and of the locks that come with them."""
        chain, heights = self.node.chain, range(self.node.chain.height - blocks + 1, self.node.chain.height + 1)
        locks = [lock for height in heights[-MAX_BLOCKS_OF_LOCKS:] for lock in chain.locks_of(height)]
        await self._offer([lock for lock in locks if lock.inv_type == InvType.INSTANTSEND_LOCK])
        if heights:
            await self._announce_blocks(chain, heights.start, blocks)
        await self._offer([lock for lock in locks if lock.inv_type == InvType.CHAINLOCK][-1:])

    async def tell_addresses(self, addresses: Iterable[AddressV2]) -> None:
        """Gossip these, in the form that the peer wishes."""
        message = address_message(tuple(addresses), addrv2=self.greeting.wants_addrv2)
        if message is not None:
            await self.say(message)

    async def tell_locks(self, locks: Iterable[Announced]) -> None:
        """Announce locks that came by themselves."""
        await self._offer(locks)

    async def _offer(self, locks: Iterable[Announced]) -> None:
        """Announce those of `locks` that this peer wishes to hear of."""
        kinds = (InvType.CHAINLOCK, InvType.INSTANTSEND_LOCK) if self.greeting.relay else (InvType.CHAINLOCK,)
        offered = tuple([InvItem(lock.inv_type, lock.hash) for lock in locks if lock.inv_type in kinds])
        if offered and self.node.locks:
            await self.say(Inv(offered))

    async def _announce_blocks(self, chain: SimulatedChain, first: int, blocks: int) -> None:
        few, forced = blocks <= MAX_HEADERS_ANNOUNCED, self.node.announce_by
        follows = few and (forced is not None or self._known >= first - 1)
        form = (forced or wished_form(self.greeting)) if follows else INV
        for message in announcement(chain, first, form, self.node.rng.getrandbits(64)):
            await self.say(message)
        self._known = max(self._known, chain.height) if follows else self._known

    async def _talk(self) -> None:
        """Read and answer, one message after the other, until the end."""
        try:
            while True:
                await self._take(await self.wire.receive())
        except (Gone, Punished, PeerMisbehaved):
            return

    async def _keep_alive(self, scope: trio.CancelScope) -> None:
        """Drop a peer that does not finish the handshake or says nothing for too long; ping it meanwhile."""
        await trio.sleep(HANDSHAKE_TIMEOUT)
        while self.greeting.complete and trio.current_time() - self.wire.last_heard < SILENCE_LIMIT:
            await trio.sleep(PING_INTERVAL)
            await self.say(self.greeting.ping())
        scope.cancel()

    async def _flood(self, flood: Flood) -> None:
        """Send junk without end, beside everything else."""
        await self._welcomed.wait()
        rate = flood.rate or (None if isinstance(self.wire.stream, trio.SocketStream) else MEMORY_RATE)
        for message in flood.messages(self.node.rng):
            if self.mute:
                return
            await self.say(message)
            await trio.sleep(len(self.wire.framed(message)) / rate if rate else 0)

    async def _take(self, message: Message) -> None:
        if not self.greeting.complete or self.greeting.concerns(message):
            await self._greet(message)
        elif not self.mute:
            await self._hear(message)

    async def _greet(self, message: Message) -> None:
        was_complete = self.greeting.complete
        for reply in self.greeting.receive(message):
            await self.wire.send(reply)
        self.wire.version = self.greeting.version
        if self.greeting.complete and not was_complete:
            await self._welcome()

    async def _welcome(self) -> None:
        self.wire.pace = self.node.trickle
        if self.greeting.relay:
            self.node.pool.listeners.append(self._relay)
        if not self.mute:
            for message in self.greeting.welcome():
                await self.wire.send(message)
            await self._offer(self.node.chain.locks())
        self._welcomed.set()

    async def _hear(self, message: Message) -> None:
        match message:
            case Addr() | AddrV2():
                self.gossips = True
            case Inv():
                self._relay.offered(message)
            case TxMessage(tx):
                self._relay.brought(tx)
            case _:
                await self._answer(message)

    async def _answer(self, request: Message) -> None:
        chain, version = self.node.chain, self.wire.version
        check_offered(request, self.node.identity.services)
        given = self._addresses() if isinstance(request, GetAddr) else self._honest(chain, request)
        if given is None:
            return
        if self.node.delay:
            await trio.sleep(self.node.delay)
        lie = None if isinstance(request, GetAddr) else self.node.lie
        told = given if lie is None else lie.tell(chain, given, version)
        if told is given:
            await self._give(request, given.messages, given)
        else:
            await self._give(request, self._counted(told, self._honest(chain, request)), told)
        self._answered += not isinstance(request, Ping)
        if isinstance(request, GetHeaders | GetHeaders2):
            self._known = max(self._known, given.facts["to"])

    def _honest(self, chain: SimulatedChain, request: Message) -> Answer | None:
        """What an honest node answers; the same each time it is asked of the same chain."""
        node = self.node
        match request:
            case GetData():
                return with_transactions(chain, node.pool, request, self.wire.version)
            case Mempool():
                return pool_inventory(chain, node.pool, transactions=self.greeting.relay, locks=node.locks)
            case _:
                return answer(chain, request, self.wire.version)

    def _addresses(self) -> Answer | None:
        """Addresses, to the first question on a connection."""
        asked, self._asked_addresses, self.gossips = self._asked_addresses, True, True
        if asked or self.node.refuse_getaddr:
            return None
        addresses = self.node.addresses()
        message = address_message(addresses, addrv2=self.greeting.wants_addrv2)
        return None if message is None else Answer([message], facts={"known": len(self.node.known)})

    async def _give(self, request: Message, messages: Iterable[Message], given: Answer) -> None:
        served = 0
        try:
            for message in messages:
                await self.wire.send(message)
                served += _items(message)
        finally:
            if self.node.log is not None and given.facts:
                self.node.log.write(self.wire.name, request.command, given.facts, served)

    def _counted(self, told: Answer, honest: Answer | None) -> Iterator[Message]:
        """The messages of `told`; the node has lied once they are sent and differ from the honest ones."""
        expected, false = iter(honest.messages if honest else ()), False
        for message in told.messages:
            yield message
            different = message != next(expected, None)
            self.node.told_lies += different and not false
            false |= different
        self.node.told_lies += not false and next(expected, None) is not None


def _items(message: Message) -> int:
    """How many things a message brings."""
    match message:
        case Headers() | Headers2():
            return message.count
        case CFHeaders():
            return len(message.hashes) // 32
        case CFCheckpt():
            return len(message.headers) // 32
        case Addr() | AddrV2():
            return len(message.addresses)
        case _:
            return 1
