"""Compact block filters [BIP158, in Dash's dialect: Core blockfilter.cpp], and the chain of their headers.

A filter is a Golomb-coded set: every element is hashed by SipHash-2-4 under the block's own key to a number below
N * M, the numbers are sorted, and their differences written with P low bits and a unary quotient. It never misses an
element that is in it; about one in 784,931 others seems to be.

Watched scripts are matched in a compiled kernel (`filter_kernel`); what stands here in plain Python builds filters
and decodes single ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.codec import Reader, compact_size, dsha
from phasegate.consensus.compiled import worth_compiling
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.packed import Packed
from phasegate.consensus.primitives import Block
from phasegate.consensus.special_txs import filter_data

BASIC = 0
"""The only filter type."""

P, M = 19, 784_931
_MASK = (1 << 64) - 1
_MAX_ELEMENTS = 1 << 24
_SEED = tuple(int.from_bytes(b"somepseudorandomlygeneratedbytes"[i : i + 8], "big") for i in (0, 8, 16, 24))


def filter_hash(raw: bytes) -> bytes:
    """Double SHA-256 of a whole filter, its count included."""
    return dsha(raw)


def filter_header(hash: bytes, prev: bytes) -> bytes:  # noqa: A002 - the field's own word
    """The header that commits to a filter hash and to all before it; the one before genesis is 32 zero bytes."""
    return dsha(hash + prev)


def chain_headers(prev: bytes, hashes: bytes) -> bytes:
    """The headers of `n` filter hashes (32 bytes each) after the header `prev`: 32 bytes each.

    Many are made in a compiled loop (`filter_chain_kernel`) without the GIL; `chain_slowly` is its oracle.
    """
    if not worth_compiling(len(hashes) // 32):
        return chain_slowly(prev, hashes)
    from phasegate.consensus import filter_chain_kernel as kernel

    return kernel.chain(prev, hashes)


def chain_slowly(prev: bytes, hashes: bytes) -> bytes:
    """What `chain_headers` does, in plain Python."""
    headers = []
    for at in range(0, len(hashes), 32):
        prev = dsha(hashes[at : at + 32] + prev)
        headers.append(prev)
    return b"".join(headers)


def block_elements(block: Block, prevout_scripts: Iterable[bytes]) -> set[bytes]:
    """What the filter of `block` holds.

    Args:
        block: whole.
        prevout_scripts: the scripts of all outputs that it spends, in any order.

    Raises:
        Malformed: the payload of a special transaction does not parse.
    """
    elements = {out.script for tx in block.transactions for out in tx.outputs if out.script[:1] != b"\x6a"}
    elements.update(prevout_scripts)
    for tx in block.transactions:
        elements.update(filter_data(tx))
    elements.discard(b"")
    return elements


def build_filter(block_hash: bytes, elements: Iterable[bytes]) -> bytes:
    """The filter over distinct `elements`, its CompactSize count included; `00` over none."""
    distinct = set(elements)
    values = sorted(hashed_values(block_hash, distinct, len(distinct)))
    return compact_size(len(distinct)) + _golomb(values)


def hashed_values(block_hash: bytes, elements: Iterable[bytes], count: int) -> list[int]:
    """The number that each of `elements` has in a filter of `count` elements for the block of `block_hash`."""
    k0, k1 = _keys(block_hash)
    span = count * M
    return [siphash(k0, k1, element) * span >> 64 for element in elements]


def _keys(block_hash: bytes) -> tuple[int, int]:
    return int.from_bytes(block_hash[:8], "little"), int.from_bytes(block_hash[8:16], "little")


def siphash(k0: int, k1: int, data: bytes) -> int:
    """SipHash-2-4 of `data`: 64 bits."""
    v0, v1, v2, v3 = _SEED[0] ^ k0, _SEED[1] ^ k1, _SEED[2] ^ k0, _SEED[3] ^ k1
    for word in (*_words(data), None):
        v3 ^= word or 0
        v2 ^= 0xFF if word is None else 0
        for _ in range(4 if word is None else 2):
            v0 = v0 + v1 & _MASK
            v2 = v2 + v3 & _MASK
            v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
            v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
            v2 = v2 + v1 & _MASK
            v0 = ((v0 << 32 | v0 >> 32) & _MASK) + v3 & _MASK
            v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
            v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
            v2 = (v2 << 32 | v2 >> 32) & _MASK
        v0 ^= word or 0
    return v0 ^ v1 ^ v2 ^ v3


def _words(data: bytes) -> Iterator[int]:
    padded = _padded(data)
    for at in range(0, len(padded), 8):
        yield int.from_bytes(padded[at : at + 8], "little")


def _padded(data: bytes) -> bytes:
    """`data` as SipHash reads it: filled up with zeros and the length to whole words."""
    return data + bytes(7 - len(data) % 8) + bytes((len(data) & 0xFF,))


def _golomb(values: Sequence[int]) -> bytes:
    bits, size, last = 0, 0, 0
    for value in values:
        quotient, rest = divmod(value - last, 1 << P)
        bits = bits << quotient + 1 | (1 << quotient + 1) - 2
        bits = bits << P | rest
        size += quotient + 1 + P
        last = value
    return (bits << -size % 8).to_bytes((size + 7) // 8, "big")


def decode_filter(raw: bytes, block_hash: bytes) -> list[int]:
    """The numbers in one filter, ascending.

    Args:
        raw: the whole filter.
        block_hash: of its block; only named in the error.

    Raises:
        PeerMisbehaved: BAD_FILTER, unless the numbers are below N * M and fill the filter but for zero padding.
    """
    r = Reader(raw, "filter")
    try:
        count = r.compact_size(_MAX_ELEMENTS, "element count")
    except Malformed as error:
        raise _bad_filter(block_hash, error.detail) from error
    if count * (P + 1) > r.left * 8:
        raise _bad_filter(block_hash, f"{count} elements cannot fit")
    bits = "".join([f"{byte:08b}" for byte in r.take(r.left)])
    values, at, value = [], 0, 0
    for _ in range(count):
        stop = bits.find("0", at)
        if stop < 0 or stop + 1 + P > len(bits):
            raise _bad_filter(block_hash, "it ends too early")
        value += (stop - at << P) + int(bits[stop + 1 : stop + 1 + P], 2)
        at = stop + 1 + P
        values.append(value)
    if values and values[-1] >= count * M:
        raise _bad_filter(block_hash, "a number is too large")
    if len(bits) - at >= 8 or "1" in bits[at:]:
        raise _bad_filter(block_hash, "something follows the last element")
    return values


@attrs.frozen(eq=False)
class Elements:
    """What is watched, as the compiled loop takes it; worth keeping when much is watched for long.

    Args:
        words: the padded words of all elements, by length: the first words of all of one length, then the second ones.
        groups: for each length, how many words an element has, and how many elements there are.
    """

    words: NDArray[np.uint64]
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, elements: Sequence[bytes]) -> Elements:
        """Of scripts, or the raw data of special transactions."""
        by_width: dict[int, list[bytes]] = {}
        for element in elements:
            by_width.setdefault(len(element) // 8 + 1, []).append(_padded(element))
        sides = [np.frombuffer(b"".join(same), "<u8").reshape(-1, width).T for width, same in by_width.items()]
        words = np.concatenate([np.zeros(0, np.uint64), *[side.ravel() for side in sides]])
        return cls(words, np.array([(width, len(same)) for width, same in by_width.items()], np.int64).ravel())


def match_filters(block_hashes: bytes, filters: Sequence[bytes], elements: Sequence[bytes] | Elements) -> list[int]:
    """The indexes of the filters that hold any of `elements`, ascending; the GIL is released while matching.

    Args:
        block_hashes: 32 bytes a filter, wire order.
        filters: whole filters; best `Packed`, of which no object a filter is made.
        elements: what is watched: scripts, or the raw data of special transactions.

    Raises:
        PeerMisbehaved: BAD_FILTER, naming the index of the first malformed filter.
        ValueError: not one hash a filter.
    """
    if len(block_hashes) != 32 * len(filters):
        raise ValueError(f"{len(block_hashes)} bytes of hashes for {len(filters)} filters")
    if not filters:
        return []
    from phasegate.consensus import filter_kernel as kernel

    packed = Packed.of(filters)
    verdicts = np.zeros(len(packed), np.int8)
    keys = np.frombuffer(block_hashes, "<u8")
    watched = elements if isinstance(elements, Elements) else Elements.of(elements)
    kernel.match_all(keys, packed.bytes_array, packed.offsets, watched.words, watched.groups, verdicts)
    told: list[int] = verdicts.nonzero()[0].tolist()  # all but NO_MATCH, which is 0
    for i in told:
        if verdicts[i] == kernel.MALFORMED:
            raise PeerMisbehaved(Fault.BAD_FILTER, f"filter {i} of {len(filters)} is malformed")
    return told


def _bad_filter(block_hash: bytes, detail: str) -> PeerMisbehaved:
    return PeerMisbehaved(Fault.BAD_FILTER, f"filter of block {block_hash[::-1].hex()}: {detail}")
