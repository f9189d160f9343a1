"""Whole clients on simulated machines: seeds that are run, defects that were found, and checks that can fail."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from phasegate.engine.events import Event, Progress, Rewound, Transition, Warned
from phasegate.engine.inquiry import Inquiry
from phasegate.engine.limits import Limits
from phasegate.engine.phases import blocks
from phasegate.engine.pipeline import in_order
from phasegate.engine.staff import Staff
from phasegate.engine.turns import Turns
from phasegate.p2p.reputation import Ban
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.verification.disk import Fault
from phasegate.verification.simulation import judgement, life, run, series, world
from phasegate.verification.simulation.checks import (
    BOUNDED,
    ERRORS,
    JUSTICE,
    LOSS,
    MONOTONE,
    ORDER,
    OUTSTANDING,
    STALL,
    TRUTH,
    TWIN,
    Bounds,
    falling_progress,
)
from phasegate.verification.simulation.judgement import Outcome
from phasegate.verification.simulation.plan import STATES, Happening, PeerPlan, Plan
from phasegate.verification.simulation.run import simulate
from phasegate.verification.simulation.shrink import shrink
from phasegate.verification.simulation.world import HONEST as HONEST_PEERS

pytestmark = pytest.mark.usefixtures("signatures_judged_once")

HONEST = (PeerPlan(0.05, 0.05), PeerPlan(0.1, 0.02))
PLAIN = Plan(1, 0, 24, True, True, (), 100, HONEST, ())


def laws(outcome: Outcome) -> set[str]:
    return {law for law, _ in outcome.broken}


# -- runs ------------------------------------------------------------------------------------------------------------


WHOLE = (5005, 5009, 5056, 5080, 5105, 5118)
"""Seeds whose plans have between them whatever a plan can have."""
MORE = sorted({*range(5000, 5016)} - {*WHOLE})


@pytest.mark.parametrize("seed", [*WHOLE, *(pytest.param(seed, marks=pytest.mark.soak) for seed in MORE)])
def test_a_seed_is_a_run_that_keeps_every_law(seed: int) -> None:
    """Seeds that `phasegate verify` does not run by itself."""
    outcome = simulate(Plan.draw(seed))
    assert outcome.broken == (), str(outcome.plan)


def classes(plan: Plan) -> set[object]:
    """What a plan has of what plans can have."""
    happenings = [part for what in plan.happenings for part in (("kind", what.kind), ("in", what.state), what.fault)]
    return {*happenings, *[("peer", peer.manner) for peer in plan.peers], (plan.masternodes, plan.filters)}


def test_the_seeds_of_the_ordinary_run_reach_everything() -> None:
    """Each kind of happening, state, disk fault and manner, and each configuration, is in one of a few plans."""
    reached, known = (set[object]().union(*map(classes, map(Plan.draw, seeds))) for seeds in (WHOLE, range(1000)))
    assert reached == known


@pytest.mark.parametrize("seed", [3, 24, 5001])
def test_the_same_seed_is_the_same_run(seed: int) -> None:
    """Journal and database have equal digests; 24 once had another one, by the name of a directory in a reason."""
    first, second = simulate(Plan.draw(seed)), simulate(Plan.draw(seed))
    assert first == second
    assert first.digest != simulate(Plan.draw(seed + 1)).digest


FOUND = {
    "a branch left while its masternode list is asked for": attrs.evolve(
        PLAIN,
        filters=False,
        peers=(*HONEST, PeerPlan(0.01, 0.03, "silent"), PeerPlan(0.06, 0.02, "plain")),
        happenings=(Happening("reorg", "mnlist", 0.0, 12),),
    ),
    "the same with a chain that goes on, and a kill": Plan(
        165, 0, 36, True, False, (), 100, (*HONEST, PeerPlan(0.04, 0.04, "stalling"), PeerPlan(0.09, 0.09, "plain")),
        (
            Happening("kill", "headers", 0.29, 2),
            Happening("reorg", "mnlist", 0.0, 2, 3),
            Happening("clock-jump", "synced", 2.76, 20, 3),
        ),
    ),
    "a disk that fails while the program stops": attrs.evolve(
        PLAIN,
        happenings=(
            Happening("disk-fault", "synced", 0.0, 5, fault=Fault.FAILED_SYNC),
            Happening("restart", "synced", 0.9, 0.1),
        ),
    ),
    "a disk that refuses before the first word": attrs.evolve(
        PLAIN,
        masternodes=False,
        filters=False,
        happenings=(
            Happening("kill", "", 0.0, 0.1),
            Happening("disk-fault", "", 0.03, 2, fault=Fault.IO_ERROR),
        ),
    ),
    "a full disk when scripts are added": attrs.evolve(
        PLAIN,
        masternodes=False,
        watched=1,
        happenings=(
            Happening("disk-fault", "filters", 0.0, 40, fault=Fault.FULL),
            Happening("watch", "synced", 0.03),
        ),
    ),
    "filter headers that are dropped while all of them count as done": Plan(
        172, 1, 36, True, True, (("cfheaders", 5), ("filters", 1000), ("blocks", 4)), 0,
        (
            PeerPlan(0.073, 0.103),
            PeerPlan(0.039, 0.124),
            PeerPlan(0.031, 0.093, "lying", "wrong-masternode-entry"),
            PeerPlan(0.091, 0.059, "lying", "omitted-spend"),
            PeerPlan(0.041, 0.093, "plain"),
        ),
        (Happening("dark", "mnlist", 0.288, 30, 1), Happening("reorg", "cfheaders", 0.0, 20, 2)),
    ),
    "a peer on the branch of another that was asked about that branch only": Plan(
        588, 0, 24, False, False, (), 0,
        (PeerPlan(0.11, 0.13), PeerPlan(0.18, 0.15), PeerPlan(0.03, 0.05, "lying", "wrong-pow")),
        (
            Happening("watch", "blocks", 2.91, 0, 2),
            Happening("clock-jump", "blocks", 2.19, 45, 2),
            Happening("reorg", "headers", 0.0, 1, 1),
            Happening("dark", "blocks", 0.3, 30),
        ),
    ),
}  # fmt: skip
"""What broke a law once, made as small as it gets."""


@pytest.mark.parametrize("plan", FOUND.values(), ids=FOUND)
def test_what_was_found_stays_repaired(plan: Plan) -> None:
    """Each plan broke a law of the client, or of the simulation itself."""
    assert simulate(plan).broken == ()


def test_plans_reach_everything() -> None:
    """Among a thousand plans each kind of happening, each state, manner, lie and fault occurs many times."""
    plans = [Plan.draw(seed) for seed in range(1000)]
    happenings = [what for plan in plans for what in plan.happenings]
    manners = Counter(peer.manner for plan in plans for peer in plan.peers)
    kinds, states = Counter(what.kind for what in happenings), Counter(what.state for what in happenings)
    faults = Counter(what.fault for what in happenings if what.fault)
    assert len(kinds) == 17
    assert set(states) == set(STATES)
    assert set(manners) == set(world.MANNERS)
    assert set(faults) == set(Fault)
    for counted in (kinds, states, manners, faults):
        assert min(counted.values()) > 30, counted
    assert plans == [Plan.draw(seed) for seed in range(1000)]


def test_a_plan_can_lose_happenings_and_nothing_else_changes() -> None:
    """What is left is as it was."""
    plan = Plan.draw(4)
    assert len(plan.happenings) > 3
    assert plan.keeping({0, 2}).happenings == (plan.happenings[0], plan.happenings[2])
    assert attrs.evolve(plan.keeping({0, 2}), happenings=plan.happenings) == plan
    assert "\n    1. " in str(plan)


# -- checks that can fail --------------------------------------------------------------------------------------------


def test_a_client_that_never_syncs_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """With honest peers that say nothing the client is degraded for ever, and that is told with its reason."""
    monkeypatch.setitem(world.MANNERS, "", lambda _: {"silent": True})
    monkeypatch.setattr(run, "PATIENCE", 120.0)
    outcome = simulate(PLAIN)
    assert laws(outcome) == {STALL}
    assert "the client is " in outcome.broken[0][1]


def test_a_crash_is_an_error_that_became_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in a phase ends the program, and the run says so."""
    real, calls = in_order, itertools.count()

    async def broken(*arguments: Any, **options: Any) -> None:
        if next(calls) == 0:
            raise ZeroDivisionError("planted")
        await real(*arguments, **options)

    monkeypatch.setattr(blocks, "in_order", broken)
    outcome = simulate(PLAIN)
    assert ERRORS in laws(outcome)
    assert any("ZeroDivisionError" in text or "planted" in text for _, text in outcome.broken)


