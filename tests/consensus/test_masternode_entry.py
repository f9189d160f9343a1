"""Masternode entries in every form they have on the wire."""

from __future__ import annotations

import attrs
import pytest

from phasegate.consensus.codec import Reader, dsha, u16
from phasegate.consensus.faults import Malformed
from phasegate.consensus.masternode_entry import EVO, MasternodeEntry
from phasegate.consensus.netinfo import take_netinfo

LEGACY = MasternodeEntry(1, b"\1" * 32, bytes(32), b"\2" * 18, b"\3" * 48, b"\4" * 20, True)
BASIC = attrs.evolve(LEGACY, version=2)
HIGH = attrs.evolve(BASIC, type=EVO, http_port=443, node_id=b"\5" * 20, valid=False)
LONG = b"\1\2" + b"\0\2" + b"\1\1\4\1\2\3\4\x27\x0f" + b"\2\x0bexample.org\x01\xbb" + b"\2\1\xff"
EXTENDED = attrs.evolve(HIGH, version=3, address=LONG, http_port=None)

ALL = [LEGACY, BASIC, HIGH, EXTENDED]


@pytest.mark.parametrize("entry", ALL)
@pytest.mark.parametrize("protocol", [70228, 70229, 70230, 70240])
def test_from_70228_on_every_version_reads_back(entry: MasternodeEntry, protocol: int) -> None:
    raw = entry.to_bytes(protocol)
    r = Reader(raw)
    assert MasternodeEntry.parse(r, protocol) == entry
    assert MasternodeEntry.parse(Reader(raw), protocol).to_bytes(protocol) == raw
    r.end()


@pytest.mark.parametrize("entry", [BASIC, HIGH])
def test_at_70227_the_type_is_sent_without_the_version(entry: MasternodeEntry) -> None:
    raw = entry.to_bytes(70227)
    assert raw == entry.to_bytes(70228)[2:]
    assert MasternodeEntry.parse(Reader(raw), 70227) == entry


@pytest.mark.parametrize("entry", ALL)
def test_the_leaf_covers_all_but_the_version(entry: MasternodeEntry) -> None:
    assert entry.leaf_hash() == dsha(entry.to_bytes(70240)[2:])


def test_the_http_port_is_little_endian() -> None:
    """DIP4 says otherwise; real lists do not."""
    assert HIGH.to_bytes(70240)[-22:-20] == b"\xbb\x01"


@pytest.mark.parametrize("version", [0, 4])
def test_an_unknown_version_is_malformed(version: int) -> None:
    with pytest.raises(Malformed):
        MasternodeEntry.parse(Reader(u16(version) + BASIC.to_bytes(70240)[2:]), 70240)


def test_a_truth_value_is_zero_or_one() -> None:
    raw = bytearray(LEGACY.to_bytes(70240))
    raw[-1] = 2
    with pytest.raises(Malformed):
        MasternodeEntry.parse(Reader(bytes(raw)), 70240)


@pytest.mark.parametrize("raw", [b"\2\0", b"\1\1\0\1\7", b"\1\1\0\1\2\xfd\xff\xff", b"\1\x64"])
def test_an_extended_address_of_unknown_form_or_size_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        take_netinfo(Reader(raw + bytes(40)), 3)
