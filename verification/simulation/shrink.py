"""A failing plan made as small as it gets, by Hypothesis: what is left is what it takes.

Each happening and each peer that is no honest one is kept or dropped, and the rest of the plan made plainer where that
will do. Hypothesis prefers what is dropped and plain; the failure has to stay the same, that is, to break a law that
the whole plan broke.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import attrs
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from phasegate.verification.simulation.judgement import Outcome
from phasegate.verification.simulation.plan import HEIGHTS, Happening, PeerPlan, Plan
from phasegate.verification.simulation.run import simulate
from phasegate.verification.simulation.world import HONEST

OFTEN = 9
"""Of ten happenings so many are kept in a first try."""


LONGEST = 20.0
"""Seconds that may be spent on one failing plan, if nothing else is said."""


def shrink(
    failing: Outcome, tries: int = 150, run: Callable[[Plan], Outcome] = simulate, seconds: float = LONGEST
) -> Outcome:
    """The outcome of the smallest plan that was found to break one of the laws that `failing` broke.

    Args:
        failing: an outcome with broken laws.
        tries: runs to spend.
        run: what a plan becomes.
        seconds: after which what was found by then has to do.
    """
    laws = {law for law, _ in failing.broken}
    best, end = [failing], monotonic() + seconds

    def still_fails(plan: Plan) -> bool:
        if monotonic() > end:
            return plan == best[-1].plan
        outcome = run(plan)
        if laws.isdisjoint(law for law, _ in outcome.broken):
            return False
        best.append(outcome)
        return True

    chosen = settings(
        max_examples=tries, database=None, deadline=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck), derandomize=True,
    )  # fmt: skip
    try:
        smallest = find(smaller(failing.plan), still_fails, settings=chosen)
    except NoSuchExample:
        return failing
    return next(outcome for outcome in reversed(best) if outcome.plan == smallest)


@st.composite
def smaller(draw: st.DrawFn, plan: Plan) -> Plan:
    """Plans with fewer happenings and peers than `plan`, and plainer ones."""
    happenings = tuple([what for what in plan.happenings if draw(st.integers(0, OFTEN))])
    wanted = {what.peer for what in happenings}
    peers = tuple([_drawn(draw, peer, needed=i < HONEST or i in wanted) for i, peer in enumerate(plan.peers)])
    kept = [i for i, peer in enumerate(peers) if peer is not None]
    return attrs.evolve(
        plan,
        happenings=tuple([_renumbered(what, kept) for what in happenings]),
        peers=tuple([peer for peer in peers if peer is not None]),
        height=draw(st.sampled_from([*HEIGHTS[: HEIGHTS.index(plan.height)], plan.height])),
        batches=draw(st.sampled_from([(), plan.batches])),
        masternodes=plan.masternodes and bool(draw(st.integers(0, 3))),
        filters=plan.filters and bool(draw(st.integers(0, 3))),
    )


def _drawn(draw: st.DrawFn, peer: PeerPlan, *, needed: bool) -> PeerPlan | None:
    """The peer, or nobody; drawn whether it is needed or not, so that dropping a happening shifts no other draw."""
    kept = draw(st.integers(0, OFTEN))
    return peer if kept or needed else None


def _renumbered(what: Happening, kept: list[int]) -> Happening:
    return attrs.evolve(what, peer=kept.index(what.peer))
