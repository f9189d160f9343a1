"""The recovery policy with its chart: it keeps what recovery promises, and each promise can be seen broken."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.engine.recovery import Recovery
from phasegate.statecharts.anatomy import Arrow, build, read
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.ordeal import ADVICE, FAILING, Ordeal
from phasegate.statecharts.policy import ALWAYS, POLICY, REMEDIES, Reason, Rule, Strategy, advise, ruling
from phasegate.statecharts.policy_check import STATES, PolicyReport, verify_policy
from phasegate.statecharts.sync import SyncChart

LAST = {
    Reason.NO_PEER: 10,
    Reason.PEER_SILENT: 10,
    Reason.PEER_LOST: 10,
    Reason.PEER_LIED: 20,
    Reason.DISPUTED: 1,
    Reason.STALLED: 10,
    Reason.DISK: 5,
}
"""How often in a row a reason may strike before the client is degraded, written a second time."""
SWITCHED_ON = {"mn_enabled": True, "filters_enabled": True}


def texts(report: PolicyReport) -> list[str]:
    return [violation.text for violation in report.violations]


def story(report: PolicyReport, text: str) -> list[str]:
    """The story of the violation with that text, without the settings."""
    (violation,) = [violation for violation in report.violations if violation.text == text]
    return [line for line in violation.story.splitlines() if not line.startswith("with ")]


def without(*left_out: Rule) -> tuple[Rule, ...]:
    return tuple(rule for rule in POLICY if rule not in left_out)


def rows(reason: Reason, phase: str = "*") -> list[Rule]:
    return [rule for rule in POLICY if (rule.reason, rule.phase) == (reason, phase)]


def rewired(source: str, event: str, *arrows: Arrow) -> type[Chart[Any]]:
    """The sync chart with what `source` does on `event` replaced."""
    tables = read(SyncChart)
    kept = tuple(arrow for arrow in tables.arrows if (arrow.source, arrow.event) != (source, event))
    return build(attrs.evolve(tables, arrows=(*kept, *arrows)))


# -- what is promised --------------------------------------------------------------------------------------------


def test_chart_and_policy_keep_every_promise() -> None:
    """No violation, and both bounds are those that the table allows: small enough for a person to wait for."""
    report = verify_policy()
    assert report.violations == ()
    assert report.nodes > 1000
    assert report.edges > report.nodes
    assert report.failures == 1 + sum(LAST.values())
    assert report.steps == 6  # from a recovery: headers, the four other phases, synced


def test_each_recovery_state_is_reached_with_each_reason_that_leads_there() -> None:
    """The exploration has all counts of all reasons in it, up to the last answer."""
    ordeal = Ordeal(SyncChart, POLICY, SWITCHED_ON)
    reached = {(node.leaf, node.reason, node.attempt) for node in ordeal.nodes}
    for phase in FAILING:
        for reason in Reason:
            for attempt in range(1, ordeal.caps[reason] + 1):
                assert (STATES[advise(phase, reason, attempt)], reason, attempt) in reached


@given(st.randoms(use_true_random=False))
def test_the_bound_holds_for_every_mixture_of_failures(adversary: random.Random) -> None:
    """What the exploration leaves to an argument, tried: who avoids `degraded` for as long as possible gets so far."""
    recovery, survived = Recovery(), 0
    while escapes := [
        (phase, reason)
        for phase in FAILING
        for reason in Reason
        if advise(phase, reason, recovery.attempts.get(reason, 0) + 1) is not Strategy.DEGRADE
    ]:
        recovery.failed(*adversary.choice(escapes), "")
        survived += 1
    assert survived == sum(LAST.values())


def test_a_phase_stands_before_any() -> None:
    """A row that names its phase decides there alone; when it is used up those for any phase go on with the count."""
    named, general = rows(Reason.STALLED, "blocks")[0], rows(Reason.STALLED)
    assert ruling("blocks", Reason.STALLED, 1) is named
    assert ruling("blocks", Reason.STALLED, 1, POLICY[::-1]) is named, "wherever it stands"
    assert ruling("filters", Reason.STALLED, 1) is general[0]
    after = ruling("blocks", Reason.STALLED, named.attempts + 1)
    assert after is next(rule for rule in general if rule.attempts > named.attempts)
    assert ruling("blocks", Reason.STALLED, named.attempts + 1, POLICY[::-1]).phase == "*"


def test_every_row_and_every_remedy_is_a_sentence_for_a_person() -> None:
    """Each says why in a few words, no two rows of a reason say the same, and enumerated values are never reused."""
    for said in (*(rule.why for rule in POLICY), *REMEDIES.values()):
        assert 2 <= len(said.split()) <= 20
        assert said[0].islower()
        assert not said.endswith(".")
    assert len({(rule.reason, rule.why) for rule in POLICY}) == len(POLICY)
    assert set(REMEDIES) == set(Reason)


def test_the_advice_has_one_guard_each_and_the_chart_asks_no_other() -> None:
    """The chart's ladder of advice is that of the strategies, `degrade` being what is left."""
    asked = {guard.name for arrow in read(SyncChart).arrows if arrow.event == "fail" for guard in arrow.guards}
    assert set(ADVICE.values()) == asked
    assert set(Strategy) - set(ADVICE) == {Strategy.DEGRADE}


# -- each promise broken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_a_reason_without_its_last_row_is_found(reason: Reason) -> None:
    """A dropped row leaves a failure without an answer; the story is the failures before it."""
    last = rows(reason)[-1]
    assert last.strategy is Strategy.DEGRADE
    first_lacking = max((rule.attempts for rule in rows(reason)[:-1]), default=0) + 1
    report = verify_policy(policy=without(last))
    text = f"no row of the policy answers failure {first_lacking} of headers for {reason.value}"
    assert sum(reason.value in line for line in story(report, text)) == first_lacking - 1


