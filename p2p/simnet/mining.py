"""Finding a nonce: the one costly step of a generated chain.

At the simnet limit (2^250) a block takes 64 hashes on average, most of the time a chain needs. The loop packs the 76
fixed bytes once and hashes nothing else.
"""

from __future__ import annotations

from phasegate.consensus.codec import u32
from phasegate.consensus.x11 import x11


def mine(prefix: bytes, target: int) -> tuple[bytes, bytes]:
    """The first header at or below `target`, counting nonces from 0.

    Args:
        prefix: the header without its nonce: 76 bytes.
        target: the greatest hash allowed, as a number.

    Returns:
        The 80-byte header and its hash, 32 bytes in wire order.
    """
    top = target >> 248
    for nonce in range(1 << 32):
        header = prefix + u32(nonce)
        found = x11(header)
        if found[31] <= top and int.from_bytes(found, "little") <= target:
            return header, found
    raise ValueError("no nonce meets the target")


def mine_miss(prefix: bytes, target: int) -> bytes:
    """The first header above `target`, counting nonces from 0: what a liar sends."""
    for nonce in range(1 << 32):
        header = prefix + u32(nonce)
        if int.from_bytes(x11(header), "little") > target:
            return header
    raise ValueError("every nonce meets the target")
