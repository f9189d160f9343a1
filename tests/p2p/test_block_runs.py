"""Blocks that lie in the buffer together are cut out and read together, and nothing else changes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus import raw_blocks
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.params import REGTEST
from phasegate.consensus.primitives import Block, BlockHeader, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.raw_blocks import plain_layout
from phasegate.p2p import block_runs
from phasegate.p2p.block_runs import LONGEST, load_block_runs
from phasegate.p2p.connection import Connection
from phasegate.p2p.framing import HEAD_SIZE, FrameDecoder, encode_frame
from phasegate.p2p.messages import BlockMessage, Ping
from tests.p2p.streams import frame, told

pytestmark = pytest.mark.timeout(300)  # the first run compiles


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    raw_blocks.load_kernel()
    load_block_runs()


def block(number: int, count: int, size: int = 25, value: int = 7) -> Block:
    """With so many transactions, of which the last one is there twice when `number` is a multiple of five."""
    txs = [
        Transaction(2, 0, (TxIn(OutPoint(bytes((number,)) * 32, n), b"\1" * size),), (TxOut(value, b"\x51" * size),))
        for n in range(count)
    ]
    txs += txs[-1:] * (number % 5 == 0)
    return Block(BlockHeader(4, bytes((number,)) * 32, bytes(32), 1, 0x207FFFFF, number), tuple(txs))


def odd_frame(number: int) -> bytes:
    """A frame that is no block, or wrong in one way or another, or long."""
    payload = block(number, 2).to_bytes()
    good = bytearray(encode_frame(REGTEST.magic, "block", payload))
    match number % 8:
        case 0:
            return frame(Ping(number))
        case 1:
            good[21] ^= 1  # the checksum
            return bytes(good)
        case 2:
            return encode_frame(REGTEST.magic, "block", payload + b"x")
        case 3:
            return encode_frame(REGTEST.magic, "block", payload[:-1])
        case 4:
            return encode_frame(REGTEST.magic, "block", payload[: 10 * (number % 9)])
        case 5:
            good[16:20] = (2_000_001).to_bytes(4, "little")
            return bytes(good)
        case 6:
            return frame(BlockMessage(block(number, 3, size=LONGEST // 5)))
        case _:
            return b"????" + bytes(good[4:])


def good_frame(number: int, count: int, value: int) -> bytes:
    return frame(BlockMessage(block(number, count, 25, value)))


Blocks = st.builds(good_frame, st.integers(0, 255), st.integers(0, 5), st.sampled_from([0, 7, -1, 1 << 60]))
Streams = st.lists(st.one_of(Blocks, Blocks, Blocks, st.integers(0, 200).map(odd_frame)), max_size=25).map(b"".join)


def taken(decoder: FrameDecoder) -> list[BlockMessage]:
    """The blocks that come next together."""
    blocks = decoder.next_blocks()
    assert all(len(one.body.raw) <= LONGEST for one in blocks)
    return blocks


@settings(deadline=None, max_examples=200)
@given(stream=Streams, cuts=st.lists(st.integers(0, 8000), max_size=5))
def test_what_comes_together_is_what_comes_frame_by_frame(stream: bytes, cuts: list[int]) -> None:
    """Messages, errors, frames dropped and bytes left are the same, wherever the stream was cut."""
    borders = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(borders)]
    plain, quick = FrameDecoder(REGTEST.magic), FrameDecoder(REGTEST.magic)
    found, end = told(quick, pieces, taken)
    assert (found, end) == told(plain, pieces)
    assert (quick.dropped, quick.buffered) == (plain.dropped, plain.buffered)
    for message in found:
        if isinstance(message, BlockMessage):
            body = message.body
            assert body.layout == plain_layout(body.raw)
            assert body.computed_root == merkle_root(message.block.txids)


def test_without_the_compiled_loop_blocks_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = FrameDecoder(REGTEST.magic)
    decoder.receive_data(3 * frame(BlockMessage(block(1, 2))))
    with monkeypatch.context() as patch:
        patch.setattr(block_runs, "_loaded", [])
        assert decoder.next_blocks() == []
    assert decoder.next_blocks() == 3 * [BlockMessage(block(1, 2))]


@pytest.mark.trio
async def test_a_connection_gives_blocks_one_by_one_in_their_order() -> None:
    """What was read together counts as buffered until it is given out; a cancelled look takes nothing."""
    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(ours, REGTEST.magic, compute=trio.to_thread.run_sync)
    blocks = [BlockMessage(block(n, n)) for n in range(1, 6)]
    frames = [frame(Ping(1)), *map(frame, blocks), frame(Ping(2))]
    await theirs.send_all(b"".join(frames))
    assert await connection.receive() == Ping(1)
    left = sum(map(len, frames[1:]))
    for message in blocks:
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.receive_some(lambda: False)
        assert connection.buffered == left
        assert await connection.receive_some(lambda: False) == message
        assert connection.last_size == HEAD_SIZE + len(message.to_bytes())
        left -= connection.last_size
        assert connection.buffered == left
    assert await connection.receive_some(lambda: False) == Ping(2)
    await connection.aclose()
