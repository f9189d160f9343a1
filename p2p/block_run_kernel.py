"""Cuts frames of `block` messages from a buffer and reads them, compiled.

Only what is whole and well-formed is taken: magic, name, length, checksum, and a block to its last byte. At the first
frame that is not, the loop ends and leaves it to the decoder in `framing`, which knows what to say of it. Whether a
block is the one that was asked for, and its root the one that it states, is for others to judge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.block_kernel import walk
from phasegate.consensus.compiled import jit
from phasegate.consensus.merkle_kernel import root_into
from phasegate.consensus.sha256_kernel import Addresses
from phasegate.p2p.frame_kernel import HEAD, frame_end, is_intact

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Starts = NDArray[np.int32]


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
    at, count = np.int64(0), 0
    places[0] = 0
    while count < len(ends):
        start, end = at + HEAD, frame_end(buffer, at, prefix)
        if end == 0 or end - start > longest or not is_intact(sha, room, buffer, at, end):
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
