"""Addresses: one text for each place, the networks and groups they belong to, and every form they travel in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader, u16be, var_bytes
from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.p2p.address_forms import from_service, from_v1, from_v2, to_v1, to_v2
from phasegate.p2p.address_groups import group, is_routable
from phasegate.p2p.addresses import Address, BadAddress, Kind
from phasegate.p2p.messages_peer import NO_ADDRESS, AddressV1, AddressV2

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
ONION_KEY = "79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f"
I2P = "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p"
I2P_HASH = "a2894dabaec08c0051a481a6dac88b64f98232ae42d4b6fd2fa81952dfe36a87"
MAPPED = bytes(10) + b"\xff\xff"
SIZES = {Kind.IPV4: 4, Kind.IPV6: 16, Kind.TORV3: 32, Kind.I2P: 32, Kind.CJDNS: 16}
KNOWN = [
    (Kind.IPV4, "01020304", "1.2.3.4"),
    (Kind.IPV6, "1a1b2a2b3a3b4a4b5a5b6a6b7a7b8a8b", "1a1b:2a2b:3a3b:4a4b:5a5b:6a6b:7a7b:8a8b"),
    (Kind.IPV6, "20010db8000000000000000000000007", "2001:db8::7"),
    (Kind.TORV3, ONION_KEY, ONION),
    (Kind.I2P, I2P_HASH, I2P),
    (Kind.CJDNS, "fc000001000200030004000500060007", "fc00:1:2:3:4:5:6:7"),
]


def address_at(host: str) -> Address:
    return Address(host, 9999)


def told(network: int, raw: bytes, port: int = 9999) -> AddressV2:
    return AddressV2(1_700_000_000, 5, network, raw, port)


def wire(network: int) -> st.SearchStrategy[AddressV2]:
    size = SIZES.get(Kind(network), 10) if network in set(Kind) else 10
    return st.builds(told, st.just(network), st.binary(min_size=size, max_size=size), st.integers(1, 65535))


@pytest.mark.parametrize(("kind", "raw", "host"), KNOWN)
def test_the_examples_of_bip155_are_read_and_written(kind: Kind, raw: str, host: str) -> None:
    """One network, its bytes and its text, in every direction; the onion's checksum is computed."""
    record = told(kind, bytes.fromhex(raw))
    address = from_v2(record)
    assert address == address_at(host)
    assert address.network == (kind, bytes.fromhex(raw))
    assert to_v2(address, record.time, record.services) == record
    assert address_at(host.upper()).canonical == address


@pytest.mark.parametrize(
    "host",
    [
        "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion",
        "facebookwkhpilnemxj7asaniu7vnjjbiltxjqhye3mhbshg7kx5tfyd.onion",
    ],
)
def test_real_onions_have_the_checksum_we_compute(host: str) -> None:
    """Key, checksum and version of services that exist; one other character and it is no onion any more."""
    kind, key = address_at(host).network
    assert (kind, Address.of(kind, key, 1).host) == (Kind.TORV3, host)
    for spot in (0, 30, 52, 53, 55):
        other = host[:spot] + ("a" if host[spot] != "a" else "b") + host[spot + 1 :]
        assert address_at(other).kind is Kind.NAME


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("::ffff:10.0.0.1", Kind.IPV4),
        ("fe80::1%eth0", Kind.IPV6),
        ("fd00::1", Kind.IPV6),
        ("fcff::1", Kind.CJDNS),
        ("1.2.3.256", Kind.NAME),
        ("1.2.3", Kind.NAME),
        ("seed.example.org", Kind.NAME),
        ("expyuzz4wqqyqhjn.onion", Kind.NAME),  # Tor v2
        (I2P.replace("dq.b32", "dr.b32"), Kind.NAME),  # bits behind the last byte
        ("b32.i2p", Kind.NAME),
        ("ß" * 52 + ".b32.i2p", Kind.NAME),
    ],
)
def test_the_network_follows_from_the_text(host: str, kind: Kind) -> None:
    """What only looks like an address of a network is a name."""
    assert address_at(host).kind is kind


def test_port_zero_is_for_i2p_alone() -> None:
    """SAM 3.1 has no ports, so that is how such nodes are gossiped; written or on the wire it is nothing elsewhere."""
    address = from_v2(told(Kind.I2P, bytes.fromhex(I2P_HASH), 0))
    assert address == Address(I2P, 0) == Address.parse(f"{I2P}:0", 9999)
    assert from_v2(told(Kind.TORV3, bytes.fromhex(ONION_KEY), 0)) is None
    with pytest.raises(BadAddress):
        Address.parse(f"{ONION}:0", 9999)


@pytest.mark.parametrize("kind", SIZES)
def test_bytes_of_another_size_are_no_address(kind: Kind) -> None:
    """Neither on the wire nor by ourselves."""
    for size in (0, SIZES[kind] - 1, SIZES[kind] + 1):
        assert from_v2(told(kind, b"\xfc" * size)) is None
        with pytest.raises(ValueError, match=f"{kind.name} does not have {size} bytes"):
            Address.of(kind, b"\xfc" * size, 1)


