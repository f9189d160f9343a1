"""What is remembered of peers between runs, and what is still to be broadcast: the rows, and the changes to them.

All of it is hints: it stands beside the chain, no roll-back takes it and no digest knows it. An address is a host as
plain text (a name, an IPv4, IPv6, onion or I2P address; at most 255 printable characters) and a port (0 to 65535).
Times are seconds since 1970 and finite. A row that does not fit raises ValueError, as for any change.
"""

from __future__ import annotations

import attrs

Address = tuple[str, int]


@attrs.frozen
class PeerRow:
    """One address of the address book.

    Args:
        host: of the peer.
        port: of the peer.
        source: who told of it, at most 255 characters.
        services: the service bits that it is said to have, 64 of them.
        seen: when it was last told of or connected.
        tried: when a connection was last begun, 0.0 for never.
        succeeded: when a handshake was last completed, 0.0 for never.
        attempts: tries since then.
        in_tried: it stands in the tried part of the book, not in the new one.
    """

    host: str
    port: int
    source: str
    services: int
    seen: float
    tried: float
    succeeded: float
    attempts: int
    in_tried: bool


@attrs.frozen
class PutPeers:
    """Addresses to remember; each replaces the row of its host and port. Those seen last stay, 100,000 of them."""

    rows: tuple[PeerRow, ...]


@attrs.frozen
class ForgetPeers:
    """Addresses to forget; unknown ones are ignored."""

    addresses: tuple[Address, ...]


@attrs.frozen
class SetPeerKey:
    """The 32 secret bytes by which the address book chooses its buckets; they are made once and never replaced."""

    key: bytes


@attrs.frozen
class SetAnchors:
    """The peers to go back to first in the next run, in this order, at most 8; they replace the earlier ones."""

    addresses: tuple[Address, ...]


@attrs.frozen
class ReputationRow:
    """What a peer did.

    Args:
        host: of the peer.
        port: of the peer, 0 for every port of the host.
        score: its penalty points.
        time: when the score was that.
        banned_until: when its ban ends, 0.0 when there is none.
        reason: of the last penalty, at most 255 characters.
        detail: what it was in words; the first 500 characters are kept.
    """

    host: str
    port: int
    score: float
    time: float
    banned_until: float
    reason: str
    detail: str


@attrs.frozen
class PutReputation:
    """A reputation to remember; it replaces the row of its host and port. 10,000 stay.

    First go those whose ban is over at the time of this row, the oldest first; then the oldest bans.
    """

    row: ReputationRow


@attrs.frozen
class ForgetReputation:
    """The reputation of one address to forget; an unknown one is ignored."""

    host: str
    port: int


@attrs.frozen
class BroadcastRow:
    """A transaction of the user on its way to the network.

    Args:
        txid: its hash.
        raw: its bytes, at most 1,000,000.
        added: when the user gave it.
        announced: when it was last announced, 0.0 for never.
        state: how far it has come, at most 255 characters.
    """

    txid: bytes
    raw: bytes
    added: float
    announced: float
    state: str


@attrs.frozen
class PutBroadcast:
    """A transaction to remember; it replaces the row of its txid. The 1000 added last stay."""

    row: BroadcastRow


@attrs.frozen
class ForgetBroadcast:
    """A transaction to forget; an unknown one is ignored."""

    txid: bytes


PeerChange = (
    PutPeers | ForgetPeers | SetPeerKey | SetAnchors | PutReputation | ForgetReputation | PutBroadcast | ForgetBroadcast
)
