"""A series of simulated runs, seed by seed, as a part of a verification run."""

from __future__ import annotations

import resource
import sys
from collections import Counter

from phasegate.statecharts.violation import Violation
from phasegate.verification.part import Part
from phasegate.verification.report import Outcome as PartOutcome
from phasegate.verification.simulation.checks import BOUNDED, STALL, TWIN
from phasegate.verification.simulation.judgement import Outcome
from phasegate.verification.simulation.plan import Plan
from phasegate.verification.simulation.run import simulate
from phasegate.verification.simulation.shrink import shrink

MOST_MEMORY = 1024
"""MiB that a process which simulates one run after the other may need, chains and models included."""


def series(first: int, count: int, twice: int, *, fail_fast: bool = False) -> PartOutcome:
    """Simulate the seeds from `first` on.

    Args:
        first: the first seed.
        count: how many.
        twice: of so many seeds one is run a second time, which has to be the same run.
        fail_fast: end with the first seed that breaks a law.
    """
    counts, most, violations = Counter[str](), Counter[str](), list[Violation]()
    for seed in range(first, first + count):
        outcome = simulate(Plan.draw(seed))
        counts += Counter({f"fault {kind}": times for kind, times in outcome.done.items()})
        counts += Counter({"seeds": 1, "virtual seconds": int(outcome.seconds), **_again(outcome, twice)})
        most |= Counter({name: max(value, most[name]) for name, value in outcome.most.items()})
        violations += _violations(outcome)
        most["MiB of memory"] = _memory()
        if most["MiB of memory"] > MOST_MEMORY:
            violations.append(Violation(BOUNDED, f"{most['MiB of memory']} MiB of memory after seed {seed}"))
        if seed % twice == 0 and simulate(outcome.plan).digest != outcome.digest:
            violations.append(Violation(TWIN, f"seed {seed} had another end when it was run again", "", (), _how(seed)))
        if fail_fast and violations:
            break
    return PartOutcome(Part.SIMULATION, f"seeds {first} to {first + count - 1}", counts, dict(most), tuple(violations))


def _memory() -> int:
    """The most memory that this process has had so far, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _again(outcome: Outcome, twice: int) -> dict[str, int]:
    stalled = any(law == STALL for law, _ in outcome.broken)
    return {"run twice": int(outcome.plan.seed % twice == 0), "stalls": int(stalled)}


def _violations(outcome: Outcome) -> list[Violation]:
    """The broken laws of a run, with the smallest plan that breaks one of them too."""
    if not outcome.broken:
        return []
    smallest = shrink(outcome)
    story = f"{outcome.plan}\nand at its smallest:\n{smallest.plan}\n" + "\n".join(map(": ".join, smallest.broken))
    return [Violation(law, text, story, (), _how(outcome.plan.seed)) for law, text in outcome.broken]


def _how(seed: int) -> str:
    return f"phasegate verify --only simulation --seed {seed} --seeds 1"
