"""How new blocks are told of: by an inv of the tip, by their headers, by compressed headers, or by compact blocks.

dashd announces headers only to who has the block before them and wished it, and never more than eight; a longer burst
is an inv of the tip. A node may be told to use one form with everybody, wished or not; a burst stays an inv.
"""

from __future__ import annotations

from collections.abc import Sequence

from phasegate.consensus.primitives import Block
from phasegate.p2p.compressed import compress
from phasegate.p2p.messages import Headers, Inv, InvItem, InvType, Message
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.compact_blocks import compact_block
from phasegate.p2p.simnet.greeting import Greeting

MAX_HEADERS_ANNOUNCED = 8
INV, HEADERS, HEADERS2, CMPCTBLOCK = FORMS = ("inv", "headers", "headers2", "cmpctblock")


def wished_form(greeting: Greeting) -> str:
    """The form in which this peer wishes to hear of blocks that follow what it has."""
    return HEADERS2 if greeting.wants_headers2 else HEADERS if greeting.wants_headers else INV


def announcement(chain: SimulatedChain, first: int, form: str, nonce: int) -> Sequence[Message]:
    """The messages that tell of the blocks from height `first` to the tip.

    Args:
        chain: whose blocks they are.
        first: the height of the first new one.
        form: one of `FORMS`.
        nonce: of compact blocks; 64 bits.
    """
    raw = chain.headers(first, chain.height - first + 1)
    if form == HEADERS2:
        return [compress(raw, announcement=True)]
    if form == HEADERS:
        return [Headers(raw)]
    if form == CMPCTBLOCK:
        blocks = [chain.block(height) or b"" for height in range(first, chain.height + 1)]
        return [compact_block(Block.from_bytes(block), nonce) for block in blocks]
    return [Inv((InvItem(InvType.BLOCK, chain.tip_hash),))]
