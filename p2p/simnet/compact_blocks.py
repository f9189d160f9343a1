"""Blocks as dashd announces them to peers who wish it: by the short ids of their transactions [BIP152, version 1].

A short id is the lower six bytes of SipHash-2-4 of the txid, with a key made of the header and a nonce. The coinbase is
sent along, since nobody can have it yet.
"""

from __future__ import annotations

import hashlib

from phasegate.consensus.codec import u64
from phasegate.consensus.filters import siphash
from phasegate.consensus.primitives import Block
from phasegate.p2p.messages import CmpctBlock
from phasegate.p2p.messages_chain import PrefilledTx


def compact_block(block: Block, nonce: int) -> CmpctBlock:
    """The announcement of `block`; `nonce` has 64 bits."""
    coinbase, *others = block.transactions
    short_ids = b"".join([short_id(block, nonce, tx.txid) for tx in others])
    return CmpctBlock(block.header, nonce, short_ids, (PrefilledTx(0, coinbase),))


def short_id(block: Block, nonce: int, txid: bytes) -> bytes:
    """The 6 bytes that stand for `txid` (wire order) in the announcement of `block` with this nonce."""
    key = hashlib.sha256(block.header.to_bytes() + u64(nonce)).digest()
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    return siphash(k0, k1, txid).to_bytes(8, "little")[:6]
