"""Filters that lie in the buffer together are cut out together, and nothing else changes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.codec import compact_size
from phasegate.consensus.params import REGTEST
from phasegate.p2p.connection import Connection
from phasegate.p2p.filter_runs import LEAST, CFilterRun, load_runs
from phasegate.p2p.framing import FrameDecoder, encode_frame
from phasegate.p2p.messages import CFilter, Ping
from tests.p2p.streams import frame, told

pytestmark = pytest.mark.timeout(300)  # the first run compiles


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    load_runs()


def odd_frame(number: int) -> bytes:
    """A frame that is no filter, or wrong in one way or another."""
    name, payload = bytes((number,)) * 32, CFilter(0, bytes((number,)) * 32, bytes(number)).to_bytes()
    good = bytearray(encode_frame(REGTEST.magic, "cfilter", payload))
    long = b"\0" + name + compact_size(300) + bytes(300)
    match number % 9:
        case 0:
            return frame(Ping(number))
        case 1:
            good[21] ^= 1  # the checksum
            return bytes(good)
        case 2:
            return encode_frame(REGTEST.magic, "cfilter", payload + b"x")
        case 3:
            return encode_frame(REGTEST.magic, "cfilter", b"\1" + payload[1:])
        case 4:
            return encode_frame(REGTEST.magic, "cfilter", b"\0" + name + b"\xfd\5\0" + bytes(5))
        case 5:
            return encode_frame(REGTEST.magic, "cfilter", payload[:20])
        case 6:
            good[16:20] = (2_000_000).to_bytes(4, "little")
            return bytes(good)
        case 7:
            return encode_frame(REGTEST.magic, "cfilter", long)
        case _:
            return b"????" + bytes(good[4:])


def good_frame(number: int, size: int) -> bytes:
    return frame(CFilter(0, bytes((number,)) * 32, bytes((number,)) * size))


Filters = st.builds(good_frame, st.integers(0, 255), st.sampled_from([0, 1, 40, 252, 253, 300]))
Streams = st.lists(st.one_of(Filters, Filters, Filters, st.integers(0, 200).map(odd_frame)), max_size=40).map(b"".join)


def taken(decoder: FrameDecoder) -> list[CFilter]:
    """The filters that come next together."""
    run = decoder.next_run()
    if run is None:
        return []
    assert len(run) >= LEAST
    return [run.message(i) for i in range(len(run))]


@settings(deadline=None, max_examples=300)
@given(stream=Streams, cuts=st.lists(st.integers(0, 8000), max_size=5))
def test_what_comes_in_runs_is_what_comes_frame_by_frame(stream: bytes, cuts: list[int]) -> None:
    """Messages, errors, frames dropped and bytes left are the same, wherever the stream was cut."""
    borders = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(borders)]
    plain, quick = FrameDecoder(REGTEST.magic), FrameDecoder(REGTEST.magic)
    assert told(quick, pieces, taken) == told(plain, pieces)
    assert (quick.dropped, quick.buffered) == (plain.dropped, plain.buffered)


def test_a_few_frames_are_no_run_and_stay() -> None:
    decoder = FrameDecoder(REGTEST.magic)
    decoder.receive_data((LEAST - 1) * frame(CFilter(0, bytes(32), b"\0")))
    before = decoder.buffered
    assert decoder.next_run() is None
    assert decoder.buffered == before


def test_a_part_of_a_run_has_its_messages() -> None:
    filters = [CFilter(0, bytes((i,)) * 32, bytes(i)) for i in range(9)]
    decoder = FrameDecoder(REGTEST.magic)
    decoder.receive_data(b"".join(map(frame, filters)))
    run = decoder.next_run()
    assert run is not None
    part = run.part(2, 7)
    assert [part.message(i) for i in range(len(part))] == filters[2:7]


@pytest.mark.trio
async def test_a_connection_gives_runs_only_where_they_are_awaited() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(ours, REGTEST.magic, compute=trio.to_thread.run_sync)
    filters = [CFilter(0, bytes((i,)) * 32, bytes(i)) for i in range(2 * LEAST)]
    await theirs.send_all(b"".join(map(frame, filters)) + frame(Ping(1)))
    assert await connection.receive() == filters[0]
    assert await connection.receive_some(lambda: False) == filters[1]
    run = await connection.receive_some(lambda: True)
    assert isinstance(run, CFilterRun)
    assert [run.message(i) for i in range(len(run))] == filters[2:]
    assert await connection.receive_some(lambda: True) == Ping(1)
    await connection.aclose()
