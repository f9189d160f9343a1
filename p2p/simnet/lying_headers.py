"""Headers that break one rule and keep the others, plain and compressed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from phasegate.consensus.codec import u32
from phasegate.consensus.headers import compact_to_target, target_to_compact
from phasegate.consensus.primitives import BlockHeader
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.p2p.compressed import BITS, PREV, TIME, VERSION_MASK, Headers2, compress
from phasegate.p2p.messages import Headers
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.mining import mine, mine_miss

Forgery = Callable[[SimulatedChain, int], bytes]
"""Makes the 80-byte header to be told at a height instead of the honest one."""


def missed(chain: SimulatedChain, height: int) -> bytes:
    """The honest header with a nonce whose hash is above its target."""
    honest = chain.header(height)
    return _missed(honest)


def unlinked(chain: SimulatedChain, height: int) -> bytes:
    """A header mined on a block that does not exist."""
    honest = chain.header(height)
    return _mined(honest[:4] + bytes((honest[4] ^ 0xFF,)) + honest[5:])


def too_hard(chain: SimulatedChain, height: int) -> bytes:
    """A header whose bits ask for twice the work, and which has it."""
    honest = chain.header(height)
    bits = target_to_compact(compact_to_target(BlockHeader.from_bytes(honest).bits) // 2)
    return _mined(honest[:72] + u32(bits) + honest[76:])


@lru_cache(maxsize=64)
def _missed(header: bytes) -> bytes:
    return mine_miss(header[:76], compact_to_target(BlockHeader.from_bytes(header).bits))


@lru_cache(maxsize=64)
def _mined(header: bytes) -> bytes:
    return mine(header[:76], compact_to_target(BlockHeader.from_bytes(header).bits))[0]


def plain(message: Headers, index: int, forged: bytes) -> Headers:
    """The message with its `index`-th header replaced."""
    return Headers(_replaced(message.raw, index, forged))


def compressed(raw: bytes, index: int, forged: bytes) -> Headers2:
    """Honest headers, the `index`-th replaced, in a message that expands to exactly these.

    The forged header and the one after it carry their previous hash, which otherwise would be computed.
    """
    headers = _replaced(raw, index, forged)
    message = compress(headers)
    for place in (index, index + 1):
        if 0 < place < message.count:
            message = _with_prev(message, place, headers[place * HEADER_SIZE :][4:36])
    return message


def _replaced(raw: bytes, index: int, forged: bytes) -> bytes:
    start = index * HEADER_SIZE
    return raw[:start] + forged + raw[start + HEADER_SIZE :]


def _with_prev(message: Headers2, index: int, prev: bytes) -> Headers2:
    at = 0
    for _ in range(index):
        at += 1 + _size(message.records[at])
    flags, after = message.records[at], at + 1 + (0 if message.records[at] & VERSION_MASK else 4)
    told = bytes((flags | PREV,)) + message.records[at + 1 : after] + prev
    return Headers2(message.count, message.records[:at] + told + message.records[after:])


def _size(flags: int) -> int:
    """Bytes behind the flags of a record."""
    version, prev = 0 if flags & VERSION_MASK else 4, 32 if flags & PREV else 0
    return version + prev + 32 + (4 if flags & TIME else 2) + (4 if flags & BITS else 0) + 4