def test_a_store_that_is_not_the_models_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both models are asked: the undisturbed run, and the generator of the chain."""
    monkeypatch.setattr(judgement, "undisturbed", lambda *_: "another digest")
    assert laws(simulate(PLAIN)) == {TRUTH}
    monkeypatch.undo()
    expected = {"transactions": ["ab" * 32], "balances": {}}
    monkeypatch.setattr(GeneratedChain, "expected", property(lambda _: expected))
    told = [text for _, text in simulate(PLAIN).broken]
    assert any("transactions found, 1 are there" in text for text in told)
    assert any("balances" in text for text in told)


def test_a_lost_row_of_the_journal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transition that was told has to be stored, unless the power was cut."""
    rows = judgement._rows
    monkeypatch.setattr(judgement, "_rows", lambda store: rows(store)[:-1])
    assert LOSS in laws(simulate(PLAIN))
    cut = attrs.evolve(PLAIN, happenings=(Happening("power-cut", "filters", 0.0, 0.1),))
    assert LOSS not in laws(simulate(cut))


def test_a_journal_that_breaks_the_law_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded journal is replayed against chart and law."""
    rows = judgement._rows

    def twisted(store: Any) -> list[Any]:
        return [attrs.evolve(row, target="blocks") if row.target == "filters" else row for row in rows(store)]

    monkeypatch.setattr(judgement, "_rows", twisted)
    assert {law.split(": ")[0] for law in laws(simulate(PLAIN))} >= {"journal"}


def test_a_ban_of_an_honest_peer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever did nothing wrong is not banned in the end."""
    monkeypatch.setattr(Inquiry, "banned", lambda *_: Ban(1.0, "looked odd", "in the end"))
    assert laws(simulate(PLAIN)) == {JUSTICE}


