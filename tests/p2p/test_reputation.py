"""What is held against whom: penalties that add up, are forgiven, end in bans, and survive clocks and restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.p2p.addresses import Address
from phasegate.p2p.reputation import BANNED_AT, BY_HAND, EVERY_PORT, MOST, Ban, Record, Reputation

NOW = 1_800_000_000.0
DAY, HOUR = 86_400.0, 3600.0
PUBLIC, OTHER_PORT = Address("11.22.33.44", 9999), Address("11.22.33.44", 19999)
PRIVATE, NEIGHBOUR = Address("127.0.0.1", 19899), Address("127.0.0.1", 19900)
LIE, FLOOD = (PeerMisbehaved(fault, "why") for fault in (Fault.BAD_FILTER, Fault.FLOODING))
ALL = [PUBLIC, OTHER_PORT, PRIVATE, NEIGHBOUR]


def fresh() -> Reputation:
    return Reputation(DAY, HOUR)


@pytest.mark.parametrize("fault", Fault)
def test_what_no_honest_node_sends_is_a_ban_at_once(fault: Fault) -> None:
    """Every fault has its penalty; 100 is a ban for its time, with its reason; less is not, and 0 is nothing."""
    reputation = fresh()
    ban = reputation.blame(PUBLIC, PeerMisbehaved(fault, "height 5"), NOW)
    assert 0 <= fault.penalty <= BANNED_AT
    assert (ban is not None) == (fault.penalty == BANNED_AT)
    assert reputation.banned(PUBLIC, NOW) == ban
    assert bool(reputation.records) == (fault.penalty > 0)
    if ban is not None:
        assert (ban.reason, str(ban)) == (fault.code, f"{fault.code}: height 5")
        assert reputation.banned(PUBLIC, NOW + DAY - 1) == ban
        assert reputation.banned(PUBLIC, NOW + DAY) is None


def test_small_offences_add_up_and_are_forgiven() -> None:
    """Two at once are a ban, three within an hour too; one a day never is; half is forgiven each hour."""
    reputation = fresh()
    assert reputation.blame(PUBLIC, FLOOD, NOW) is None
    assert reputation.score(PUBLIC, NOW + HOUR) == pytest.approx(25)
    assert reputation.blame(PUBLIC, FLOOD, NOW + HOUR) is None
    assert reputation.score(PUBLIC, NOW + HOUR) == pytest.approx(75)
    assert reputation.blame(PUBLIC, FLOOD, NOW + HOUR) is not None
    rare = fresh()
    assert all(rare.blame(PUBLIC, FLOOD, NOW + n * DAY) is None for n in range(30))
    assert fresh().score(PUBLIC, NOW) == 0.0


def test_after_a_ban_one_begins_anew() -> None:
    """The next small offence after it is no second ban."""
    reputation = fresh()
    reputation.blame(PUBLIC, LIE, NOW)
    assert reputation.blame(PUBLIC, FLOOD, NOW + DAY) is None


def test_a_ban_holds_for_a_public_host_and_for_one_port_of_a_private_one() -> None:
    """Behind loopback, a home router or a name there are many nodes."""
    reputation = fresh()
    for liar in (PUBLIC, PRIVATE, Address("seed.example", 1)):
        reputation.blame(liar, LIE, NOW)
    assert [reputation.banned(at, NOW) is not None for at in ALL] == [True, True, True, False]
    assert reputation.banned(Address("seed.example", 2), NOW) is None


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("2600:0::7", "2600::7"),
        ("2600::ABCD", "2600::abcd"),
        ("::ffff:11.22.33.44", "11.22.33.44"),
        ("Seed.X", "seed.x"),
    ],
)
def test_however_it_is_written_it_is_the_same_host(one: str, same: str) -> None:
    """Who is banned under one spelling is so under the other."""
    for first, second in ((one, same), (same, one)):
        reputation = fresh()
        reputation.blame(Address(first, 9999), LIE, NOW)
        assert reputation.banned(Address(second, 9999), NOW) is not None
        assert reputation.score(Address(second, 9999), NOW) == reputation.score(Address(first, 9999), NOW)


def test_people_ban_and_unban() -> None:
    """A host or a port; lifting a ban of one port lifts that of its host too, or it would stay banned."""
    reputation = fresh()
    reputation.ban(PUBLIC.host, EVERY_PORT, NOW + HOUR, NOW, "rude")
    reputation.ban(PRIVATE.host, PRIVATE.port, NOW + HOUR, NOW)
    assert str(reputation.banned(OTHER_PORT, NOW)) == f"{BY_HAND}: rude"
    assert str(reputation.banned(PRIVATE, NOW)) == BY_HAND
    assert reputation.unban(PRIVATE.host, NEIGHBOUR.port) == 0
    assert reputation.unban(OTHER_PORT.host, OTHER_PORT.port) == 1
    assert reputation.unban(PRIVATE.host) == 1
    assert reputation.records == ()


def test_only_differences_are_stored() -> None:
    """Each change once; loading them gives the same reputation, and what is over is deleted."""
    reputation, stored = fresh(), dict[tuple[str, int], Record]()
    reputation.blame(PUBLIC, LIE, NOW)
    reputation.blame(PRIVATE, FLOOD, NOW)
    records, gone = reputation.take_changes()
    stored.update({(record.host, record.port): record for record in records})
    assert (len(records), gone, reputation.take_changes()) == (2, [], ([], []))
    later = fresh()
    later.load(stored.values(), NOW + HOUR)
    assert later.banned(OTHER_PORT, NOW + HOUR) == reputation.banned(PUBLIC, NOW)
    assert later.score(PRIVATE, NOW + HOUR) == pytest.approx(25)
    assert later.take_changes() == ([], [])
    over = fresh()
    over.load(stored.values(), NOW + 2 * DAY)
    assert over.records == ()
    assert over.take_changes() == ([], [(PUBLIC.host, 0), (PRIVATE.host, PRIVATE.port)])


def test_a_clock_that_is_set_back_makes_no_ban_longer() -> None:
    """A ban of a day that seems to begin in ten years ends after a day, also one that comes from the store."""
    ahead = NOW + 3650 * DAY
    reputation = fresh()
    reputation.blame(PUBLIC, LIE, ahead)
    later = fresh()
    later.load(reputation.records, NOW)
    reputation.expire(NOW)
    for one in (reputation, later):
        assert one.banned(PUBLIC, NOW + DAY - 1) is not None
        assert one.banned(PUBLIC, NOW + DAY) is None
        assert one.take_changes()[0][0].time == NOW


def test_what_is_remembered_is_bounded() -> None:
    """The oldest scores go first, bans stay; a stored surplus is cut likewise."""
    reputation = fresh()
    reputation.blame(PUBLIC, LIE, NOW)
    crowd = [Address(f"12.{n >> 8}.{n & 255}.1", 9999) for n in range(MOST + 500)]
    for n, address in enumerate(crowd):
        reputation.blame(address, FLOOD, NOW + n)
    assert len(reputation.records) == MOST
    assert reputation.banned(PUBLIC, NOW + DAY / 2) is not None
    assert reputation.score(crowd[0], NOW) == 0.0
    assert reputation.score(crowd[-1], NOW + len(crowd)) > 0
    surplus = [Record(address.host, 0, 50.0, NOW + n, Ban(NOW + DAY, "x", "")) for n, address in enumerate(crowd)]
    later = fresh()
    later.load(reversed(surplus), NOW + len(crowd))
    assert len(later.records) == MOST
    assert (later.banned(crowd[0], NOW), later.banned(crowd[-1], NOW) is None) == (None, False)


steps = st.lists(
    st.tuples(
        st.sampled_from(["blame", "flood", "ban", "unban", "expire", "save"]),
        st.sampled_from(ALL),
        st.floats(-DAY, DAY, allow_nan=False),
    ),
    max_size=40,
)


@given(steps)
def test_what_was_stored_is_what_is_remembered(taken: list[tuple[str, Address, float]]) -> None:
    """Whatever happens in whatever order, by whatever clock: the differences lead to the same records, all of sense."""
    reputation, stored, now = fresh(), dict[tuple[str, int], Record](), NOW
    for what, address, passed in taken:
        now += passed
        match what:
            case "blame" | "flood":
                reputation.blame(address, LIE if what == "blame" else FLOOD, now)
            case "ban":
                reputation.ban(address.host, address.port, now + HOUR, now)
            case "unban":
                reputation.unban(address.host)
                assert reputation.banned(address, now) is None
            case "expire":
                reputation.expire(now)
                longest = max([record.ban.until - now for record in reputation.records if record.ban], default=0)
                assert longest <= DAY + 1e-3
            case _:
                records, gone = reputation.take_changes()
                stored.update({(record.host, record.port): record for record in records})
                for name in gone:
                    stored.pop(name, None)
                assert set(stored.values()) == set(reputation.records)
        assert all(0 <= record.score < BANNED_AT for record in reputation.records)


def test_what_never_greeted_answers_for_its_port_alone() -> None:
    """Else a stranger could have a node banned by telling of the port where something else listens on its host."""
    reputation = fresh()
    ban = reputation.blame(OTHER_PORT, PeerMisbehaved(Fault.WRONG_NETWORK, "SSH"), NOW, greeted=False)
    assert ban is not None
    assert reputation.banned(OTHER_PORT, NOW) == ban
    assert reputation.banned(PUBLIC, NOW) is None


def test_what_is_sent_before_the_greeting_adds_up() -> None:
    """For that one port: the second offence is a ban, as it is after the greeting."""
    reputation = fresh()
    assert reputation.blame(PUBLIC, FLOOD, NOW, greeted=False) is None
    assert reputation.blame(OTHER_PORT, FLOOD, NOW, greeted=False) is None
    ban = reputation.blame(PUBLIC, FLOOD, NOW, greeted=False)
    assert ban is not None
    assert reputation.banned(PUBLIC, NOW) == ban
    assert reputation.banned(OTHER_PORT, NOW) is None


def test_a_persons_ban_is_not_pushed_out_by_those_of_liars() -> None:
    """However many lie, from however many hosts."""
    reputation = fresh()
    reputation.ban("8.8.8.8", EVERY_PORT, NOW + DAY, NOW)
    for number in range(MOST + 10):
        reputation.blame(Address(f"2a00::{number:x}", 9999), LIE, NOW)
    assert len(reputation.records) == MOST
    assert reputation.banned(Address("8.8.8.8", 1), NOW) is not None
