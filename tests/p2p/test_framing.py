"""Frames cut from a stream: whole, in pieces, damaged, foreign and too long."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.codec import dsha, u32
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import MAINNET, REGTEST
from phasegate.p2p.framing import HEAD_SIZE, MAX_DROPPED, MAX_DROPPED_BYTES, Frame, FrameDecoder, encode_frame
from phasegate.p2p.messages import MAX_PAYLOAD

MAGIC = REGTEST.magic
PING = encode_frame(MAGIC, "ping", b"12345678")


def head(name: bytes, length: int, checksum: bytes = bytes(4), magic: bytes = MAGIC) -> bytes:
    """A frame's head as given, sensible or not."""
    return magic + name.ljust(12, b"\0") + u32(length) + checksum


def test_a_frame_is_magic_name_length_checksum_payload() -> None:
    """The head by the letter."""
    expected = MAGIC + b"ping".ljust(12, b"\0") + u32(8) + dsha(b"12345678")[:4] + b"12345678"
    assert encode_frame(MAGIC, "ping", b"12345678") == expected


@given(st.lists(st.integers(1, 30)))
def test_frames_come_out_whole_from_any_pieces(sizes: list[int]) -> None:
    """Nothing comes before a frame is whole, and each comes once."""
    decoder, stream, seen = FrameDecoder(MAGIC), PING * 3, []
    for size in [*sizes, len(stream)]:
        decoder.receive_data(stream[:size])
        stream = stream[size:]
        while (frame := decoder.next_frame()) is not None:
            seen.append(frame)
    assert seen == [Frame("ping", b"12345678")] * 3


@pytest.mark.parametrize("wrong", [b"HTTP", b"\xfc\xc1\xb7\xdd", b"X"])
def test_another_magic_is_refused_as_soon_as_it_shows(wrong: bytes) -> None:
    """The first differing byte is enough, and the decoder does not recover."""
    decoder = FrameDecoder(MAGIC)
    decoder.receive_data(wrong)
    for _ in range(2):
        with pytest.raises(PeerMisbehaved) as caught:
            decoder.next_frame()
        assert caught.value.fault is Fault.WRONG_NETWORK


def test_the_magic_of_a_known_network_is_named() -> None:
    """Who has dialled the wrong network learns which it is."""
    decoder = FrameDecoder(MAGIC)
    decoder.receive_data(encode_frame(MAINNET.magic, "verack", b""))
    with pytest.raises(PeerMisbehaved, match="mainnet"):
        decoder.next_frame()


@pytest.mark.parametrize(
    ("name", "length"),
    [
        (b"ping", 9),
        (b"verack", 1),
        (b"block", 2_000_001),
        (b"tx", 1_000_001),
        (b"nobody", 3 << 20 | 1),
        (b"\xff", 1 << 31),
    ],
)
def test_a_length_above_the_bound_of_its_name_is_refused_before_the_payload(name: bytes, length: int) -> None:
    """Not a byte of such a payload is waited for."""
    decoder = FrameDecoder(MAGIC)
    decoder.receive_data(head(name, length))
    with pytest.raises(PeerMisbehaved) as caught:
        decoder.next_frame()
    assert caught.value.fault is Fault.OVERSIZED_MESSAGE


@pytest.mark.parametrize(
    "bad",
    [
        head(b"ping", 8) + b"12345678",
        head(b"", 0, dsha(b"")[:4]),
        head(b"pi\0ng", 0, dsha(b"")[:4]),
        head(b"p\xffng", 3, dsha(b"abc")[:4]) + b"abc",
        head(b"\x1fping", 0, dsha(b"")[:4]),
    ],
    ids=["checksum", "no name", "name after NUL", "not ASCII", "control"],
)
def test_a_damaged_frame_is_dropped_and_counted_and_the_next_one_read(bad: bytes) -> None:
    """A wrong checksum or an impossible name costs one frame, whole or byte by byte, and the stream stays in step."""
    for step in (1, 1000):
        decoder, seen = FrameDecoder(MAGIC), []
        stream = bad + PING
        for start in range(0, len(stream), step):
            decoder.receive_data(stream[start : start + step])
            if (frame := decoder.next_frame()) is not None:
                seen.append(frame)
        assert seen == [Frame("ping", b"12345678")]
        assert (decoder.dropped, decoder.buffered) == (1, 0)


@given(st.binary(max_size=200), st.booleans())
def test_garbage_gives_frames_or_named_faults(garbage: bytes, after_magic: bool) -> None:
    """Whatever comes, nothing but PeerMisbehaved is raised."""
    decoder = FrameDecoder(MAGIC)
    decoder.receive_data(MAGIC + garbage if after_magic else garbage)
    with contextlib.suppress(PeerMisbehaved):
        assert decoder.next_frame() is None or after_magic


@pytest.mark.parametrize("command", ["", "thirteenchars", "ta\tb"])
def test_a_name_that_no_peer_would_accept_is_not_sent(command: str) -> None:
    """Our own mistakes are ValueErrors."""
    with pytest.raises(ValueError, match="cannot be the name"):
        encode_frame(MAGIC, command, b"")


def test_a_payload_that_no_peer_would_accept_is_not_sent() -> None:
    """More than 3 MiB would get us disconnected."""
    with pytest.raises(ValueError, match="exceeds"):
        encode_frame(MAGIC, "tx", bytes((3 << 20) + 1))


def test_the_head_has_24_bytes() -> None:
    """As everyone counts it."""
    assert len(encode_frame(MAGIC, "verack", b"")) == HEAD_SIZE == 24


def test_a_few_large_damaged_frames_are_borne_no_longer_than_eight_megabytes() -> None:
    """Far fewer than the hundred that are borne by count: what has to be dropped is bounded by bytes as well."""
    decoder, whole = FrameDecoder(MAGIC), MAX_DROPPED_BYTES // MAX_PAYLOAD
    large = head(b"qrinfo", MAX_PAYLOAD, b"\1\2\3\4") + bytes(MAX_PAYLOAD)
    rest = MAX_DROPPED_BYTES - whole * MAX_PAYLOAD
    decoder.receive_data(large * whole + head(b"qrinfo", rest, b"\1\2\3\4") + bytes(rest))
    assert decoder.next_frame() is None
    assert decoder.dropped == whole + 1 < MAX_DROPPED
    decoder.receive_data(head(b"ping", 1, b"\1\2\3\4") + bytes(1))
    with pytest.raises(PeerMisbehaved) as caught:
        decoder.next_frame()
    assert caught.value.fault is Fault.CORRUPTED_FRAMES