def _client(state: str, **requests: int) -> Any:
    views = [
        SimpleNamespace(phase=phase, peer=f"p{i % 2}", command="getdata")
        for phase, count in requests.items()
        for i in range(count)
    ]
    facts = SimpleNamespace(outstanding=len(views))
    return SimpleNamespace(
        config=SimpleNamespace(limits=Limits(concurrency={"blocks": 4}, in_flight={"blocks": 2})),
        open_requests=views, state=state, waiting_events=0, peers=[], facts=facts,
    )  # fmt: skip


def _move(target: str, source: str = "idle") -> Transition:
    return Transition(1, 0.0, source, target, "start", "", {})


def test_requests_are_counted_and_have_to_belong_to_the_phase() -> None:
    """Too many of them, those of another phase, and any at all in `synced` break a law; errands do not."""

    def broken(client: Any, target: str = "blocks") -> set[str]:
        bounds = Bounds()
        bounds.look(client, _move(target))
        return {law for law, _ in bounds.broken}

    assert broken(_client("blocks", blocks=4, errands=3)) == set()
    assert broken(_client("blocks", blocks=5)) == {BOUNDED}
    assert broken(_client("filters", blocks=1)) == {ORDER}
    assert broken(_client("synced", errands=1), "synced") == {OUTSTANDING}
    bounds = Bounds()
    bounds.count(_client("headers", headers=1, blocks=5))  # between two transitions an earlier phase may be ending
    assert {law for law, _ in bounds.broken} == {BOUNDED}


