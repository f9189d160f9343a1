"""One peer: a `PeerChart` executed by the interpreter, around one connection.

The chart says what may follow what; the activities here open the stream, shake hands, carry messages both ways and
close. What comes in goes to the pool, which knows whose business it is, and what nobody asked for is paid for out of an
allowance (`engine/chatter.py`). What goes out passes a bounded queue with one writer (`engine/outgoing.py`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.engine.chatter import Chatter
from phasegate.engine.config import Address, Limits
from phasegate.engine.errors import leaves
from phasegate.engine.interpreter import Bindings, Interpreter, Post, Step, activity
from phasegate.engine.keep_alive import KeepAlive
from phasegate.engine.outgoing import Outgoing
from phasegate.engine.recovery import backoff
from phasegate.engine.seams import Seams
from phasegate.p2p.compressed import max_headers2
from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.framing import HEAD_SIZE
from phasegate.p2p.handshake import Handshake, HandshakeRefused, PeerInfo, agent_on, devnet_name, our_version
from phasegate.p2p.messages import Message, Ping, Pong, Services
from phasegate.p2p.proxy import ProxyFailed
from phasegate.statecharts.peer import PeerChart, PeerFacts

if TYPE_CHECKING:
    from phasegate.consensus.params import Network

LOG = logging.getLogger("phasegate.peers")
"""Tells how connections come and go; it is for the program to listen, nothing is set up here."""
CLOSING_TIME = 1.0
"""Seconds a connection may take to close."""


class Role(Enum):
    """What a connection is for; a seed is only asked for addresses."""

    CONFIGURED = "configured"
    OUTBOUND = "outbound"
    FEELER = "feeler"
    SEED = "seed"


@attrs.frozen
class PeerContext:
    """What every peer of a pool shares.

    `on_message` tells whether the message was asked for, `on_run` how many of the first of a run were, `awaits_runs`
    whether any could have been. `relay`: peers are asked to announce transactions and InstantSend locks. `gossip`:
    addresses are wanted, in the newer form [BIP155].
    """

    network: Network
    limits: Limits
    seams: Seams
    our_height: Callable[[], int]
    on_message: Callable[[Peer, Message], bool]
    on_ready: Callable[[Peer], None]
    on_gone: Callable[[Peer], None]
    relay: bool = False
    gossip: bool = False
    on_run: Callable[[Peer, CFilterRun], int] = lambda _peer, _run: 0
    awaits_runs: Callable[[Peer], bool] = lambda _peer: False


class Peer:
    """A connection to one address, from the attempt to connect until it is closed.

    `gone` says why the peer can no longer be asked ("" while it can), `fault` what it did wrong if it did, `answers`
    how many of our requests it has answered, `ready_at` since when (Trio's time) it could be asked, `news_at` when it
    last announced a block that was news, `unreached_by_proxy` whether the proxy, and not the node, was to blame.
    `last_size` are the bytes of the message that is being taken, with its head; 0 for a run of filters.
    """

    last_size = 0

    def __init__(self, address: Address, context: PeerContext, role: Role = Role.CONFIGURED) -> None:
        self.address = address
        self.role = role
        self.info: PeerInfo | None = None
        self.gone = ""
        self.refusal = ""
        self.fault: PeerMisbehaved | None = None
        self.was_ready = False
        self.ready_at = 0.0
        self.news_at = float("-inf")
        self.unreached_by_proxy = False
        self.answers = 0
        self._bindings = _PeerBindings(self, context)
        self._interpreter = self._executed(self._bindings)

    def _executed(self, bindings: _PeerBindings) -> Interpreter[PeerFacts]:
        """What executes the life of this connection."""
        return Interpreter(PeerChart, bindings.model, bindings)

    def __str__(self) -> str:
        return str(self.address)

    def __repr__(self) -> str:
        return f"<Peer {self.address} {self.state}>"

    @property
    def state(self) -> str:
        """The active state of the peer's chart."""
        return self._interpreter.leaf

    @property
    def bytes_in(self) -> int:
        """Bytes received on this connection."""
        connection = self._bindings.connection
        return 0 if connection is None else connection.bytes_in

    def arriving(self, command: str) -> int:
        """Bytes received so far of a message of that name that is not whole yet."""
        connection = self._bindings.connection
        return 0 if connection is None else connection.arriving(command)

    @property
    def required_services(self) -> int:
        """Without which this peer is refused: who is only asked for addresses needs none."""
        return Services.NETWORK if self.role in (Role.CONFIGURED, Role.OUTBOUND) else 0

    @property
    def serves_filters(self) -> bool:
        """Whether the peer announced compact filters (BIP157 service bit 64)."""
        return self.info is not None and bool(self.info.services & Services.COMPACT_FILTERS)

    @property
    def compressed_limit(self) -> int:
        """How many headers a full `headers2` of this peer has; 0 when it announced none (service bit 2048)."""
        if self.info is None or not self.info.services & Services.HEADERS_COMPRESSED:
            return 0
        return max_headers2(self.info.negotiated)

    @property
    def start_height(self) -> int:
        """The height that the peer announced in its version message; a hint, never a fact."""
        return 0 if self.info is None else self.info.start_height

    @property
    def throttled(self) -> float:
        """Seconds for which this peer was read more slowly than it talked."""
        return self._bindings.chatter.throttled

    async def send(self, message: Message) -> None:
        """Queue a message for this peer; waits while its queue is full."""
        await self._bindings.outgoing.put(message, self._size(message))

    def send_nowait(self, message: Message) -> bool:
        """Queue a message for this peer if its queue has room; whether it had."""
        return self._bindings.outgoing.put_nowait(message, self._size(message))

    def _size(self, message: Message) -> int:
        connection = self._bindings.connection
        return 0 if connection is None else len(message.to_payload(connection.version))

    def probe(self) -> None:
        """Have the peer prove soon that it is still there, or lose it."""
        self._bindings.keep_alive.probe()

    def leave(self, why: str, fault: PeerMisbehaved | None = None) -> None:
        """Stop asking this peer, now, and have its connection closed."""
        self.gone, self.fault = self.gone or why, self.fault or fault
        self._interpreter.post_nowait("close", why)

    async def run(self) -> None:
        """Live through one connection, and leave none open, cancelled or not."""
        try:
            await self._interpreter.run()
        finally:
            if (connection := self._bindings.connection) is not None:
                await connection.aclose()


@attrs.define(slots=False)  # the library keeps its configuration on the model
class _PeerModel:
    """The guards of `PeerChart`."""

    acceptable: bool = False


class _PeerBindings(Bindings):
    """The activities of `PeerChart`."""

    def __init__(self, peer: Peer, context: PeerContext) -> None:
        super().__init__()
        self.model = _PeerModel()
        self.connection: Connection | None = None
        self._peer = peer
        self._context = context
        self.outgoing = Outgoing()
        self.chatter = Chatter(context.limits)
        self.keep_alive = KeepAlive(context.limits, context.seams.random, peer.send, lambda: peer.bytes_in)

    def classify(self, state: str, error: Exception) -> Post | None:
        """A peer that misbehaves, a connection that breaks or does not open: the peer is lost, with the reason."""
        causes = leaves(error)
        if not all(isinstance(cause, (PeerMisbehaved, ConnectionLost, OSError)) for cause in causes):
            return None
        self._peer.unreached_by_proxy = any(isinstance(cause, ProxyFailed) for cause in causes)
        lies = [cause for cause in causes if isinstance(cause, PeerMisbehaved)]
        self._peer.fault = self._peer.fault or next(iter(lies), None)
        return Post("lost", str(lies[0]) if lies else why_lost(state, causes[0]))

    async def report(self, step: Step) -> None:
        """Keep the reason of the end, and tell the log and the pool."""
        known = {"event": "peer", "network": self._context.network.file_name, "peer": str(self._peer)}
        LOG.debug("peer %s is %s%s", self._peer, step.target, f": {step.reason}" if step.reason else "", extra=known)
        if step.target == "closing":
            self._peer.gone = self._peer.gone or step.reason or self._peer.refusal or "closed"
            self._context.on_gone(self._peer)

    @activity(then="connected")
    async def open_stream(self) -> None:
        address, limits = self._peer.address, self._context.limits
        with trio.move_on_after(limits.connect_timeout) as patience:
            stream = await self._context.seams.open_stream(address.host, address.port)
            self.connection = Connection(stream, self._context.network.magic, compute=self._context.seams.compute)
        if patience.cancelled_caught:
            raise OSError(f"no connection within {limits.connect_timeout:g} s")

    @activity(then="greeted")
    async def shake_hands(self) -> None:
        with trio.move_on_after(self._context.limits.handshake_timeout) as patience:
            try:
                await self._greet(self._open())
            except HandshakeRefused as refused:
                self._peer.refusal = str(refused)
        if patience.cancelled_caught:
            self._peer.refusal = f"no handshake within {self._context.limits.handshake_timeout:g} s"

    async def _greet(self, connection: Connection) -> None:
        seams, network = self._context.seams, self._context.network
        ours = our_version(
            time=int(seams.now()),
            nonce=seams.random.getrandbits(64),
            start_height=self._context.our_height(),
            relay=self._context.relay and self._peer.role is not Role.FEELER,
            user_agent=agent_on(network),
        )
        handshake = Handshake(ours, self._context.gossip, self._peer.required_services, devnet=devnet_name(network))
        for message in handshake.start():
            await connection.send(message)
        while not handshake.complete:
            for message in handshake.receive(await connection.receive()):
                await connection.send(message)
        self._peer.info = handshake.peer
        connection.version = handshake.peer.negotiated
        self.model.acceptable = True

    @activity()
    async def serve(self) -> None:
        self._peer.was_ready = True
        self._peer.ready_at = trio.current_time()
        self._context.on_ready(self._peer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self.keep_alive.run)
            await self._read()

    async def _read(self) -> None:
        connection = self._open()
        while True:
            received = await connection.receive_some(lambda: self._context.awaits_runs(self._peer))
            if isinstance(received, CFilterRun):
                await self._take_run(received)
            else:
                await self._take(received, connection.last_size)

    async def _take(self, message: Message, size: int) -> None:
        self._peer.last_size = size
        if not await self._asked_for(message):
            await trio.sleep(self.chatter.spend(size, trio.current_time()))

    async def _take_run(self, run: CFilterRun) -> None:
        """Take filters that came together: those that nobody awaits together one by one."""
        while run:
            taken = 0 if self._peer.gone else self._context.on_run(self._peer, run)
            if not taken:
                message = run.message(0)
                await self._take(message, HEAD_SIZE + len(message.to_bytes()))
            run = run.part(taken or 1, len(run))

    async def _asked_for(self, message: Message) -> bool:
        """Take a message; whether it is an answer to something of ours."""
        if isinstance(message, Ping):
            await self._peer.send(Pong(message.nonce))
            return False
        if isinstance(message, Pong):
            return self.keep_alive.take(message)
        return not self._peer.gone and self._context.on_message(self._peer, message)

    async def _write(self) -> None:
        connection = self._open()
        while True:
            await connection.send(await self.outgoing.take())

    @activity(then="done")
    async def close_stream(self) -> None:
        if self.connection is not None:
            with trio.move_on_after(CLOSING_TIME):
                await self.connection.aclose()

    def _open(self) -> Connection:
        assert self.connection is not None, "the chart connects before it talks"  # noqa: S101 - mypy is told what the chart guarantees
        return self.connection


def why_lost(state: str, error: BaseException) -> str:
    """Why a connection is lost in a state of the peer's chart, in words that help whoever gave the address."""
    line = str(error) or type(error).__name__
    if state == "handshaking" and isinstance(error, ConnectionLost):
        return f"{line} during the handshake, as a node of another network does"
    if isinstance(error, OSError) and error.__cause__ is not None:  # happy eyeballs: each attempt has its own reason
        causes = leaves(error.__cause__)
        reasons = {os.strerror(cause.errno) for cause in causes if isinstance(cause, OSError) and cause.errno}
        reasons = {reason for reason in reasons if reason not in line}
        return f"{line}: {', '.join(sorted(reasons))}" if reasons else line
    return line


def reconnect_delay(attempt: int, limits: Limits, seams: Seams, cap: float | None = None) -> float:
    """Seconds before the `attempt`-th reconnection (from 1): doubled up to `cap`, with jitter."""
    return backoff(attempt, limits.reconnect_first, limits.reconnect_cap if cap is None else cap, seams.random)
