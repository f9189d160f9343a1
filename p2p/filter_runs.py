"""Runs of `cfilter` messages: a node answers one request with a thousand of them, one right behind the other.

Each would be a frame, a payload and a message, and cost more than all that has to be proven of it. So those that lie
whole in the buffer are cut out together. What is not entirely right is never part of a run: it is left where it is, and
met as a single message.

The loop that does this is compiled, and numba takes a second to import: who asks for filters in bulk loads it before
(`load_runs`), away from the event loop.
"""

from __future__ import annotations

import attrs
import numpy as np

from phasegate.consensus.codec import dsha, u32
from phasegate.consensus.packed import Packed
from phasegate.p2p.messages_filters import BASIC, CFilter

LEAST = 4
"""Frames that are worth a run."""
_HEAD = 24
_SMALLEST = _HEAD + 33 + 1
"""Bytes of the smallest frame."""


@attrs.frozen
class CFilterRun:
    """Consecutive `cfilter` messages.

    Args:
        names: the block hashes, 32 bytes each.
        filters: the filters, in the same order.
    """

    names: bytes
    filters: Packed

    def __len__(self) -> int:
        return len(self.filters)

    def message(self, index: int) -> CFilter:
        """One of them, as it is when it comes alone."""
        return CFilter(BASIC, self.names[32 * index : 32 * index + 32], self.filters[index])

    def part(self, start: int, end: int) -> CFilterRun:
        """Those from `start` to before `end`."""
        return CFilterRun(self.names[32 * start : 32 * end], self.filters.part(start, end))


def load_runs() -> None:
    """Load the compiled loop; takes a second, the very first time more."""
    message = CFilter(BASIC, bytes(32), b"\0").to_bytes()
    prefix = bytes(4) + b"cfilter".ljust(12, b"\0")
    frame = prefix + u32(len(message)) + dsha(message)[:4] + message
    _cut(bytearray(LEAST * frame), prefix)


def cut_run(buffer: bytearray, magic: bytes) -> CFilterRun | None:
    """Take the run that `buffer` begins with; None, and nothing is taken, if there is none."""
    prefix = magic + b"cfilter".ljust(12, b"\0")
    if len(buffer) < LEAST * _SMALLEST or not buffer.startswith(prefix):
        return None
    run, end = _cut(buffer, prefix)
    del buffer[:end]
    return run


def _cut(buffer: bytearray, prefix: bytes) -> tuple[CFilterRun | None, int]:
    """The run that `buffer` begins with, and how many bytes of it that takes."""
    from phasegate.consensus.sha256_kernel import scratch, sha256
    from phasegate.p2p.filter_run_kernel import cut

    most = len(buffer) // _SMALLEST
    names, filters = np.empty(32 * most, np.uint8), np.empty(len(buffer), np.uint8)
    offsets = np.empty(most + 1, np.int64)
    view = np.frombuffer(buffer, np.uint8)
    count, end = cut(sha256(), scratch(), view, np.frombuffer(prefix, np.uint8), names, filters, offsets)
    if count < LEAST:
        return None, 0
    packed = Packed(filters[: offsets[count]].tobytes(), offsets[: count + 1].copy())
    return CFilterRun(names[: 32 * count].tobytes(), packed), int(end)
