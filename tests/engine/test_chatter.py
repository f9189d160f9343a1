"""What a peer may say unasked: as much as is needed, more of it more slowly, and not without end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.engine.chatter import PURSES, Allowance, Chatter, Purses
from phasegate.engine.config import Address
from phasegate.engine.limits import MIB, Limits

LIMITS = Limits()


def spend_all(chatter: Chatter, messages: list[tuple[float, int]]) -> float:
    """Take messages that came at these times, of these sizes, as fast as that is allowed; when the last was taken."""
    now = 0.0
    for when, size in messages:
        now = max(now, when)
        now += chatter.spend(size, now)
    return now


def test_a_burst_costs_nothing() -> None:
    """Four thousand announcements at once, as after a block, are read at once; and again once the bucket is full."""
    chatter = Chatter(LIMITS)
    assert spend_all(chatter, [(0.0, 61)] * LIMITS.chatter_burst) == 0.0
    refilled = LIMITS.chatter_burst / LIMITS.chatter_rate
    assert spend_all(chatter, [(refilled, 61)] * LIMITS.chatter_burst) == refilled
    assert chatter.throttled == 0.0


def test_large_messages_are_paid_by_their_bytes() -> None:
    """Of unasked blocks of 2 MiB four are free; the fifth costs half a minute."""
    chatter = Chatter(LIMITS)
    assert spend_all(chatter, [(0.0, 2 * MIB)] * 4) == 0.0
    assert chatter.spend(2 * MIB, 0.0) == 32.0


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(24, 20_000)), max_size=300))
def test_an_honest_rate_is_never_throttled(messages: list[tuple[float, int]]) -> None:
    """Whatever the pattern, within the burst and the rate nobody waits and nobody is dropped."""
    chatter = Chatter(LIMITS)
    assert spend_all(chatter, sorted(messages)) <= 40
    assert chatter.throttled == 0.0


SMALL = Limits(chatter_burst=20, chatter_rate=10.0, chatter_burst_bytes=8000, chatter_bytes=4000.0)
"""Its buckets are full again after two seconds."""
bursts = st.lists(st.tuples(st.integers(0, 64), st.integers(24, 400)), max_size=SMALL.chatter_burst)
"""What comes within a second: as many messages as there is room for, and bytes, in sixty-fourths of a second."""


@given(st.lists(bursts, min_size=1, max_size=20))
def test_bursts_with_pauses_between_them_are_never_throttled(many: list[list[tuple[int, int]]]) -> None:
    """Many times what a bucket holds costs nothing when it can fill in between."""
    chatter, start = Chatter(SMALL), 0.0
    for burst in many:
        messages = sorted([(start + moment / 64, size) for moment, size in burst])
        last = messages[-1][0] if messages else start
        assert spend_all(chatter, messages) <= last
        start = last + 2.0
    assert chatter.throttled == 0.0


def test_many_full_bursts_cost_nothing() -> None:
    """Twenty times all that a bucket holds, of messages and of bytes, each time when it is full again."""
    chatter = Chatter(SMALL)
    for number in range(20):
        assert spend_all(chatter, [(2.0 * number, 400)] * SMALL.chatter_burst) == 2.0 * number
    assert chatter.throttled == 0.0
    assert chatter.spend(24, 38.0) > 0.0


def test_who_floods_is_slowed_to_the_rate_and_dropped_in_the_end() -> None:
    """A flood of the smallest messages: the burst, then the rate for as long as patience lasts, then the fault."""
    chatter, now, taken, fault = Chatter(LIMITS), 0.0, 0, None
    while fault is None:
        try:
            now += chatter.spend(24, now)
            taken += 1
        except PeerMisbehaved as misbehaved:
            fault = misbehaved.fault
    assert fault is Fault.FLOODING
    assert now == pytest.approx(LIMITS.chatter_patience, abs=1)
    assert taken == pytest.approx(LIMITS.chatter_burst + LIMITS.chatter_rate * now, abs=LIMITS.chatter_rate)


def test_a_steady_flood_within_the_rate_of_messages_is_dropped_for_its_bytes() -> None:
    """A quarter of a megabyte each second, for no reason, is borne for two minutes at most."""
    chatter = Chatter(LIMITS)
    with pytest.raises(PeerMisbehaved, match="flooding"):
        spend_all(chatter, [(float(second), MIB // 4) for second in range(180)])
    assert LIMITS.chatter_patience < chatter.throttled < 120


def test_a_backlog_that_ends_is_forgiven() -> None:
    """Ten thousand at once are more than the burst, and are all read within half a minute."""
    chatter = Chatter(LIMITS)
    done = spend_all(chatter, [(0.0, 61)] * 10_000)
    assert 29 < done < 31
    assert spend_all(chatter, [(done + 60, 61)] * LIMITS.chatter_burst) == done + 60


@given(st.floats(0.1, 100), st.floats(1, 100), st.lists(st.floats(0, 5), min_size=1, max_size=50))
def test_a_bucket_gives_its_burst_and_its_rate(rate: float, burst: float, pauses: list[float]) -> None:
    """Who waits as long as is told takes at most burst + rate x time, and about that if he takes all the time."""
    bucket, now = Allowance(rate, burst), 0.0
    for taken, pause in enumerate(pauses, 1):
        now += pause
        now += bucket.take(1, now)
        assert taken <= burst + rate * now + 1e-6
        assert bucket.level <= burst


def test_a_clock_that_stands_still_gives_nothing() -> None:
    """No time, no tokens."""
    bucket = Allowance(10.0, 2.0)
    assert [bucket.take(1, 5.0) for _ in range(4)] == [0.0, 0.0, 0.1, 0.2]


def test_a_purse_is_an_address_own_and_fills_again() -> None:
    """Eight megabytes at once, then 64 KiB a second; another address has its own, and a small object costs a little."""
    purses, one, other = Purses(LIMITS), Address("one", 1), Address("other", 1)
    assert not purses.in_debt(one, 0.0)
    assert not purses.pay(one, LIMITS.chatter_burst_bytes, 0.0)
    assert not purses.in_debt(one, 0.0)
    assert purses.pay(one, MIB, 0.0)
    assert purses.in_debt(one, 15.9)
    assert not purses.in_debt(one, 16.0)
    assert not purses.in_debt(other, 0.0)
    small = [purses.pay(other, 0, 0.0) for _ in range(LIMITS.chatter_burst_bytes * 200 // (MIB // 16) + 1)]
    assert small.index(True) == len(small) - 1


def test_purses_are_bounded() -> None:
    """The oldest one is forgotten."""
    purses = Purses(LIMITS)
    addresses = [Address("host", port) for port in range(PURSES + 1)]
    for address in addresses:
        purses.pay(address, 10 * MIB, 0.0)
    assert [purses.in_debt(address, 0.0) for address in (addresses[0], addresses[1], addresses[-1])] == [
        False,
        True,
        True,
    ]
