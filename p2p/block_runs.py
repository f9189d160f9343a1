"""Runs of `block` messages: a node answers one request with many, one right behind the other.

What is proven of a small block takes less than its frame, its payload and its message do as objects. So those that lie
whole in the buffer are cut out, read and hashed in one call. What comes of it are the same messages, which know already
what else would be computed of them. What is not entirely right, and what is long, is left where it is, and met as a
single message.

The loop that does this is compiled, and numba takes a second to import: whoever asks for blocks loads it before
(`load_block_runs`), away from the event loop.
"""

from __future__ import annotations

import numpy as np

from phasegate.consensus.codec import dsha, u32
from phasegate.consensus.raw_blocks import Layout, RawBlock
from phasegate.p2p.messages_chain import BlockMessage

LONGEST = 64 * 1024
"""Bytes of a block that is not worth a worker thread."""
_HEAD, _NAME = 24, 16
_SMALLEST = _HEAD + 81
_LEAST_TRANSACTION = 10
_NAMED = b"block".ljust(12, b"\0")
_loaded: list[bool] = []


def load_block_runs() -> None:
    """Load the compiled loop, which is used from now on."""
    if not _loaded:
        empty = bytes(81)
        _cut(bytearray(bytes(4) + _NAMED + u32(len(empty)) + dsha(empty)[:4] + empty), bytes(4) + _NAMED)
        _loaded.append(True)


def cut_blocks(buffer: bytearray, magic: bytes) -> list[BlockMessage]:
    """Take the blocks that `buffer` begins with; nothing is taken if there are none, or the loop is not loaded."""
    if not _loaded or len(buffer) < _SMALLEST or not buffer.startswith(magic + _NAMED):
        return []
    if len(buffer) < _HEAD + int.from_bytes(buffer[_NAME : _NAME + 4], "little"):
        return []
    blocks, end = _cut(buffer, magic + _NAMED)
    del buffer[:end]
    return blocks


def _cut(buffer: bytearray, prefix: bytes) -> tuple[list[BlockMessage], int]:
    """The blocks that `buffer` begins with, and how many bytes of it they take."""
    from phasegate.consensus.sha256_kernel import scratch, sha256
    from phasegate.p2p.block_run_kernel import cut

    most = len(buffer) // _SMALLEST
    ends, places = np.empty(most, np.int64), np.empty(most + 1, np.int64)
    starts = np.empty(len(buffer) // _LEAST_TRANSACTION + most + 1, np.int32)
    affordable, mutated, roots = np.empty(most, np.uint8), np.empty(most, np.uint8), np.empty(32 * most, np.uint8)
    view, name = np.frombuffer(buffer, np.uint8), np.frombuffer(prefix, np.uint8)
    told = ends, places, starts, affordable, mutated, roots
    count, blocks, at = int(cut(sha256(), scratch(), view, name, LONGEST, *told)), list[BlockMessage](), 0
    shapes = places[: count + 1].tolist()
    for i, end in enumerate(ends[:count].tolist()):
        layout = Layout(starts[shapes[i] : shapes[i + 1]].copy(), bool(affordable[i]))
        proof = roots[32 * i : 32 * i + 32].tobytes(), bool(mutated[i])
        blocks.append(BlockMessage(RawBlock.read(bytes(buffer[at + _HEAD : end]), layout, proof)))
        at = end
    return blocks, at
