"""Finding a nonce: the one costly step of a generated chain.

At the simnet limit (2^250) a block takes 64 hashes on average, most of the time a chain needs. Where that is worth it
the nonces are counted by compiled code (`grinding`), which finds the same one.
"""

from __future__ import annotations

from phasegate.consensus.codec import u32
from phasegate.consensus.compiled import worth_compiling
from phasegate.consensus.x11 import x11


def mine(prefix: bytes, target: int) -> tuple[bytes, bytes]:
    """The first header at or below `target`, counting nonces from 0.

    Args:
        prefix: the header without its nonce: 76 bytes.
        target: the greatest hash allowed, as a number.

    Returns:
        The 80-byte header and its hash, 32 bytes in wire order.
    """
    if not worth_compiling((1 << 256) // (target + 1)):
        return mine_plainly(prefix, target)
    from phasegate.p2p.simnet.grinding import grind

    return grind(prefix, target)


def mine_plainly(prefix: bytes, target: int) -> tuple[bytes, bytes]:
    """As `mine`, nonce by nonce in Python."""
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
