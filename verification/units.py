"""The units of a verification run: what each part is cut into, and how each piece is done.

A unit can be sent to another process: it has only names and numbers, and is done by what the process imports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import attrs

from phasegate.statecharts.anatomy import read
from phasegate.statecharts.campaign import LEAST_SHARE, Fate, campaign
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.explore import verify as explore
from phasegate.statecharts.policy_check import verify_interleaved, verify_policy
from phasegate.statecharts.violation import Violation
from phasegate.verification.part import Part
from phasegate.verification.report import Outcome

POLICY = "policy"
BESIDE = "policy, interleaved"
POLICIES = (POLICY, BESIDE)
"""How the recovery policy is called, together with each of the two charts that a client runs."""
EXAMPLES_AT_ONCE = 100
SEEDS_AT_ONCE = 5
TWICE = 8
"""Of so many seeds one is run twice, to see whether the second run is the first."""


@attrs.frozen
class Unit:
    """A piece of work: of `part`, about `name` (a chart, or the policy), `count` examples or seeds from `seed` on.

    With `fail_fast` it ends with the first seed that breaks something.
    """

    part: Part
    name: str
    seed: int = 0
    count: int = 1
    fail_fast: bool = False

    @property
    def weight(self) -> int:
        """How long it takes, compared with others."""
        return {Part.CHART: 1, Part.MUTATION: 10, Part.ENGINE: self.count // 5, Part.SIMULATION: self.count}[self.part]

    def __str__(self) -> str:
        if self.part is Part.SIMULATION:
            return f"seeds {self.seed} to {self.seed + self.count - 1}"
        return f"{self.name}, seed {self.seed}" if self.part is Part.ENGINE else self.name


def units(parts: Sequence[Part], seed: int, examples: int, seeds: int) -> Iterator[Unit]:
    """Everything there is to do, from the small to the whole: what is quick and tells most comes first."""
    if Part.CHART in parts:
        yield from (Unit(Part.CHART, name) for name in (*CHARTS, *POLICIES))
    if Part.MUTATION in parts:
        yield from (Unit(Part.MUTATION, name) for name in CHARTS)
    if Part.ENGINE in parts:
        for number, first in enumerate(range(0, examples, EXAMPLES_AT_ONCE)):
            count = min(EXAMPLES_AT_ONCE, examples - first)
            yield from (Unit(Part.ENGINE, name, seed + number, count) for name in CHARTS)
    if Part.SIMULATION in parts:
        for first in range(0, seeds, SEEDS_AT_ONCE):
            yield Unit(Part.SIMULATION, "sync", seed + first, min(SEEDS_AT_ONCE, seeds - first))


def perform(unit: Unit) -> Outcome:
    """Do a piece of work."""
    started = perf_counter()
    outcome = _PERFORMERS[unit.part](unit)
    return attrs.evolve(outcome, seconds=perf_counter() - started)


def _explored(unit: Unit) -> Outcome:
    if unit.name in POLICIES:
        held = verify_policy() if unit.name == POLICY else verify_interleaved()
        counts = Counter({"nodes": held.nodes, "edges": held.edges})
        most = {"failures until degraded": held.failures, "steps until synced again": held.steps}
        return Outcome(Part.CHART, unit.name, counts, most, held.violations)
    ruled = CHARTS[unit.name]
    report = explore(ruled.chart, ruled.law)
    counts = Counter(
        configurations=report.configurations,
        transitions=len(read(ruled.chart).arrows),
        nodes=report.nodes,
        edges=report.edges,
        compared=report.compared,
        restarts=report.restarts,
    )
    return Outcome(Part.CHART, unit.name, counts, {}, report.violations)


def _mutated(unit: Unit) -> Outcome:
    ruled = CHARTS[unit.name]
    outcome = campaign(ruled.chart, ruled.law)
    violations = [
        Violation("mutation", f"survived: {verdict.mutant} ({verdict.kind})") for verdict in outcome.survivors
    ]
    if outcome.share < LEAST_SHARE:
        text = f"ordering and invariants alone catch {outcome.share:.0%} of the mutants, less than {LEAST_SHARE:.0%}"
        violations.append(Violation("mutation", text))
    counts = Counter(
        {
            "mutants": outcome.wrong,
            "caught": outcome.caught,
            "caught by invariants alone": outcome.count(Fate.BY_INVARIANT),
            "equivalent": outcome.count(Fate.EQUIVALENT),
            **{f"kind {kind}": count for kind, count in outcome.kinds.items()},
        }
    )
    notes = tuple(f"equivalent: {v.mutant}" for v in outcome.verdicts if v.fate is Fate.EQUIVALENT)
    return Outcome(Part.MUTATION, unit.name, counts, {}, tuple(violations), notes)


def _driven(unit: Unit) -> Outcome:
    from phasegate.verification.fire import under_fire

    return under_fire(unit.name, unit.seed, unit.count)


def _simulated(unit: Unit) -> Outcome:
    from phasegate.verification.simulation.series import series

    return series(unit.seed, unit.count, TWICE, fail_fast=unit.fail_fast)


_PERFORMERS: dict[Part, Callable[[Unit], Outcome]] = {
    Part.CHART: _explored,
    Part.MUTATION: _mutated,
    Part.ENGINE: _driven,
    Part.SIMULATION: _simulated,
}
