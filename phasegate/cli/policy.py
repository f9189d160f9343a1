"""`phasegate policy`: the recovery policy, as the chart follows it and `phasegate verify` checks it."""

from __future__ import annotations

import typer

from phasegate.cli import options
from phasegate.statecharts.policy import POLICY, REMEDIES, Reason, Rule


def policy(as_json: options.AsJson = False) -> None:
    """Show what is done about failures. A strategy for each phase, reason and attempt; what ends a degradation."""
    (_say_json if as_json else _say)()


def _say() -> None:
    from rich.console import Console
    from rich.table import Table

    rules, remedies = Table(box=None, pad_edge=False), Table(box=None, pad_edge=False)
    for heading in ("reason", "phase", "failures", "strategy"):
        rules.add_column(heading, no_wrap=True)
    rules.add_column("because")
    for rule, tried in _with_range():
        rules.add_row(rule.reason.value, rule.phase, tried, rule.strategy.value, rule.why)
    remedies.add_column("degraded because", no_wrap=True)
    remedies.add_column("until")
    for reason in Reason:
        remedies.add_row(reason.value, REMEDIES[reason])
    console = Console(highlight=False)
    console.print(rules)
    typer.echo("\nFailures are counted in a row, by reason, until something is stored. * is any phase, and synced;")
    typer.echo("a row that names its phase stands before those for any. What fails during a recovery degrades.\n")
    console.print(remedies)


def _with_range() -> list[tuple[Rule, str]]:
    """Each row with the failures in a row that it is for: after those of the rows before it."""
    return [(rule, _range(first, rule.attempts) if rule.ends else f"{first} on") for rule, first in _with_first()]


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def _with_first() -> list[tuple[Rule, int]]:
    first: dict[tuple[str, Reason], int] = {}
    found = []
    for rule in POLICY:
        key = rule.phase, rule.reason
        found.append((rule, first.get(key, 1)))
        first[key] = rule.attempts + 1
    return found


def _say_json() -> None:
    from phasegate.cli.output import write_line

    for rule, first in _with_first():
        write_line("rule", None, {
            "phase": rule.phase,
            "reason": rule.reason.value,
            "from_attempt": first,
            "to_attempt": rule.attempts if rule.ends else None,
            "strategy": rule.strategy.value,
            "why": rule.why,
        })  # fmt: skip
    for reason in Reason:
        write_line("remedy", None, {"reason": reason.value, "until": REMEDIES[reason]})
