"""Compressed headers: the record by the letter of DIP25 and the habits of Core."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.codec import i16, i32, u32
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.primitives import BlockHeader, header_at
from phasegate.p2p.compressed import MAX_COMPRESSED, Headers2, compress, expand, max_headers2
from phasegate.p2p.messages import decode

ROOT = b"\x07" * 32
FIRST = BlockHeader(1, bytes(32), ROOT, 1000, 0x207FFFFF, 1)


def chain(*fields: tuple[int, int, int]) -> bytes:
    """Linked headers of the given (version, time, bits)."""
    raw, prev = b"", bytes(32)
    for version, time, bits in fields:
        header = BlockHeader(version, prev, ROOT, time, bits, 5)
        raw, prev = raw + header.to_bytes(), header.hash
    return raw


FIELDS = st.tuples(
    st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(1, 9),
    st.integers(0, (1 << 32) - 1) | st.integers(1000, 1400),
    st.sampled_from([0x207FFFFF, 0x1E0FFFF0, 0]),
)


@given(fields=st.lists(FIELDS, max_size=24), announcement=st.booleans())
@settings(deadline=None)
def test_expanding_gives_back_what_was_compressed(fields: list[tuple[int, int, int]], announcement: bool) -> None:
    """Any linked headers survive, whatever their versions, times and bits, in answers and in announcements."""
    raw = chain(*fields)
    message = compress(raw, announcement=announcement)
    assert expand(message) == raw
    assert decode("headers2", message.to_payload(70240), 70240) == message


def test_a_full_message_of_8000_headers_fits_its_bound() -> None:
    """Even if no header saves anything the message is within its bound."""
    full = b"\x38" + FIRST.to_bytes()
    message = Headers2(MAX_COMPRESSED, full * MAX_COMPRESSED)
    payload = message.to_payload(70240)
    assert len(payload) == Headers2.max_payload
    assert decode("headers2", payload, 70240) == message


def test_only_an_announcement_remembers_its_first_version() -> None:
    """Core's answers send the version of the second header in full even when it is that of the first."""
    raw = chain((4, 0, 0), (4, 1, 0), (4, 2, 0))
    answer, announced = compress(raw), compress(raw, announcement=True)
    assert [answer.records[81], announced.records[81]] == [0, 1]
    assert answer.records[82:86] == i32(4)
    assert expand(answer) == expand(announced) == raw


@pytest.mark.parametrize(("step", "flags"), [(0x7FFF, 0), (0x8000, 16), (-1, 16), (0, 0)])
def test_a_step_that_core_does_not_pack_is_sent_as_full_time(step: int, flags: int) -> None:
    """Forward steps of at most 32767 seconds take two bytes; others, backward ones too, four."""
    message = compress(chain((1, 100_000, 0), (2, 100_000 + step, 0)))
    assert message.records[81] & 16 == flags


def test_a_negative_step_is_understood() -> None:
    """Other clients may use the sign; time counts modulo 2^32."""
    record = b"\x00" + i32(1) + ROOT + i16(-1001) + u32(7)
    headers = expand(Headers2(2, b"\x38" + FIRST.to_bytes() + record))
    assert BlockHeader.from_bytes(header_at(headers, 1)).time == (1 << 32) - 1


def test_the_eighth_version_back_is_forgotten() -> None:
    """Seven versions are remembered, the oldest gives way, and a version used again moves to the front."""
    versions = [9, 1, 2, 3, 4, 5, 6, 7, 8, 2, 1, 2]
    message = compress(chain(*[(version, 0, 0) for version in versions]))
    assert [expand(message)[80 * i] for i in range(12)] == versions
    assert _flags(message)[9:] == [7, 0, 2]


def _flags(message: Headers2) -> list[int]:
    """The flags of each record, the first being full and no other one giving time, bits or hash."""
    flags, at = [message.records[0]], 81
    while at < len(message.records):
        flags.append(message.records[at])
        at += 1 + (0 if flags[-1] & 7 else 4) + 38
    return flags


@pytest.mark.parametrize("flags", [0, 0x18, 0x28, 0x30, 0x39])
def test_a_first_header_that_leaves_something_out_is_refused(flags: int) -> None:
    """There is nothing before it to take it from."""
    with pytest.raises(PeerMisbehaved, match="not complete") as caught:
        expand(Headers2(1, bytes((flags,)) + bytes(100)))
    assert caught.value.fault is Fault.BAD_COMPRESSED_HEADERS


def test_a_reference_to_a_version_never_sent_is_refused() -> None:
    """After one version there is no second."""
    with pytest.raises(PeerMisbehaved, match="header 1") as caught:
        expand(Headers2(2, b"\x38" + FIRST.to_bytes() + b"\x02" + bytes(38)))
    assert caught.value.fault is Fault.BAD_COMPRESSED_HEADERS


def test_older_peers_send_fewer() -> None:
    """A full message has 8,000 headers from protocol 70235 on, 2,000 before."""
    assert (max_headers2(70234), max_headers2(70235)) == (2000, 8000)
