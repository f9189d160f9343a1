"""The engine part of a verification run: examples of the state machine in `machine.py`, counted and told."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.violation import Violation
from phasegate.verification.machine import EngineMachine
from phasegate.verification.part import Part
from phasegate.verification.report import Outcome
from phasegate.verification.scripted import BrokenPromise

STEPS = 40
"""Things that happen in one example at most."""
EVENTS = {"sync": ("fail", "crash"), "interleaved": ("fail", "crash"), "peer": ("lost", None)}
"""What a failure and a bug of an activity stand for, by chart."""


def machine(ruled: Ruled, failure: str | None, bug: str | None) -> type[EngineMachine]:
    """A state machine for a chart, with counts of its own."""
    members: dict[str, object] = {"ruled": ruled, "failure": failure, "bug": bug, "tally": Counter()}
    return type(f"{ruled.chart.__name__}Machine", (EngineMachine,), members)


def under_fire(name: str, from_seed: int, examples: int) -> Outcome:
    """Run examples for a chart of the catalogue; the first broken promise ends them, and is shrunk by Hypothesis."""
    tried = machine(CHARTS[name], *EVENTS[name])
    chosen = settings(
        max_examples=examples, stateful_step_count=STEPS, database=None, deadline=None, print_blob=False,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )  # fmt: skip
    violations = []
    try:
        run_state_machine_as_test(seed(from_seed)(tried), settings=chosen)
    except (BrokenPromise, HypothesisException) as broken:
        law, _, text = str(broken).partition(": ")
        story = "\n".join(getattr(broken, "__notes__", ()))
        again = f"phasegate verify --only engine --seed {from_seed} --examples {examples}"
        violations.append(Violation(law, f"{name} chart: {text}", story, reproduce=again))
    return Outcome(Part.ENGINE, f"{name}, seed {from_seed}", tried.tally, {}, tuple(violations))