def test_what_is_under_way_is_counted_whenever_something_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are kept at transitions only are no bounds: a client that keeps none is found."""
    watched = attrs.evolve(PLAIN, height=60, batches=(("filters", 3),))
    assert simulate(watched).most["requests of filters to one peer"] > 1
    monkeypatch.setattr(life, "Limits", partial(Limits, window=64))
    assert simulate(attrs.evolve(watched, batches=(("filters", 1),))).broken == ()
    turns = Turns.__init__
    monkeypatch.setattr(Turns, "__init__", lambda self, *_: turns(self, 1 << 30, 1 << 30))
    monkeypatch.setattr(Staff, "_room", lambda *_: 1 << 30)
    assert laws(simulate(attrs.evolve(watched, batches=(("filters", 1),)))) == {BOUNDED}


def test_a_percentage_may_fall_only_when_a_walk_begins() -> None:
    """Within a walk it is told as broken, and so is what cannot be."""

    def shown(percent: float, done: int = 1, total: int = 2, phase: str = "filters") -> Event:
        return Progress(0.0, phase, done, total, percent, 0.0, None, 50.0)

    assert list(falling_progress([shown(50), shown(70), shown(70)])) == []
    assert [law for law, _ in falling_progress([shown(50), shown(40)])] == [MONOTONE]
    assert list(falling_progress([shown(50), Rewound(0.0, 5, 3), shown(40)])) == []
    assert list(falling_progress([shown(50), _move("headers", "synced"), shown(40)])) == []
    assert [law for law, _ in falling_progress([shown(50), _move("headers", "filters"), shown(40)])] == [MONOTONE]
    assert [law for law, _ in falling_progress([shown(101)])] == [MONOTONE]
    assert [law for law, _ in falling_progress([shown(50, 3, 2)])] == [MONOTONE]
    assert list(falling_progress([shown(50, 2), shown(50, 1)])) == []  # a script was added
    fallen = [shown(50, 2, phase="headers"), shown(50, 1, phase="headers")]
    assert [law for law, _ in falling_progress(fallen)] == [MONOTONE]
    dropped = Warned(0.0, "filter-headers-dropped", "")
    assert list(falling_progress([fallen[0], dropped, fallen[1]])) == []
    rewind = attrs.evolve(_move("headers", "filters"), trigger="rewind")
    assert list(falling_progress([fallen[0], rewind, fallen[1]])) == []


# -- series and shrinking --------------------------------------------------------------------------------------------


def test_a_series_counts_what_was_done_and_runs_some_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of all seeds are added; a second run with another end breaks a law."""
    done = series.series(5000, 3, 2)
    assert (done.counts["seeds"], done.counts["run twice"], done.counts["stalls"]) == (3, 2, 0)
    assert done.violations == ()
    assert sum(count for name, count in done.counts.items() if name.startswith("fault ")) > 5
    ends = iter("abc")
    ran = simulate(PLAIN)
    monkeypatch.setattr(series, "simulate", lambda plan: attrs.evolve(ran, plan=plan, digest=next(ends)))
    (broken,) = series.series(2, 1, 2).violations
    assert (broken.law, broken.reproduce) == (TWIN, "phasegate verify --only simulation --seed 2 --seeds 1")


def test_a_failing_plan_is_shrunk_to_what_it_takes() -> None:
    """Of seven happenings and five peers the one happening is left that breaks the law, and the honest peers."""
    plan = next(plan for plan in map(Plan.draw, range(1000)) if len(plan.happenings) == 9 and len(plan.peers) == 5)
    culprit = plan.happenings[4]

    def fake(tried: Plan) -> Outcome:
        bad = any(attrs.evolve(what, peer=0) == attrs.evolve(culprit, peer=0) for what in tried.happenings)
        broken = ((STALL, "stuck"),) if bad else ((TRUTH, "another one"),)
        return Outcome(tried, broken, Counter(), "", 1.0, Counter())

    smallest = shrink(fake(plan), 300, fake).plan
    assert [attrs.evolve(what, peer=0) for what in smallest.happenings] == [attrs.evolve(culprit, peer=0)]
    assert len(smallest.peers) <= HONEST_PEERS + 1
    assert shrink(fake(plan.keeping({0})), 40, fake).broken == ((TRUTH, "another one"),)
