"""Whether a message tells of a block that is not stored: by `inv`, `headers`, `headers2`, `cmpctblock`, or a ChainLock.

How a node announces is its own choice and may change from block to block: Core goes over to `inv` after more than eight
blocks at once. All that is taken from an announcement is that there is news; the walk that follows asks for the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.p2p.compressed import Expansion, Headers2
from phasegate.p2p.messages import ClSig, CmpctBlock, Headers, Inv, InvType, Message

LOCKS = frozenset({"clsig", "isdlock"})
ANSWERS = LOCKS | frozenset(
    {"headers", "headers2", "mnlistdiff", "qrinfo", "cfheaders", "cfilter", "cfcheckpt", "block", "notfound", "tx"}
)
"""Messages that only make sense as the answer to a request of ours; a lock is as good when nobody asked for it."""

ANNOUNCED = 16
"""The newest items of one announcement, which are looked up; nodes announce their tip last."""


def announces_news(message: Message, known: Callable[[bytes], bool]) -> bool:
    """Whether `message` announces a block that is not `known` (by its hash, wire order)."""
    if isinstance(message, Inv):
        blocks = [item.hash for item in message.items[-ANNOUNCED:] if item.type == InvType.BLOCK]
        return not all(map(known, blocks))
    if isinstance(message, Headers) and message.raw:
        return not known(x11(message.raw[-HEADER_SIZE:]))
    if isinstance(message, Headers2):
        return _compressed_news(message, known)
    if isinstance(message, CmpctBlock):
        return not known(x11(message.header.to_bytes()))
    return isinstance(message, ClSig) and not known(message.block_hash)


def _compressed_news(message: Headers2, known: Callable[[bytes], bool]) -> bool:
    """As for plain headers; more of them than any announcement has, or unreadable ones, are no announcement."""
    if not 0 < message.count <= ANNOUNCED:
        return False
    try:
        _, hashes = Expansion(message).take(message.count)
    except PeerMisbehaved:
        return False
    return not known(hashes[-32:])
