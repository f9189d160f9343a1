"""The recovery policy: every failure is decided, every strategy is used, nothing is tried for ever."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.engine.config import Limits
from phasegate.engine.errors import FailureKind
from phasegate.engine.progress import PHASES
from phasegate.engine.recovery import Recovery, Strategy, advise, backoff
from phasegate.statecharts.policy import Reason

ENOUGH = 100
"""More attempts than any row of the policy allows."""
PLACES = (*PHASES, "synced", "switching")
"""Where failures come from: the phases, synced, and a recovery that fails itself."""


def advice_for(kind: FailureKind, phase: str) -> list[Strategy]:
    """What the policy says to failure after failure of one kind."""
    return [advise(phase, kind, attempt) for attempt in range(1, ENOUGH)]


@pytest.mark.parametrize("phase", PLACES)
@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.value)
def test_every_failure_is_decided_and_ends_visibly(kind: FailureKind, phase: str) -> None:
    """No kind is forgotten, and recovery without success ends degraded, for good."""
    advice = advice_for(kind, phase)
    degraded = advice.index(Strategy.DEGRADE)
    assert set(advice[degraded:]) == {Strategy.DEGRADE}


def test_the_engine_fails_for_the_reasons_of_the_policy() -> None:
    """One enumeration, under the name that the engine has for it."""
    assert FailureKind is Reason
    assert FailureKind("disk-failed") is FailureKind.DISK


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (FailureKind.NO_PEER, Strategy.WAIT),
        (FailureKind.PEER_LOST, Strategy.RETRY),
        (FailureKind.PEER_SILENT, Strategy.SWITCH),
        (FailureKind.PEER_LIED, Strategy.SWITCH),
        (FailureKind.STALLED, Strategy.RESTART),
        (FailureKind.NO_CAPABLE_PEER, Strategy.DEGRADE),
        (FailureKind.ALL_BANNED, Strategy.DEGRADE),
        (FailureKind.DISPUTED, Strategy.RESTART),
        (FailureKind.NOT_ENOUGH_WORK, Strategy.DEGRADE),
        (FailureKind.UNSOUND, Strategy.DEGRADE),
        (FailureKind.DISK, Strategy.RETRY),
    ],
)
def test_the_first_answer_to_each_failure(kind: FailureKind, first: Strategy) -> None:
    """The table as it is meant, written a second time."""
    assert {advise(phase, kind, 1) for phase in ("headers", "mnlist", "cfheaders", "filters")} == {first}


def test_where_a_phase_is_answered_otherwise() -> None:
    """A stall among blocks asks another peer at once, and the last connection lost when synced is waited for."""
    exceptions = {
        (phase, kind): advise(phase, kind, 1)
        for phase in PLACES
        for kind in FailureKind
        if advise(phase, kind, 1) is not advise("headers", kind, 1)
    }
    assert exceptions == {
        ("blocks", FailureKind.STALLED): Strategy.SWITCH,
        ("synced", FailureKind.PEER_LOST): Strategy.WAIT,
    }


@given(st.integers(1, 10**6), st.floats(0.001, 100), st.floats(0.001, 1000), st.integers())
def test_a_delay_stays_between_half_its_ceiling_and_the_ceiling(
    attempt: int, first: float, cap: float, seed: int
) -> None:
    """Doubled each time, never above the cap, however many attempts."""
    ceiling = min(cap, first * 2.0 ** min(attempt - 1, 30))
    assert ceiling / 2 <= backoff(attempt, first, cap, random.Random(seed)) <= ceiling <= cap


@given(st.integers(1, 30), st.integers())
def test_jitter_comes_from_the_given_source_alone(attempt: int, seed: int) -> None:
    """One seed, one delay: simulations repeat."""
    assert backoff(attempt, 0.5, 30, random.Random(seed)) == backoff(attempt, 0.5, 30, random.Random(seed))


def test_jitter_spreads() -> None:
    """Clients that lost the same peer at once do not come back at once."""
    source = random.Random(7)
    delays = [backoff(5, 0.5, 30, source) for _ in range(200)]
    assert min(delays) < 4.5
    assert max(delays) > 7.5


def test_delays_are_seconds() -> None:
    """The defaults end within a minute; a unit slip (field-bugs 44) would show here."""
    limits = Limits()
    assert 0.1 <= limits.backoff_first < limits.backoff_cap <= 60
    assert 0.1 <= limits.reconnect_first < limits.reconnect_cap <= 120


def test_failures_of_a_kind_are_counted_until_something_is_stored() -> None:
    """The fourth lost peer in a row means another strategy than the first; progress forgives them all."""
    recovery = Recovery()
    advice = [recovery.failed("headers", FailureKind.PEER_LOST, "gone") for _ in range(4)]
    assert advice == [Strategy.RETRY] * 3 + [Strategy.SWITCH]
    assert recovery.attempt == 4
    recovery.progressed()
    assert recovery.failed("headers", FailureKind.PEER_LOST, "gone") is Strategy.RETRY
    assert recovery.attempt == 1


def test_kinds_are_counted_apart() -> None:
    """A silent peer does not use up the patience for lost ones."""
    recovery = Recovery()
    for _ in range(3):
        recovery.failed("headers", FailureKind.PEER_LOST, "")
    recovery.failed("headers", FailureKind.PEER_SILENT, "")
    assert recovery.attempt == 1
    recovery.failed("headers", FailureKind.PEER_LOST, "")
    assert (recovery.attempt, recovery.advice) == (4, Strategy.SWITCH)


def test_a_kind_is_counted_across_phases() -> None:
    """Phases that are passed because they are complete store nothing, and win a failure no new patience."""
    recovery = Recovery()
    for phase in ("headers", "filters", "headers"):
        recovery.failed(phase, FailureKind.PEER_LOST, "")
    assert recovery.failed("filters", FailureKind.PEER_LOST, "") is Strategy.SWITCH


def test_the_last_failure_is_remembered_with_its_reason() -> None:
    """What and why, for the journal and the user."""
    recovery = Recovery()
    assert (recovery.attempt, recovery.advice) == (0, None)
    recovery.failed("headers", FailureKind.DISPUTED, "two filter headers")
    assert (recovery.kind, recovery.detail) == (FailureKind.DISPUTED, "two filter headers")
    recovery.progressed()
    assert recovery.attempt == 0
