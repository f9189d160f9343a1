"""Announced locks that can be fetched: who is asked, for what, and how much is remembered."""

from __future__ import annotations

from phasegate.engine.lock_offers import AT_ONCE, Offers
from phasegate.engine.peers import Peer
from phasegate.p2p.messages import InvItem, InvType


class FakePeer(Peer):
    """A peer that can be asked."""

    def __init__(self) -> None:
        self.gone = ""
        self.answers = 0


def item(number: int) -> InvItem:
    return InvItem(InvType.INSTANTSEND_LOCK, number.to_bytes(32, "little"))


def items(*numbers: int) -> tuple[InvItem, ...]:
    return tuple(map(item, numbers))


def test_a_peer_is_asked_for_some_at_a_time_oldest_first() -> None:
    """Another message is due only when one has been answered in full."""
    offers, peer = Offers(2), FakePeer()
    for number in range(3 * AT_ONCE + 1):
        offers.add(peer, item(number))
    first, second = items(*range(AT_ONCE)), items(*range(AT_ONCE, 2 * AT_ONCE))
    assert [offers.take(), offers.take(), offers.take()] == [(peer, first), (peer, second), None]
    for each in first[1:]:
        assert offers.got(each) == [peer]
    assert (offers.take(), len(offers)) == (None, 2 * AT_ONCE + 2)
    assert offers.got(first[0]) == [peer]
    assert offers.take() == (peer, items(*range(2 * AT_ONCE, 3 * AT_ONCE)))


def test_what_several_have_is_asked_of_one_at_a_time() -> None:
    """While one is asked the others are not; if it fails the next is; nobody left means missed."""
    offers, one, two = Offers(2), FakePeer(), FakePeer()
    for peer in (one, two):
        offers.add(peer, item(1))
    assert (offers.take(), offers.take()) == ((one, items(1)), None)
    offers.failed(one, item(1))
    assert (offers.take(), offers.missed) == ((two, items(1)), 0)
    offers.failed(two, item(1))
    assert (offers.take(), offers.missed, len(offers)) == (None, 1, 0)


def test_all_who_had_it_are_named() -> None:
    """Whoever announced it is a source of it."""
    offers, one, two = Offers(2), FakePeer(), FakePeer()
    for peer in (one, two):
        offers.add(peer, item(1))
    offers.take()
    assert offers.got(item(1)) == [one, two]
    assert len(offers) == 0


def test_who_was_silent_is_passed_over_until_it_answers_something() -> None:
    """A peer that announces and does not send takes up its own turns only, and once."""
    offers, peer = Offers(1), FakePeer()
    for number in range(3):
        offers.add(peer, item(number))
    offers.take()
    offers.failed(peer, item(0), silent=True)
    offers.failed(peer, item(1), silent=True)
    offers.failed(peer, item(2), silent=True)
    offers.add(peer, item(3))
    assert offers.take() is None
    peer.answers += 1
    assert offers.take() == (peer, items(3))


def test_who_announces_too_much_loses_its_own_oldest() -> None:
    """Nobody else's offers suffer."""
    offers, loud, quiet = Offers(1, most=3), FakePeer(), FakePeer()
    offers.add(quiet, item(0))
    for number in range(1, 6):
        offers.add(loud, item(number))
    offers.add(loud, item(5))  # again: no second place
    assert (len(offers), offers.missed) == (4, 2)
    assert {offers.take(), offers.take()} == {(quiet, items(0)), (loud, items(3, 4, 5))}


def test_offers_go_with_their_peer() -> None:
    """What only a lost peer had is missed; what another has too is asked of that one."""
    offers, lost, other = Offers(2), FakePeer(), FakePeer()
    offers.add(lost, item(1))
    offers.add(lost, item(2))
    offers.add(other, item(2))
    lost.gone = "connection lost"
    assert (offers.take(), offers.missed, len(offers)) == ((other, items(2)), 1, 1)
