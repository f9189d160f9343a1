"""Targets of the wire: frames, every message in every protocol version, compressed headers, and addresses."""

from __future__ import annotations

from contextlib import suppress

from phasegate.consensus.codec import Reader, dsha, u32
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.netinfo import EXTENDED_VERSION, take_netinfo
from phasegate.consensus.params import REGTEST
from phasegate.consensus.x11 import HEADER_SIZE, x11_many
from phasegate.p2p.address_forms import from_service, from_v1, from_v2, to_v1, to_v2
from phasegate.p2p.addresses import Address, Kind, group
from phasegate.p2p.compressed import Expansion, Headers2, compress, expand
from phasegate.p2p.framing import HEAD_SIZE, Frame, FrameDecoder, encode_frame
from phasegate.p2p.messages import KNOWN, MAX_PAYLOAD, AddressV1, AddressV2, Message, QrInfo, decode
from phasegate.verification.fuzzing.choices import Choices
from phasegate.verification.fuzzing.laws import held, same

VERSIONS = (70240, 70227, 70228, 70229, 70230, 70235, 70236, 70237)
"""Protocol versions in which some message has another form than before."""
COMMANDS = (*sorted(KNOWN), "unknown")
MOST_PIECES = 64
_STRANGE_NAMES = (b"", b"\0ping", b"ping\0x", b"\x7fping", b"pingpingping", b"PING", b"p i n g")


def frames(data: bytes) -> None:
    """A stream of frames, whole and in pieces, as it came or with honest heads around its parts."""
    choices = Choices(data)
    built, size = choices.flag(), choices.byte() + 1
    stream = _frames_of(choices) if built else choices.rest()
    size = max(size, len(stream) // MOST_PIECES)
    whole = _cut(stream, max(1, len(stream)))
    same(_cut(stream, size), whole, f"frames in pieces of {size}")
    for frame in whole[0]:
        again = _cut(encode_frame(REGTEST.magic, frame.command, frame.payload), MAX_PAYLOAD + HEAD_SIZE)
        same(again[0], [frame], "a frame that was encoded again")


def _frames_of(choices: Choices) -> bytes:
    stream = b""
    while choices.left and len(stream) < 4 * 1024:
        kind, payload = choices.below(8), choices.piece()
        name = choices.pick(_STRANGE_NAMES) if kind == 0 else choices.pick(COMMANDS).encode()
        length = choices.number() if kind == 1 else len(payload)
        checksum = choices.take(4) if kind == 2 else dsha(payload)[:4]
        stream += REGTEST.magic + name.ljust(12, b"\0") + u32(length) + checksum.ljust(4, b"\0") + payload
    return stream


def _cut(stream: bytes, size: int) -> tuple[list[Frame], Fault | None, int]:
    """The frames, the fault that ended them, and how many were dropped."""
    decoder, found = FrameDecoder(REGTEST.magic), list[Frame]()
    try:
        for at in range(0, len(stream), size):
            decoder.receive_data(stream[at : at + size])
            while (frame := decoder.next_frame()) is not None:
                found.append(frame)
            held(decoder.buffered <= HEAD_SIZE + MAX_PAYLOAD + size, f"{decoder.buffered} bytes are buffered")
    except PeerMisbehaved as misbehaved:
        return found, misbehaved.fault, decoder.dropped
    return found, None, decoder.dropped


def messages(data: bytes) -> None:
    """One message: which one, in which protocol version, and its payload."""
    choices = Choices(data)
    command, version, payload = choices.pick(COMMANDS), choices.pick(VERSIONS), choices.rest()
    with suppress(PeerMisbehaved):
        message = decode(command, payload, version)
        same(message.to_payload(version), payload, f"{command} that was encoded again")
        _look_at(message)


def message_input(command: str, version: int, payload: bytes) -> bytes:
    """The bytes that `messages` reads as this message."""
    return bytes((COMMANDS.index(command), VERSIONS.index(version))) + payload


def _look_at(message: Message) -> None:
    """What is read off a message before anybody judges it."""
    if isinstance(message, QrInfo):
        held(len(message.rotation.in_order) == len(message.rotation.shares) + 2, "a list of a qrinfo is lost")
    if isinstance(message, Headers2):
        same(len(expand(message)), message.count * HEADER_SIZE, "the size of expanded headers")


def compressed_headers(data: bytes) -> None:
    """Compressed headers, expanded at once and piece by piece, and compressed again where they are linked."""
    choices = Choices(data)
    size, payload = choices.byte() % 8 + 1, choices.rest()
    with suppress(PeerMisbehaved):
        r = Reader(payload, "headers2")
        message = Headers2.read(r)
        r.end()
        same(message.to_bytes(), payload, "headers2 that was encoded again")
        raw = expand(message)
        same(_expanded(message, size), (raw, hashes := x11_many(raw)), "headers in pieces")
        links = [raw[at + 4 : at + 36] for at in range(HEADER_SIZE, len(raw), HEADER_SIZE)]
        if b"".join(links) == hashes[:-32]:
            same(expand(compress(raw)), raw, "headers that were compressed again")
            same(expand(compress(raw, announcement=True)), raw, "headers that were compressed for an announcement")


def _expanded(message: Headers2, size: int) -> tuple[bytes, bytes]:
    expansion, pieces = Expansion(message), list[tuple[bytes, bytes]]()
    while expansion.left:
        pieces.append(expansion.take(size))
    return b"".join([piece[0] for piece in pieces]), b"".join([piece[1] for piece in pieces])


def addresses(data: bytes) -> None:
    """Places as `addr`, `addrv2`, masternode entries and registrations tell them."""
    choices = Choices(data)
    form, payload = choices.below(4), choices.rest()
    r = Reader(payload)
    with suppress(PeerMisbehaved):
        if form == 0:
            first = AddressV1.parse(r)
            same(first.to_bytes(), r.since(0), "an addr record")
            _check_place(from_v1(first))
        elif form == 1:
            second = AddressV2.parse(r)
            same(second.to_bytes(), r.since(0), "an addrv2 record")
            _check_place(from_v2(second))
        elif form == 2:
            for place in from_service(payload):
                _check_place(place)
        else:
            same(take_netinfo(r, EXTENDED_VERSION), r.since(0), "an extended address")


def _check_place(place: Address | None) -> None:
    """A place has one text, one form on each wire, and a group."""
    if place is None:
        return
    same(Address.parse(str(place), 1), place, "a place read from its text")
    same(place.canonical, place, "the canonical form of a place from the wire")
    held(isinstance(place.is_routable, bool) and bool(group(place)), "a place without a group")
    if place.kind is not Kind.NAME:
        newer = to_v2(place, 1, 1)
        held(newer is not None and from_v2(newer) == place, f"{place} as addrv2")
    older = to_v1(place, 1, 1)
    held(older is None or from_v1(older) == place, f"{place} as addr")