@given(st.sampled_from([*SIZES, 0, 3, 7, 255]).flatmap(wire))
@example(told(2, MAPPED + b"\1\2\3\4"))
@example(told(3, bytes.fromhex("f1f2f3f4f5f6f7f8f9fa")))
@example(told(2, bytes.fromhex("fd87d87eeb43") + b"\1" * 10))
@example(told(2, bytes.fromhex("fd6b88c08724") + b"\1" * 10))
@example(told(2, b"\xfc" + b"\1" * 15))
@example(told(6, b"\xfd" + b"\1" * 15))
@example(told(1, bytes(4)))
@example(told(2, bytes(16)))
def test_addrv2_is_kept_exactly_or_not_at_all(record: AddressV2) -> None:
    """Unknown networks, Tor v2, disguises that BIP155 forbids and nobody's address are dropped; all else comes back."""
    address = from_v2(record)
    raw = record.address
    forbidden = raw.startswith((MAPPED, bytes.fromhex("fd87d87eeb43"), bytes.fromhex("fd6b88c08724"), b"\xfc"))
    foreign = (record.network == 6 and raw[0] != 0xFC) or (record.network == 2 and forbidden)
    assert (address is None) == (record.network not in set(SIZES) or foreign or not any(raw))
    if address is not None:
        assert to_v2(address, record.time, record.services) == record
        assert Address.parse(str(address), 1) == address == address.canonical


@given(
    st.binary(min_size=16, max_size=16) | st.binary(min_size=4, max_size=4).map(MAPPED.__add__), st.integers(0, 65535)
)
@example(NO_ADDRESS[:16], 0)
@example(bytes.fromhex("fd87d87eeb43") + b"\1" * 10, 1)
@example(MAPPED + bytes(4), 1)
@example(b"\xfc" + b"\1" * 15, 1)
def test_addr_is_kept_exactly_or_not_at_all(raw: bytes, port: int) -> None:
    """IPv4 stands there as mapped IPv6; CJDNS and old Tor have no place there."""
    record = AddressV1(1_700_000_000, 5, raw, port)
    address = from_v1(record)
    if address is None:
        assert not port or raw[:1] in (b"\xfc", b"\xfd") or not any(raw.removeprefix(MAPPED))
    else:
        assert address.kind is (Kind.IPV4 if raw.startswith(MAPPED) else Kind.IPV6)
        assert to_v1(address, record.time, record.services) == record
        assert Address.parse(str(address), 1) == address == address.canonical


@pytest.mark.parametrize("host", ["seed.example.org", "fe80::1%eth0"])
def test_what_means_something_only_here_is_not_told(host: str) -> None:
    """Names and zones do not go on the wire; other networks not in the old form."""
    assert to_v1(address_at(host), 1, 1) is None
    assert to_v2(address_at(host), 1, 1) is None
    assert to_v1(address_at(ONION), 1, 1) is None


@pytest.mark.parametrize(
    ("host", "kind", "prefix"),
    [
        ("1.2.3.4", Kind.IPV4, "0102"),
        ("::ffff:1.2.3.4", Kind.IPV4, "0102"),
        ("127.7.0.1", Kind.IPV4, "7f07"),  # in Core all of loopback is one group
        ("::ffff:0:102:304", Kind.IPV4, "0102"),
        ("64:ff9b::102:304", Kind.IPV4, "0102"),
        ("2002:102:304:9999:9999:9999:9999:9999", Kind.IPV4, "0102"),
        ("2001:0:9999:9999:9999:9999:fefd:fcfb", Kind.IPV4, "0102"),
        ("2001:470:abcd:9999:9999:9999:9999:9999", Kind.IPV6, "20010470a0"),
        ("2001:2001:9999:9999:9999:9999:9999:9999", Kind.IPV6, "20012001"),
        (ONION, Kind.TORV3, "70"),
        (I2P, Kind.I2P, "a0"),
        ("fc1f:2::1", Kind.CJDNS, "fc10"),
        ("Node.Example.org", Kind.NAME, b"node.example.org".hex()),
        ("dns", Kind.NAME, b"dns".hex()),
    ],
)
def test_groups_are_those_of_core(host: str, kind: Kind, prefix: str) -> None:
    """Prefixes by network; what carries IPv4 is grouped as that."""
    assert group(address_at(host)) == bytes((kind,)) + bytes.fromhex(prefix)


