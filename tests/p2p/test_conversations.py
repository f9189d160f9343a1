"""Every message that a Dash Core 23.1 node and a client exchanged, at five protocol versions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.params import REGTEST
from phasegate.p2p.compressed import compress, expand
from phasegate.p2p.framing import FrameDecoder, encode_frame
from phasegate.p2p.messages import BlockMessage, ClSig, Headers, Headers2, IsdLock, Unknown, decode

Recorded = tuple[str, str, bytes]
Conversations = Callable[[int], list[Recorded]]
SIZES = {70240: 1234, 70235: 120, 70230: 120, 70228: 120, 70227: 120}
each_version = pytest.mark.parametrize("version", SIZES)


@each_version
def test_every_message_parses_to_its_last_byte_and_encodes_to_the_same_bytes(
    conversation: Conversations, version: int
) -> None:
    """No recorded message is unknown, none has a byte left, and all are rebuilt exactly."""
    messages = conversation(version)
    assert len(messages) == SIZES[version]
    for _, command, payload in messages:
        message = decode(command, payload, version)
        assert not isinstance(message, Unknown)
        assert message.command == command
        assert message.to_payload(version) == payload


@each_version
@pytest.mark.parametrize("piece", [1, 7, 4096, 10_000_000])
def test_frames_come_out_whole_however_the_stream_is_cut(conversation: Conversations, version: int, piece: int) -> None:
    """The conversation as one stream, in pieces of any size, gives the same messages in order."""
    frames = [(command, payload) for _, command, payload in conversation(version)][: 150 if piece == 1 else None]
    stream = b"".join([encode_frame(REGTEST.magic, command, payload) for command, payload in frames])
    decoder, seen = FrameDecoder(REGTEST.magic), []
    for start in range(0, len(stream), piece):
        decoder.receive_data(stream[start : start + piece])
        while (frame := decoder.next_frame()) is not None:
            seen.append((frame.command, frame.payload))
    assert seen == frames
    assert (decoder.dropped, decoder.buffered) == (0, 0)


@each_version
def test_a_recorded_message_with_one_byte_more_or_less_is_refused(conversation: Conversations, version: int) -> None:
    """A byte added or cut off is always noticed (a version may end between its optional fields)."""
    for _, command, payload in conversation(version)[::3]:
        with pytest.raises(PeerMisbehaved):
            decode(command, payload + b"\0\0" if command == "version" else payload + b"\0", version)
        if payload and command != "version":
            with pytest.raises(PeerMisbehaved):
                decode(command, payload[:-1], version)


@each_version
def test_compressed_headers_are_the_recorded_headers_and_compress_to_the_recorded_bytes(
    conversation: Conversations, version: int
) -> None:
    """Core's headers2 answer expands to its headers answer, and our compression rebuilds it byte for byte."""
    plain = next(decode(c, p, 70240) for _, c, p in conversation(70240) if c == "headers")
    packed = next(decode(c, p, version) for _, c, p in conversation(version) if c == "headers2")
    assert isinstance(plain, Headers)
    assert isinstance(packed, Headers2)
    assert expand(packed) == plain.raw
    assert compress(plain.raw) == packed
    assert plain.count == packed.count == 356


def test_locks_are_announced_by_the_hash_of_their_whole_payload(conversation: Conversations) -> None:
    """The inventory hash of the first recorded ChainLock and InstantSend lock has 32 bytes and no twin."""
    locks = [decode(c, p, 70240) for _, c, p in conversation(70240) if c in ("clsig", "isdlock")]
    hashes = {lock.inventory_hash for lock in locks if isinstance(lock, ClSig | IsdLock)}
    assert len(hashes) == 27
    assert {len(h) for h in hashes} == {32}


def test_each_block_is_the_one_that_was_asked_for(conversation: Conversations) -> None:
    """The X11 hash of each recorded block equals the hash in the getdata before it."""
    wanted: bytes = b""
    blocks = 0
    for _, command, payload in conversation(70240):
        if command == "getdata":
            wanted = payload[5:]
        if command == "block":
            message = decode(command, payload, 70240)
            assert isinstance(message, BlockMessage)
            assert message.block.hash == wanted
            blocks += 1
    assert blocks == 356
