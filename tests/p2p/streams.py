"""A stream of frames read to its end, message by message, or with what lies together taken at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.params import REGTEST
from phasegate.p2p.framing import FrameDecoder, encode_frame
from phasegate.p2p.messages import Message, decode

VERSION = 70240
Together = Callable[[FrameDecoder], Sequence[Message]]


def frame(message: Message) -> bytes:
    """As it goes on the wire."""
    return encode_frame(REGTEST.magic, message.command, message.to_payload(VERSION))


def told(decoder: FrameDecoder, pieces: list[bytes], together: Together = lambda _: ()) -> tuple[list[Message], str]:
    """All messages, and with what the stream ended; those that `together` takes first are not cut one by one."""
    found = list[Message]()
    try:
        for piece in pieces:
            decoder.receive_data(piece)
            while True:
                if several := together(decoder):
                    found += several
                elif (one := decoder.next_frame()) is not None:
                    found.append(decode(one.command, one.payload, VERSION))
                else:
                    break
    except PeerMisbehaved as fault:
        return found, str(fault)
    return found, ""
