"""Where addresses come from: seeds that may be dead, slow or liars, the built-in nodes, and the masternode list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.codec import Reader
from phasegate.consensus.masternode_entry import EVO, MasternodeEntry
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState
from phasegate.consensus.params import MAINNET, REGTEST, SIMNET, TESTNET, Network
from phasegate.p2p.address_groups import group, is_routable
from phasegate.p2p.addresses import Address
from phasegate.p2p.discovery import MAX_ANSWERS, Seeded, masternode_addresses, resolve_all, resolve_seed
from phasegate.p2p.seeds import built_in

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
LISTS = [
    (MAINNET, "mn_list_diff_0_2227096.ipfixed.bin", 2_227_096, 250),
    (TESTNET, "mnlistdiff-testnet-0-905762-after20.HF.dat", 905_762, 60),
]


@attrs.frozen
class Answer:
    """What a name has, after how many seconds; an error is raised."""

    hosts: Sequence[str] = ()
    after: float = 0.0
    error: OSError | None = None


@attrs.define
class Names:
    """A `resolve` seam: a table of names, and what was asked."""

    table: Mapping[str, Answer] = attrs.field(factory=dict)
    asked: list[tuple[str, int]] = attrs.field(factory=list)

    async def __call__(self, host: str, port: int, /) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.table[host]
        await trio.sleep(answer.after)
        if answer.error:
            raise answer.error
        return answer.hosts


async def seeded(answer: Answer, name: str = "seed.example") -> Seeded:
    """What one seed gives."""
    return await resolve_seed(Names({"seed.example": answer}), name, 9999)


@pytest.mark.trio
async def test_a_seed_gives_all_its_addresses_once() -> None:
    """Both families, in the order of the answer, in one spelling; its own port is that of its nodes."""
    answer = Answer(["203.0.113.1", "2001:DB8:0::1", "203.0.113.1", "::ffff:203.0.113.2", "2001:db8::1"])
    hosts = ["203.0.113.1", "2001:db8::1", "203.0.113.2"]
    assert await seeded(answer) == Seeded("seed.example", tuple(Address(host, 9999) for host in hosts))
    own = await seeded(answer, "seed.example:1234")
    assert own == Seeded("seed.example:1234", tuple(Address(host, 1234) for host in hosts))


@pytest.mark.trio
async def test_what_nobody_can_connect_to_is_dropped() -> None:
    """Nowhere, everybody, one cable only, what would pass for CJDNS, and no number at all; if nothing is left, why."""
    nowhere = str(IPv4Address(0))
    useless = [nowhere, "::", "224.0.0.1", "ff02::1", "fe80::1%eth0", "169.254.1.1", "::ffff:0:0", "fc00::1", "x", ""]
    assert await seeded(Answer(useless)) == Seeded("seed.example", (), "no usable address")
    assert await seeded(Answer([])) == Seeded("seed.example", (), "no usable address")
    assert (await seeded(Answer([*useless, "127.0.0.1"]))).addresses == (Address("127.0.0.1", 9999),)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("203.0.113.7", Address("203.0.113.7", 9999)),
        ("203.0.113.7:1", Address("203.0.113.7", 1)),
        ("[2001:db8::7]:1", Address("2001:db8::7", 1)),
        ("2001:db8::7", Address("2001:db8::7", 9999)),
        (ONION, Address(ONION, 9999)),
        ("x.b32.i2p:1", Address("x.b32.i2p", 1)),
    ],
)
async def test_an_address_is_a_seed_that_needs_no_look_up(name: str, address: Address) -> None:
    """Numbers are what they are, and a hidden service is never given to DNS."""
    names = Names()
    assert await resolve_seed(names, name, 9999) == Seeded(name, (address,))
    assert names.asked == []


@pytest.mark.trio
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(-2, "Name or service not known"), "Name or service not known"),
        (OSError("names are resolved by the proxy"), "names are resolved by the proxy"),
        (TimeoutError(), "TimeoutError"),
    ],
)
async def test_a_dead_seed_is_a_result_with_a_reason(error: OSError, said: str) -> None:
    """Whatever the resolver raises, discovery goes on."""
    assert await seeded(Answer(error=error)) == Seeded("seed.example", (), said)


@pytest.mark.trio
@pytest.mark.parametrize(
    "name", ["", "a..b", "seed.example:0", "seed.example:70000", "ſeed.example", f"{'x' * 64}.example"]
)
async def test_what_is_no_seed_is_a_result_with_a_reason(name: str) -> None:
    """A slip of the pen in one seed costs that seed only, and asks nobody."""
    names = Names()
    result = await resolve_seed(names, name, 9999)
    assert (result.name, result.addresses, names.asked) == (name, (), [])
    assert "is not HOST:PORT" in result.error


numbers = st.one_of(st.ip_addresses().map(str), st.integers(0, 600).map(lambda n: str(IPv4Address(0x01020000 + n))))


@given(st.lists(st.one_of(numbers, st.text(max_size=8)), max_size=20), st.integers(0, 400))
def test_whatever_a_seed_answers_is_bounded_and_clean(answers: list[str], more: int) -> None:
    """At most 256 addresses, each once, each one that parses again; none is invented."""
    padded = [*answers, *[str(IPv6Address(0x20010DB8 << 96 | n)) for n in range(more)]]
    result = trio.run(seeded, Answer(padded), clock=trio.testing.MockClock(autojump_threshold=0))
    assert len(result.addresses) == len(set(result.addresses)) <= MAX_ANSWERS
    assert len(result.addresses) >= min(more, MAX_ANSWERS)
    assert all(Address.parse(str(address), 1) == address == address.canonical for address in result.addresses)
    assert {address.network for address in result.addresses} <= {Address(host, 1).network for host in padded}
    assert bool(result.addresses) != bool(result.error)


@pytest.mark.trio
async def test_all_seeds_are_asked_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Each is told as soon as it is there; the dead and the silent hold up nobody, and each name is asked once."""
    one = ["203.0.113.1"]
    table = {
        "slow": Answer(one, after=4),
        "dead": Answer(error=OSError("refused"), after=3),
        "silent": Answer(one, after=1e6),
        "quick": Answer(one, after=1),
        "late": Answer(one, after=5.5),
    }
    names, told = Names(table), list[tuple[float, str, int, str]]()
    start = trio.current_time()

    def found(seeded: Seeded) -> None:
        told.append((trio.current_time() - start, seeded.name, len(seeded.addresses), seeded.error))

    await resolve_all(names, [*table, "quick", "192.0.2.1:1"], 9999, timeout=5, found=found)
    assert told[:4] == [(0, "192.0.2.1:1", 1, ""), (1, "quick", 1, ""), (3, "dead", 0, "refused"), (4, "slow", 1, "")]
    assert sorted(told[4:]) == [(5, name, 0, "no answer within 5 s") for name in ("late", "silent")]
    assert sorted(names.asked) == sorted((name, 9999) for name in table)


