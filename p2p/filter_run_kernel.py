"""Cuts frames of `cfilter` messages from a buffer, compiled.

Only what is right in every respect is taken: magic, name, length, checksum, filter type, the one form of the filter's
length, nothing behind it. At the first frame that is not, or is not whole, the loop ends and leaves it to the decoder
in `framing`, which knows what to say of it. So this one never judges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.sha256_kernel import Addresses
from phasegate.p2p.frame_kernel import HEAD, frame_end, is_intact
from phasegate.p2p.messages_filters import MAX_FILTER_SIZE

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

COUNT_AT = 33
"""Bytes before a filter's length in the payload."""


@jit
def _filter_at(data: Bytes, start: int, end: Any) -> Any:
    """Where the filter begins in the payload `data[start:end]`, 0 if the payload is not of the right form."""
    if end - start <= COUNT_AT or data[start] != 0:
        return 0
    at = start + COUNT_AT
    first = np.int64(data[at])
    if first < 0xFD:
        return at + 1 if end - (at + 1) == first else 0
    width = 2 if first == 0xFD else 4
    if first == 0xFF or at + 1 + width > end:
        return 0
    size = np.int64(0)
    for i in range(width):
        size |= np.int64(data[at + 1 + i]) << (8 * i)
    if size < (0xFD if width == 2 else 0x10000) or size > MAX_FILTER_SIZE or end - (at + 1 + width) != size:
        return 0
    return at + 1 + width


@jit
def cut(sha: Addresses, room: Bytes, buffer: Bytes, prefix: Bytes, names: Bytes, filters: Bytes, offsets: Ints) -> Any:
    """Take whole frames from the beginning of `buffer`.

    Args:
        sha: what hashes, from `sha256_kernel`.
        room: the scratch bytes for that.
        buffer: the stream, beginning with a head.
        prefix: the 16 bytes that each head begins with: magic and command.
        names: 32 bytes for each frame that may be there, written: the block hash.
        filters: as long as the buffer, written: the filters, one behind the other.
        offsets: one more than frames that may be there, written: where each filter begins, and the last one ends.

    Returns:
        The number of frames, and the bytes of the buffer that they take.
    """
    at: Any = 0
    size: Any = 0
    count = 0
    offsets[0] = 0
    while count + 1 < len(offsets):
        start, end = at + HEAD, frame_end(buffer, at, prefix)
        begin = _filter_at(buffer, start, end)
        if begin == 0 or not is_intact(sha, room, buffer, at, end):
            return count, at
        names[32 * count : 32 * count + 32] = buffer[start + 1 : start + 33]
        filters[size : size + end - begin] = buffer[begin:end]
        size += end - begin
        count += 1
        offsets[count] = size
        at = end
    return count, at
