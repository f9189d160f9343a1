"""The handshake of a node that was called [Core net_processing.cpp, ProcessMessage VERSION and VERACK].

Whatever comes before the version, and whatever else before the verack, is ignored. The node greets as soon as it has
been greeted, and says what it wishes when the caller's verack is there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import attrs

from phasegate.consensus.params import Network
from phasegate.p2p.handshake import devnet_name
from phasegate.p2p.messages import (
    Message,
    Ping,
    SendAddrV2,
    SendCmpct,
    SendDsq,
    SendHeaders,
    SendHeaders2,
    Services,
    Verack,
    Version,
)
from phasegate.p2p.simnet.answers import Punished

PROTOCOL = 70240
OLDEST_PROTOCOL = 70221
ADDRV2_PROTOCOL = 70223
USER_AGENT, COMMENT = "/Dash Core:23.1.0", "phasegate simnet"
SERVICES = (
    Services.NETWORK
    | Services.BLOOM
    | Services.COMPACT_FILTERS
    | Services.NETWORK_LIMITED
    | Services.HEADERS_COMPRESSED
)
_CONCERNED = (Version, Verack, SendAddrV2, SendHeaders, SendHeaders2)


@attrs.frozen
class Identity:
    """What a node says of itself: the newest protocol it speaks, its `Services`, its user agent up to the comment."""

    protocol: int = PROTOCOL
    services: int = SERVICES
    user_agent: str = USER_AGENT


@attrs.define(eq=False)
class Greeting:
    """What both sides have said of themselves so far.

    Attributes:
        network: whose node this is; on a devnet both sides name it.
        height: of the node's tip.
        identity: of the node.
        rng: where nonces come from.
        now: the wall clock, in seconds since 1970.
        version: the protocol both speak, Core's first one until the caller's version is there.
        complete: whether the caller has said version and verack.
        relay: whether the caller wishes transactions and InstantSend locks.
        wants_addrv2: whether it wishes addresses in the form of BIP155.
    """

    network: Network
    height: int
    identity: Identity = attrs.field(factory=Identity)
    rng: random.Random = attrs.field(factory=random.Random)
    now: Callable[[], float] = attrs.field(default=time.time)
    version: int = attrs.field(default=209, init=False)
    complete: bool = attrs.field(default=False, init=False)
    relay: bool = attrs.field(default=False, init=False)
    wants_addrv2: bool = attrs.field(default=False, init=False)
    wants_headers: bool = attrs.field(default=False, init=False)
    wants_headers2: bool = attrs.field(default=False, init=False)
    _their_services: int | None = attrs.field(default=None, init=False)

    def concerns(self, message: Message) -> bool:
        """Whether the message is about the connection rather than the chain."""
        return isinstance(message, _CONCERNED)

    def receive(self, message: Message) -> Sequence[Message]:
        """Take a message and say what to send at once.

        Raises:
            Punished: the caller is too old, of another devnet, says it is a masternode connection, or wishes addrv2
                too late.
        """
        if isinstance(message, Version) and self._their_services is None:
            return self._greeted(message)
        if self._their_services is None:
            return ()
        if isinstance(message, Verack):
            self.complete = True
        elif isinstance(message, SendAddrV2) and self.complete:
            raise Punished("sendaddrv2 after verack")
        elif isinstance(message, SendAddrV2):
            self.wants_addrv2 = True
        elif isinstance(message, SendHeaders):
            self.wants_headers = True
        elif isinstance(message, SendHeaders2):
            self.wants_headers2 = True
        return ()

    def welcome(self) -> Sequence[Message]:
        """What dashd says, unasked, once the handshake is complete."""
        compressed = (self._their_services or 0) & Services.HEADERS_COMPRESSED
        wish = SendHeaders2() if compressed else SendHeaders()
        return [wish, SendCmpct(False, 1), SendDsq(True), self.ping()]

    def ping(self) -> Ping:
        """A ping of a new nonce."""
        return Ping(self.rng.getrandbits(64))

    def _greeted(self, theirs: Version) -> Sequence[Message]:
        if theirs.version < OLDEST_PROTOCOL:
            raise Punished(f"obsolete protocol {theirs.version}")
        if theirs.masternode:
            raise Punished("masternode connection to a node that is none")
        devnet, own = devnet_name(self.network), self.identity
        if devnet not in theirs.user_agent:
            raise Punished(f"caller is not of {devnet}")
        self._their_services = theirs.services
        self.version = min(own.protocol, theirs.version)
        self.relay = theirs.relay
        ours = Version(
            version=own.protocol,
            services=own.services,
            time=int(self.now()),
            my_services=own.services,
            nonce=self.rng.getrandbits(64),
            user_agent=f"{own.user_agent}({devnet or COMMENT})/",
            start_height=self.height,
        )
        wish = [SendAddrV2()] if theirs.version >= ADDRV2_PROTOCOL else []
        return [ours, *wish, Verack()]