@pytest.mark.trio
async def test_discovery_can_be_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelled, it ends at once; what had been told stays told, and nothing more is."""
    names, told = Names({"quick": Answer(["203.0.113.1"], 1), "slow": Answer(["203.0.113.2"], 3)}), list[str]()
    with trio.move_on_after(2) as scope:
        await resolve_all(names, names.table, 9999, timeout=60, found=lambda seeded: told.append(seeded.name))
    assert (scope.cancelled_caught, told, trio.current_time()) == (True, ["quick"], 2)


@pytest.mark.parametrize(("network", "count", "port"), [(MAINNET, 250, 9999), (TESTNET, 60, 19999)])
def test_built_in_nodes_are_fit_and_spread(network: Network, count: int, port: int) -> None:
    """Each line is an address that the internet can reach, as it is spelled, alone in its network group."""
    nodes = built_in(network)
    assert len(nodes) == count
    assert all(is_routable(node) and ip_address(node.host).is_global for node in nodes)
    assert all(node == node.canonical and node.port == port for node in nodes)
    assert len({group(node) for node in nodes}) == len({node.host for node in nodes}) == count
    assert built_in(network) is nodes


@pytest.mark.parametrize("network", [REGTEST, SIMNET])
def test_private_networks_have_no_built_in_nodes(network: Network) -> None:
    """There a stranger is never asked."""
    assert built_in(network) == ()


@pytest.mark.parametrize(("network", "name", "height", "most"), LISTS)
def test_built_in_nodes_are_what_their_header_says(
    shared: Path, network: Network, name: str, height: int, most: int
) -> None:
    """Chosen from the public masternode list of a block by a rule that leaves no choice, and so can be checked."""
    state = _state(shared, name, height)
    evo = {place for entry in state.entries.values() if entry.type == EVO for place in _places([entry])}
    assert set(built_in(network)) == _chosen(_places(state.entries.values()), evo, most)


def _chosen(places: Iterable[Address], evo: set[Address], most: int) -> set[Address]:
    """One for each group: an evo node before others, then the lowest SHA-256."""
    order = sorted(places, key=lambda place: (place not in evo, hashlib.sha256(str(place).encode()).digest()))
    first = {group(place): place for place in reversed(order)}
    return set([place for place in order if first[group(place)] == place][:most])


def _places(entries: Iterable[MasternodeEntry]) -> list[Address]:
    state = MasternodeState(1, bytes(32), {entry.pro_tx_hash: entry for entry in entries}, {})
    return [address for address, _ in masternode_addresses(state) if is_routable(address)]


def _state(shared: Path, name: str, height: int) -> MasternodeState:
    diff = MasternodeListDiff.parse(Reader((shared / "vectors" / "mnlist" / name).read_bytes()), 70230)
    return MasternodeState(height, diff.block_hash, {entry.pro_tx_hash: entry for entry in diff.added}, {})


def test_the_masternode_list_is_a_source_of_addresses(shared: Path) -> None:
    """Of a real list: every masternode that is not banned, at its own port, and nobody else."""
    _, name, height, _ = LISTS[0]
    state = _state(shared, name, height)
    found = list(masternode_addresses(state))
    assert len(found) == state.valid_count == 2305
    assert {services for _, services in found} == {0}
    assert all(is_routable(address) and address.port == 9999 for address, _ in found)


def test_banned_and_nameless_masternodes_are_left_out() -> None:
    """A banned one, one without an address, and one that gives a name, which could lead anywhere tomorrow."""
    plain = bytes(10) + b"\xff\xff" + bytes([198, 41, 0, 4]) + (9999).to_bytes(2, "big")
    named = b"\1\1\0\2\2\x0cnode.example" + (9999).to_bytes(2, "big") + b"\1\1\4\x08\x08\x08\x08" + b"\x27\x0f"
    forms = [(2, plain, True), (2, plain, False), (2, bytes(18), True), (3, named, True), (3, b"\1\0", True)]
    entries = {
        bytes([n]) * 32: MasternodeEntry(version, bytes([n]) * 32, bytes(32), address, bytes(48), bytes(20), valid)
        for n, (version, address, valid) in enumerate(forms)
    }
    found = list(masternode_addresses(MasternodeState(1, bytes(32), entries, {})))
    assert found == [(Address("198.41.0.4", 9999), 0), (Address("8.8.8.8", 9999), 0)]