def test_an_endless_retry_is_found() -> None:
    """A disk that is retried for ever would never be told of."""
    first, last = rows(Reason.DISK)
    report = verify_policy(policy=(*without(first, last), attrs.evolve(first, attempts=ALWAYS)))
    text = "disk-failed may strike headers for ever, and the client is never degraded"
    assert story(report, text) == [
        "1. idle: start -> headers",
        "2. headers: fail [disk-failed, failure 1 in a row: retry] -> backoff",
        "3. backoff: recover -> headers",
        "4. headers: fail [disk-failed, failure 1 in a row: retry] -> backoff",
    ]


def test_an_endless_alternation_of_strategies_is_found() -> None:
    """Two strategies that take turns are no end either, not even in one phase alone."""
    endless = Rule("filters", Reason.PEER_LOST, ALWAYS, Strategy.SWITCH, "for ever")
    report = verify_policy(policy=(endless, *POLICY))
    assert texts(report) == ["peer-lost may strike filters for ever, and the client is never degraded"]


def test_a_shadowed_row_is_found() -> None:
    """A row behind one that says enough is dead."""
    dead = Rule("*", Reason.PEER_LOST, 2, Strategy.WAIT, "too late")
    assert texts(verify_policy(policy=(*POLICY, dead))) == ["the row (*, peer-lost, wait) is never used"]


def test_a_row_for_a_phase_that_does_not_exist_is_found() -> None:
    """A mistyped phase is not silently no phase."""
    lost = Rule("header", Reason.PEER_LOST, 2, Strategy.WAIT, "mistyped")
    report = verify_policy(policy=(lost, *POLICY))
    assert texts(report) == ["the row (header, peer-lost, wait) is never used; header never fails"]


@pytest.mark.parametrize("strategy", [s for s in Strategy if s is not Strategy.DEGRADE], ids=lambda s: s.value)
def test_a_strategy_that_nobody_advises_is_found(strategy: Strategy) -> None:
    """All ways to recover are used by some story."""
    report = verify_policy(policy=tuple(rule for rule in POLICY if rule.strategy is not strategy))
    assert texts(report) == [f"the strategy {strategy.value} is never used"]


def test_a_reason_without_a_remedy_is_found() -> None:
    """Nobody is left degraded without being told what ends it."""
    silent: dict[Reason, str] = {**REMEDIES, Reason.DISK: ""}
    del silent[Reason.UNSOUND]
    assert texts(verify_policy(remedies=silent)) == [
        "nothing is said to end unsound",
        "nothing is said to end disk-failed",
    ]


@pytest.mark.parametrize("strategy", ADVICE, ids=lambda strategy: strategy.value)
def test_an_advice_that_the_chart_does_not_follow_is_found(strategy: Strategy) -> None:
    """Without its arrow the advice leads elsewhere."""
    arrows = [arrow for arrow in read(SyncChart).arrows if (arrow.source, arrow.event) == ("syncing", "fail")]
    left = [arrow for arrow in arrows if ADVICE[strategy] not in {asked.name for asked in arrow.guards}]
    report = verify_policy(rewired("syncing", "fail", *left))
    told = f"{strategy.value}, advised in headers, leads to degraded, not to {STATES[strategy]}"
    assert told in texts(report)


@pytest.mark.parametrize("state", ["backoff", "restarting", "switching", "waiting", "degraded"])
def test_a_recovery_without_a_way_back_is_found(state: str) -> None:
    """A state that is never left again is a dead end, with the story that leads into it."""
    report = verify_policy(rewired(state, "recover", Arrow(state, "recover", "paused")))
    stuck = rewired(state, "recover", Arrow(state, "recover", state))
    assert "synced" not in "".join(texts(report))  # a user who resumes is a way back
    text = f"from {state} not every way leads to synced when the failure has ended"
    assert story(verify_policy(stuck), text)[-1].endswith(f"-> {state}")


def test_a_recovery_that_skips_phases_is_found() -> None:
    """Whoever recovers begins at the headers, never later: nothing completes by giving up."""
    report = verify_policy(rewired("backoff", "recover", Arrow("backoff", "recover", "filters")))
    assert story(report, "recover in backoff enters filters, which only completeness may") == [
        "1. idle: start -> headers",
        "2. headers: fail [peer-lost, failure 1 in a row: retry] -> backoff",
        "3. backoff: recover -> filters",
    ]


def test_giving_up_into_synced_is_found() -> None:
    """A failure that ends in synced is the worst of all."""
    arrows = [arrow for arrow in read(SyncChart).arrows if (arrow.source, arrow.event) == ("syncing", "fail")]
    wrong = [attrs.evolve(arrow, target="synced") if arrow.target == "degraded" else arrow for arrow in arrows]
    told = texts(verify_policy(rewired("syncing", "fail", *wrong)))
    assert "fail in headers enters synced, which only completeness may" in told
    assert "degrade, advised in blocks, leads to synced, not to degraded" in told
    assert "stalled may strike headers for ever, and the client is never degraded" in told


def test_a_failure_during_a_recovery_must_degrade() -> None:
    """Otherwise two recoveries could take turns for ever without a count."""
    report = verify_policy(rewired("recovering", "fail", Arrow("recovering", "fail", "headers")))
    assert "a failure in switching leads to headers, not to degraded" in texts(report)
    mute = verify_policy(rewired("recovering", "fail"))
    assert "a failure in switching leads to nothing, not to degraded" in texts(mute)
