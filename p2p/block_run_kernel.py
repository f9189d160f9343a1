"""Cuts frames of `block` messages from a buffer and reads them, compiled.

Only what is whole and well-formed is taken: magic, name, length, checksum, and a block to its last byte. At the first
frame that is not, the loop ends and leaves it to the decoder in `framing`, which knows what to say of it. Whether a
block is the one that was asked for, and its root the one that it states, is for others to judge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.block_kernel import walk
from phasegate.consensus.compiled import jit
from phasegate.consensus.merkle_kernel import root_into
from phasegate.consensus.sha256_kernel import Addresses, dsha_into

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Starts = NDArray[np.int32]

HEAD, NAME = 24, 16
"""Bytes of a frame's head, and of magic and command in it."""


@jit
def _length(buffer: Bytes, at: Any, prefix: Bytes) -> Any:
    """The length that a head at `at` states, -1 if it does not begin with `prefix`."""
    for i in range(NAME):
        if buffer[at + i] != prefix[i]:
            return np.int64(-1)
    length = np.int64(0)
    for i in range(4):
        length |= np.int64(buffer[at + NAME + i]) << (8 * i)
    return length


@jit
def cut(
    sha: Addresses, room: Bytes, buffer: Bytes, prefix: Bytes, longest: int, ends: Ints, places: Ints, starts: Starts,
    affordable: Bytes, mutated: Bytes, roots: Bytes,
) -> int:  # fmt: skip
    """Take whole frames from the beginning of `buffer`.

    Args:
        sha: what hashes, from `sha256_kernel`.
        room: the scratch bytes for that.
        buffer: the stream, beginning with a head.
        prefix: the 16 bytes that each head begins with: magic and command.
        longest: bytes of a block that is still taken.
        ends: for each frame that may be there, written: where in the buffer it ends.
        places: one more, written: where in `starts` the layout of each block begins, and the last one ends.
        starts: written: what `walk` says of each block, one behind the other.
        affordable: a byte for each frame, written: whether all amounts can exist.
        mutated: likewise: whether equal neighbours betray a doubled list of transactions.
        roots: 32 bytes for each, written: the merkle root over the transactions.

    Returns:
        The number of frames.
    """
    checksum, at, count = np.empty(32, np.uint8), np.int64(0), 0
    places[0] = 0
    while at + HEAD <= len(buffer) and count < len(ends):
        length = _length(buffer, at, prefix)
        start, end = at + HEAD, at + HEAD + length
        if length < 0 or length > longest or end > len(buffer):
            return count
        dsha_into(sha, room, buffer, start, end, checksum, 0)
        for i in range(4):
            if checksum[i] != buffer[at + NAME + 4 + i]:
                return count
        block = buffer[start:end]
        layout, fits = walk(block)
        place = places[count]
        if len(layout) == 0 or place + len(layout) > len(starts):
            return count
        level = np.zeros(32 * len(layout), np.uint8)
        mutated[count] = root_into(sha, room, block, layout, level)
        roots[32 * count : 32 * count + 32] = level[:32]
        affordable[count] = fits
        starts[place : place + len(layout)] = layout
        count += 1
        places[count] = place + len(layout)
        ends[count - 1] = at = end
    return count