SPECIAL = """0.1.2.3 10.1.1.1 100.64.0.1 100.127.255.255 127.0.0.1 169.254.1.1 172.16.0.1 172.31.255.255 192.0.0.1
192.0.2.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 255.255.255.255 :: ::1 ::1.2.3.4
::ffff:10.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 100::1 2001:0:9999:9999:9999:9999:f5ff:fffe 2001:2::1 2001:10::1 2001:2f::1
2001:db8::1 2002:a00:1::1 2002:7f00:1::1 3fff::1 4000::1 fd00::1 fe80::1 fe80::1%eth0
fec0::1 ff02::1 seed.example.org"""
PUBLIC = f"""1.2.3.4 8.8.8.8 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.1 198.17.255.255 198.20.0.0
223.255.255.255 ::ffff:1.2.3.4 64:ff9b::808:808 2001:0:9999:9999:9999:9999:fefd:fcfb 2001:470::1 2001:30::1 2001:db9::1
2002:102:304::1 2600:1f18::7 2a01:4f8::1 fc00::1 fcff::1 {ONION} {I2P}"""


def test_what_the_public_cannot_reach_is_not_routable() -> None:
    """The special ranges at their edges, also inside IPv6 that carries IPv4; names are not gossiped."""
    assert not [host for host in SPECIAL.split() if is_routable(address_at(host))]
    assert not [host for host in PUBLIC.split() if not is_routable(address_at(host))]


@given(st.integers(0, (1 << 32) - 1))
def test_routable_ipv4_is_what_the_registry_calls_global(number: int) -> None:
    """By the tables of the standard library, which follow IANA's, except for a range with exceptions in it."""
    ip = IPv4Address(number)
    assume(ip.packed[:3] != b"\xc0\0\0")
    assert is_routable(address_at(str(ip))) == (ip.is_global and not ip.is_multicast)


@given(st.integers(0x2003 << 112, (1 << 128) - 1))
def test_routable_ipv6_is_global_unicast(number: int) -> None:
    """Above the transition formats the registry has nothing else."""
    ip = IPv6Address(number)
    assume(ip.packed[0] != 0xFC)
    documentation = number >> 108 == 0x3FFF0
    assert is_routable(address_at(str(ip))) == (number >> 125 == 1 and not documentation)


def extended(*purposes: tuple[int, list[bytes]]) -> bytes:
    each = [bytes((purpose, len(entries))) + b"".join(entries) for purpose, entries in purposes]
    return bytes((1, len(each))) + b"".join(each)


def service(network: int, raw: bytes, port: int = 9999) -> bytes:
    return bytes((1, network)) + var_bytes(raw) + u16be(port)


def domain(name: str, port: int = 9999) -> bytes:
    return b"\2" + var_bytes(name.encode()) + u16be(port)


def test_an_extended_entry_names_every_place_for_peers() -> None:
    """Of purpose 0 only, each once, of any network; entries that are no place are passed over."""
    onion, v4 = service(4, bytes.fromhex(ONION_KEY), 1), service(1, b"\1\2\3\4")
    raw = extended((1, [service(1, b"\5\5\5\5")]), (0, [v4, b"\xff", domain("Mn.Example.org"), onion, v4]), (2, []))
    assert from_service(raw) == (address_at("1.2.3.4"), address_at("mn.example.org"), Address(ONION, 1))
    assert not [cut for cut in range(len(raw)) if from_service(raw[:cut])]
    assert from_service(raw + b"\0") == from_service(b"\2" + raw[1:]) == from_service(extended()) == ()


@pytest.mark.parametrize(
    "name", ["localhost", "router", "mn.local", "127.1", "1.2.3.4", ONION, "a..org", "mn.org.", "m\xfc.org", ""]
)
def test_a_domain_is_only_what_dns_can_know(name: str) -> None:
    """Not a number in disguise, nor a name that leads to our own machine or must not be asked for."""
    assert from_service(extended((0, [domain(name)]))) == ()


def test_an_extended_form_of_the_old_size_is_still_read() -> None:
    """18 bytes that begin with 01 are a domain of ten characters, not an address of reserved space."""
    raw = extended((0, [domain("mn.dash.or")]))
    assert len(raw) == 18
    assert from_service(raw) == (address_at("mn.dash.or"),)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(b"\1\1\0".__add__))
def test_any_bytes_of_a_masternode_are_places_or_nothing(raw: bytes) -> None:
    """Nothing raises, and what is found can be written and read again."""
    for address in from_service(raw):
        assert Address.parse(str(address), 1) == address


@pytest.mark.parametrize(
    ("name", "count"),
    [("mn_list_diff_0_2227096.ipfixed.bin", 2800), ("mnlistdiff-mainnet-0-2028691-70230.dat", 3495)],
)
def test_every_masternode_of_mainnet_has_a_public_address_or_none(shared: Path, name: str, count: int) -> None:
    """Real entries convert byte for byte; only the all-zero ones have no place."""
    diff = MasternodeListDiff.parse(Reader((shared / "vectors" / "mnlist" / name).read_bytes()), 70230)
    found = {raw: from_service(raw) for raw in [entry.address for entry in diff.added] if any(raw)}
    assert not from_service(bytes(18))
    assert len(found) == count
    for raw, places in found.items():
        (address,) = places
        record = to_v1(address, 0, 0)
        assert record is not None
        assert record.to_bytes()[12:] == raw
        assert is_routable(address)
