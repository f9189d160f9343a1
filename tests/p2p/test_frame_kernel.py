"""Where a frame ends: nothing behind the buffer is looked at, whatever length a head states."""

from __future__ import annotations

import numpy as np
import pytest

from phasegate.consensus.params import REGTEST
from phasegate.consensus.sha256_kernel import scratch, sha256
from phasegate.p2p.frame_kernel import HEAD, NAME, frame_end, is_intact
from phasegate.p2p.framing import HEAD_SIZE, encode_frame

pytestmark = pytest.mark.timeout(300)  # the first run compiles

FRAME = encode_frame(REGTEST.magic, "block", bytes(range(90)))
PREFIX = np.frombuffer(FRAME[:NAME], np.uint8)


def end_of(stream: bytes, at: int = 0) -> int:
    return int(frame_end(np.frombuffer(stream, np.uint8), at, PREFIX))


def test_a_whole_frame_ends_behind_its_payload() -> None:
    assert HEAD == HEAD_SIZE
    assert end_of(FRAME) == len(FRAME)
    assert end_of(FRAME + FRAME + b"\0", len(FRAME)) == 2 * len(FRAME)
    assert end_of(encode_frame(REGTEST.magic, "block", b"")) == HEAD


@pytest.mark.parametrize("missing", [1, 2, 89, 90, 91, len(FRAME) - 1, len(FRAME)])
def test_one_that_is_not_whole_has_no_end(missing: int) -> None:
    assert end_of(FRAME[: len(FRAME) - missing]) == 0
    assert end_of(FRAME + FRAME[: len(FRAME) - missing], len(FRAME)) == 0


@pytest.mark.parametrize("length", [91, 1 << 31, (1 << 32) - 1])
def test_nor_has_one_that_states_more_than_there_is(length: int) -> None:
    assert end_of(FRAME[:NAME] + length.to_bytes(4, "little") + FRAME[NAME + 4 :]) == 0


@pytest.mark.parametrize("at", range(NAME))
def test_nor_has_one_of_another_network_or_name(at: int) -> None:
    stream = bytearray(FRAME)
    stream[at] ^= 1
    assert end_of(bytes(stream)) == 0


@pytest.mark.parametrize("at", [NAME + 4, NAME + 7, HEAD, len(FRAME) - 1])
def test_a_flipped_bit_in_checksum_or_payload_is_noticed(at: int) -> None:
    stream = bytearray(FRAME)
    for intact in (True, False):
        assert bool(is_intact(sha256(), scratch(), np.frombuffer(stream, np.uint8), 0, len(stream))) is intact
        stream[at] ^= 1
