"""The handshake, sans I/O: our version, theirs, what we wish, verack both ways.

Our order is that of Core: version; on the peer's version sendaddrv2 (if wished) and verack; complete with the peer's
verack, which may come before ours is out. What else comes before is ignored, as dashd does, but not without end.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import DEVNET, Network
from phasegate.p2p.messages import Message, SendAddrV2, Services, Verack, Version

PROTOCOL_VERSION = 70240
MIN_PROTOCOL = 70230
"""Older peers send masternode lists whose entries cannot be told apart, and diffs without quorumsCLSigs."""

USER_AGENT = "/phasegate:0.1.0/"
MAX_IGNORED = 100
"""Messages before the end of the handshake; an honest peer sends a handful."""


class HandshakeRefused(Exception):
    """A peer that we do not want, though it did nothing wrong; the text says why."""


@attrs.frozen
class PeerInfo:
    """What a peer said of itself: `negotiated` is the protocol version both sides speak from now on.

    `user_agent` has only printable ASCII; `addrv2` tells whether the peer wishes addresses in that form.
    """

    version: int
    services: int
    user_agent: str
    start_height: int
    relay: bool
    negotiated: int
    addrv2: bool = False


def devnet_name(network: Network) -> str:
    """What user agents on a devnet contain (Core net_processing.cpp, `devnet.<name>`); "" on any other network."""
    return f"devnet.{network.file_name}" if network.name == DEVNET.name else ""


def agent_on(network: Network) -> str:
    """Our user agent on `network`."""
    name = devnet_name(network)
    return f"{USER_AGENT[:-1]}({name})/" if name else USER_AGENT


def our_version(
    *,
    nonce: int,
    time: int,
    start_height: int = 0,
    services: int = 0,
    relay: bool = False,
    user_agent: str = USER_AGENT,
    protocol: int = PROTOCOL_VERSION,
) -> Version:
    """The greeting of a light client: no addresses told, a null mnauth challenge, no masternode.

    Args:
        nonce: random, 64 bits; by it we know ourselves again.
        time: seconds since 1970.
        start_height: our tip.
        services: `Services` we offer, 0 or HEADERS_COMPRESSED.
        relay: whether transactions and InstantSend locks are wished.
        user_agent: at most 256 Latin-1 characters.
        protocol: the newest version we speak.
    """
    return Version(
        version=protocol,
        services=services,
        time=time,
        my_services=services,
        nonce=nonce,
        user_agent=user_agent,
        start_height=start_height,
        relay=relay,
    )


class Handshake:
    """One handshake that we open.

    Args:
        ours: our version message, of a nonce nobody else has.
        want_addrv2: whether to wish for addresses in that form.
        required_services: `Services` without which the peer is of no use.
        devnet: what the user agents of both sides must contain, "" for other networks.
    """

    def __init__(
        self,
        ours: Version,
        want_addrv2: bool = False,
        required_services: int = Services.NETWORK,
        devnet: str = "",
    ) -> None:
        self._ours = ours
        self._want_addrv2 = want_addrv2
        self._required = required_services
        self._devnet = devnet
        self._theirs: Version | None = None
        self._verack = False
        self._addrv2 = False
        self._ignored = 0

    def start(self) -> Sequence[Message]:
        """What to send first."""
        return [self._ours]

    @property
    def complete(self) -> bool:
        """Whether both sides have said version and verack."""
        return self._theirs is not None and self._verack

    @property
    def peer(self) -> PeerInfo:
        """What the peer said of itself.

        Raises:
            RuntimeError: it has not said it yet.
        """
        if self._theirs is None:
            raise RuntimeError("the peer has sent no version yet")
        them = self._theirs
        return PeerInfo(
            version=them.version,
            services=them.services,
            user_agent=_printable(them.user_agent),
            start_height=them.start_height,
            relay=them.relay,
            negotiated=min(self._ours.version, them.version),
            addrv2=self._addrv2,
        )

    def receive(self, message: Message) -> Sequence[Message]:
        """Take the peer's next message and say what to send; nothing once complete.

        Raises:
            HandshakeRefused: the peer is too old, is ourselves, is of another devnet, or lacks a service we need.
            PeerMisbehaved: HANDSHAKE_BROKEN, when it talks on and on without greeting.
        """
        if self.complete:
            return []
        if isinstance(message, Version) and self._theirs is None:
            return self._greeted(message)
        if isinstance(message, Verack) and self._theirs is not None:
            self._verack = True
        elif isinstance(message, SendAddrV2) and self._theirs is not None:
            self._addrv2 = True
        else:
            self._ignore()
        return []

    def _greeted(self, theirs: Version) -> Sequence[Message]:
        if theirs.nonce == self._ours.nonce != 0:
            raise HandshakeRefused("connected to ourselves")
        if theirs.version < MIN_PROTOCOL:
            raise HandshakeRefused(f"peer speaks protocol {theirs.version}, we need {MIN_PROTOCOL} or newer")
        if missing := self._required & ~theirs.services:
            raise HandshakeRefused(f"peer does not offer {Services(missing).name or hex(missing)}")
        if self._devnet not in theirs.user_agent:
            raise HandshakeRefused(f"peer is not of {self._devnet}: it calls itself {_printable(theirs.user_agent)}")
        self._theirs = theirs
        return [SendAddrV2(), Verack()] if self._want_addrv2 else [Verack()]

    def _ignore(self) -> None:
        self._ignored += 1
        if self._ignored > MAX_IGNORED:
            raise PeerMisbehaved(Fault.HANDSHAKE_BROKEN, f"{self._ignored} messages before its end")


def _printable(text: str) -> str:
    """The text with everything but printable ASCII replaced, safe for logs and terminals."""
    return "".join([c if " " <= c <= "~" else "?" for c in text])
