"""The codec of each message: exact inverses, strict ends, bounds, and nothing but named faults on garbage."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader, compact_size
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.primitives import BlockHeader, OutPoint, Transaction, TxIn, TxOut
from phasegate.p2p import messages as m
from phasegate.p2p.compressed import compress
from phasegate.p2p.messages_chain import PrefilledTx

Recorded = tuple[str, str, bytes]
Conversations = Callable[[int], list[Recorded]]

A, B, SIG = b"\x11" * 32, b"\x22" * 32, b"\x33" * 96
TX = Transaction(3, 8, (TxIn(OutPoint(A, 1), b"\x51"),), (TxOut(5, b"\x6a"),), 7, b"payload")
HEADER = BlockHeader(0x20000000, A, B, 1417713337, 0x207FFFFF, 9)
SAMPLES: tuple[m.KnownMessage, ...] = (
    *(m.Version(70240, 69, 1417713400, nonce=5, user_agent="/x:1/", tail=tail) for tail in (4, 5, 6)),
    *(m.Verack(), m.SendAddrV2(), m.SendHeaders(), m.SendHeaders2(), m.GetAddr(), m.Mempool(), m.GetSporks()),
    *(m.SendCmpct(False, 1), m.SendDsq(True), m.Ping(1 << 63), m.Pong(0)),
    m.Addr((m.AddressV1(1, 2, bytes(16), 9999), m.AddressV1(3, 4, b"\1" * 16, 1))),
    m.AddrV2((m.AddressV2(1, 1 << 40, 1, bytes(4), 9), m.AddressV2(2, 0, 4, A, 1), m.AddressV2(3, 0, 99, b"", 1))),
    *(m.MnAuth(A, SIG), m.Spork(10001, -1, 1, b"\4" * 65), m.SyncStatusCount(2, -1)),
    *(m.GetHeaders(70240, (A, B)), m.GetHeaders2(70240, (A,), B), m.GetBlocks(-1, ())),
    *(m.Headers(b""), m.Headers(HEADER.to_bytes() * 3), compress(HEADER.to_bytes() * 9)),
    m.Inv((m.InvItem(m.InvType.TX, A), m.InvItem(0xFFFFFFFF, B))),
    *(m.GetData((m.InvItem(m.InvType.BLOCK, A),)), m.NotFound(())),
    *(m.TxMessage(TX), m.CmpctBlock(HEADER, 1, b"sixsix" * 2, (PrefilledTx(0, TX),))),
    *(m.GetCFilters(0, 1, A), m.GetCFHeaders(0, 2, B), m.GetCFCheckpt(0, A)),
    *(m.CFilter(0, A, b"\0"), m.CFHeaders(0, A, B, A + B), m.CFCheckpt(0, A, B)),
    *(m.GetMnListDiff(A, B), m.GetQrInfo((A, B), A, True), m.GetQrInfo((), A, False)),
    *(m.ClSig(-1, A, SIG), m.IsdLock(1, (OutPoint(A, 1), OutPoint(B, 0)), A, B, SIG)),
)
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.command)


@each_sample
def test_a_message_decodes_to_what_was_encoded(sample: m.KnownMessage) -> None:
    """Encoding and decoding are inverses."""
    payload = sample.to_payload(70240)
    assert m.decode(sample.command, payload, 70240) == sample
    assert len(payload) <= sample.max_payload


def test_every_known_kind_is_tested(conversation: Conversations) -> None:
    """Each kind in the registry has a sample here or stands in a recording."""
    assert {s.command for s in SAMPLES} | {c for _, c, _ in conversation(70240)} == set(m.KNOWN)
    assert all(command == kind.command and 1 <= len(command) <= 12 for command, kind in m.KNOWN.items())


@each_sample
def test_a_message_cut_anywhere_is_malformed(sample: m.KnownMessage) -> None:
    """No proper beginning of a message is a message, but a version that ends between two optional fields."""
    payload = sample.to_payload(70240)
    for cut in range(len(payload)):
        if not isinstance(sample, m.Version):
            with pytest.raises(Malformed):
                m.decode(sample.command, payload[:cut], 70240)
        else:
            _same_or_refused(sample.command, payload[:cut])


@each_sample
def test_a_byte_behind_a_message_is_refused(sample: m.KnownMessage) -> None:
    """Messages are read to the last byte; where each is bounded to its exact size the bound says so."""
    tail = b"\2" * (33 if isinstance(sample, m.Version) else 1)
    with pytest.raises(PeerMisbehaved) as caught:
        m.decode(sample.command, sample.to_payload(70240) + tail, 70240)
    assert caught.value.fault in (Fault.MALFORMED_MESSAGE, Fault.OVERSIZED_MESSAGE)


def test_a_message_of_unknown_kind_is_kept_as_it_came() -> None:
    """What this client does not read is no error."""
    message = m.decode("dsq", b"anything", 70240)
    assert message == m.Unknown("dsq", b"anything")
    assert message.to_payload(70240) == b"anything"


@pytest.mark.parametrize("command", [*m.KNOWN, "unknown"])
def test_a_payload_above_its_bound_is_oversized(command: str) -> None:
    """No kind has a bound above 3 MiB, and one byte more than the bound is refused unread."""
    assert m.max_payload(command) <= m.MAX_PAYLOAD
    with pytest.raises(PeerMisbehaved) as caught:
        m.decode(command, bytes(m.max_payload(command) + 1), 70240)
    assert caught.value.fault is Fault.OVERSIZED_MESSAGE


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        ("getheaders", bytes(4) + b"\x66" + bytes(32 * 101)),
        ("headers", compact_size(1) + HEADER.to_bytes() + b"\1"),
        ("headers", compact_size(2001) + bytes(81 * 1999)),
        ("headers2", compact_size(8001) + bytes(9000)),
        ("headers2", b"\1" + b"\xb8" + HEADER.to_bytes()),
        ("inv", compact_size(50_001) + bytes(36 * 49_999)),
        ("inv", b"\xfe\xff\xff\xff\x00"),
        ("cfheaders", bytes(65) + compact_size(2001) + bytes(60_000)),
        ("cfilter", bytes(33) + b"\xfd\x01\x00" + b"\0"),
        ("addr", compact_size(1001) + bytes(29_000)),
        ("addrv2", b"\1" + bytes(4) + b"\0" + b"\1" + b"\5" + bytes(5) + bytes(2)),
        ("senddsq", b"\2"),
        ("isdlock", b"\2" + b"\0" + bytes(160)),
        ("version", bytes(46) + bytes(34) + compact_size(257) + b"x" * 257),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_rule_of_the_form_is_malformed(command: str, payload: bytes) -> None:
    """Too many items, a flag that is none, an unknown form or a long-winded count: one fault names them all."""
    with pytest.raises(Malformed):
        m.decode(command, payload, 70240)


def test_an_old_version_may_end_after_the_addresses() -> None:
    """Fields that are missing from the end have their defaults and stay missing when encoded again."""
    payload = m.Version(209, 1, 2, tail=0).to_payload(209)
    message = m.decode("version", payload, 209)
    assert len(payload) == 46
    assert message == m.Version(209, 1, 2, tail=0)
    assert message.to_payload(209) == payload


def _same_or_refused(command: str, payload: bytes, version: int = 70240) -> None:
    """What decodes must encode to the same bytes; what does not must be a named fault."""
    try:
        message = m.decode(command, payload, version)
    except PeerMisbehaved:
        return
    assert message.to_payload(version) == payload


VERSIONS = st.sampled_from([70227, 70228, 70229, 70230, 70235, 70240])


@given(command=st.sampled_from(sorted(m.KNOWN)), payload=st.binary(max_size=400), version=VERSIONS)
@settings(max_examples=1500, deadline=None)
def test_garbage_is_a_named_fault_or_a_message(command: str, payload: bytes, version: int) -> None:
    """Any bytes under any name: nothing but PeerMisbehaved is ever raised, and what is accepted is canonical."""
    _same_or_refused(command, payload, version)


@given(data=st.data(), version=VERSIONS)
@settings(max_examples=1500, deadline=None)
def test_a_mutated_message_is_a_named_fault_or_another_message(data: st.DataObject, version: int) -> None:
    """Bytes changed, cut out or put into a real message: the same law."""
    sample = data.draw(st.sampled_from(SAMPLES))
    _same_or_refused(sample.command, _mutated(data, sample.to_payload(version)), version)


@pytest.fixture(scope="module")
def real(conversation: Conversations) -> list[tuple[int, str, bytes]]:
    """The recorded messages of all versions, as (version, command, payload)."""
    return [(v, command, payload) for v in (70227, 70228, 70230, 70240) for _, command, payload in conversation(v)]


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_a_mutated_recording_is_a_named_fault_or_another_message(
    real: list[tuple[int, str, bytes]], data: st.DataObject
) -> None:
    """The same for recorded lists, rotation data, headers and blocks."""
    version, command, payload = data.draw(st.sampled_from(real))
    _same_or_refused(command, _mutated(data, payload), version)


@pytest.mark.parametrize("name", ["mainnet-0-2028764-70230.dat.xz", "testnet-0-905770-70230-after20.HF.dat"])
def test_real_rotation_data_is_rebuilt_byte_for_byte(shared: Path, name: str) -> None:
    """Whole public networks: 32 commitments, five lists; the mainnet one from genesis is longer than a frame may be."""
    path = shared / "vectors" / "qrinfo" / f"qrinfo-{name}"
    raw = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    r = Reader(raw, "qrinfo")
    info = m.QrInfo.parse(r, 70230)
    r.end()
    assert (len(info.last_commitments), len(info.earlier), info.extra is not None) == (32, 3, True)
    assert info.to_payload(70230) == raw


def _mutated(data: st.DataObject, payload: bytes) -> bytes:
    at = data.draw(st.integers(0, len(payload)))
    removed = data.draw(st.integers(0, 4))
    return payload[:at] + data.draw(st.binary(max_size=4)) + payload[at + removed :]
