"""Verification as a product: what can be proven about the charts, the engine and the whole client, by anybody.

What `__all__` names is kept, and works for charts that are not of this package: a chart in the strict style of
`Chart`, a `Law` written by hand, and the two together as `Ruled`.

- `explore`, `campaign`: every configuration of a chart before its law, and every mutant of the chart.
- `draw`, `draw_way`: the chart as a diagram, and a counterexample's way through it.
- `ChartTests`, `EngineMachine`: a ready pytest class, and a Hypothesis state machine, to subclass.
- `Interpreter`, `Bindings`, `activity`: the engine that runs a chart under Trio.
- `replay`, `fingerprint`: a recorded journal run again.
- `simulate`, `Plan`, `shrink`: whole clients on simulated machines.
- `run`, `Wanted`, `Report`: what `phasegate verify` does.

The names are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phasegate.engine.interpreter import Bindings, Interpreter, Post, Step, activity
    from phasegate.statecharts.anatomy import Anatomy, Arrow, Box, Guard, build, read
    from phasegate.statecharts.campaign import Campaign, campaign
    from phasegate.statecharts.catalogue import CHARTS, Ruled
    from phasegate.statecharts.chart import Chart
    from phasegate.statecharts.diagram import draw, draw_way
    from phasegate.statecharts.explore import Report as Exploration
    from phasegate.statecharts.explore import verify as explore
    from phasegate.statecharts.fingerprint import fingerprint
    from phasegate.statecharts.form import Form
    from phasegate.statecharts.law import Beside, Clause, Law, Response, respond
    from phasegate.statecharts.law_interleaved import INTERLEAVED
    from phasegate.statecharts.law_peer import PEER
    from phasegate.statecharts.law_sync import SYNC
    from phasegate.statecharts.violation import Violation
    from phasegate.verification.machine import EngineMachine
    from phasegate.verification.part import Part
    from phasegate.verification.ready import ChartTests
    from phasegate.verification.recorded import NotAJournal, Recorded
    from phasegate.verification.replay import Replay, replay
    from phasegate.verification.report import Report
    from phasegate.verification.runner import Wanted, run
    from phasegate.verification.simulation.plan import Plan
    from phasegate.verification.simulation.run import simulate
    from phasegate.verification.simulation.shrink import shrink

__all__ = [
    "CHARTS",
    "INTERLEAVED",
    "PEER",
    "SYNC",
    "Anatomy",
    "Arrow",
    "Beside",
    "Bindings",
    "Box",
    "Campaign",
    "Chart",
    "ChartTests",
    "Clause",
    "EngineMachine",
    "Exploration",
    "Form",
    "Guard",
    "Interpreter",
    "Law",
    "NotAJournal",
    "Part",
    "Plan",
    "Post",
    "Recorded",
    "Replay",
    "Report",
    "Response",
    "Ruled",
    "Step",
    "Violation",
    "Wanted",
    "activity",
    "build",
    "campaign",
    "draw",
    "draw_way",
    "explore",
    "fingerprint",
    "read",
    "replay",
    "respond",
    "run",
    "shrink",
    "simulate",
]

_HOMES = {
    "engine.interpreter": ("Bindings", "Interpreter", "Post", "Step", "activity"),
    "statecharts.anatomy": ("Anatomy", "Arrow", "Box", "Guard", "build", "read"),
    "statecharts.campaign": ("Campaign", "campaign"),
    "statecharts.catalogue": ("CHARTS", "Ruled"),
    "statecharts.chart": ("Chart",),
    "statecharts.diagram": ("draw", "draw_way"),
    "statecharts.explore": ("Report as Exploration", "verify as explore"),
    "statecharts.fingerprint": ("fingerprint",),
    "statecharts.form": ("Form",),
    "statecharts.law": ("Beside", "Clause", "Law", "Response", "respond"),
    "statecharts.law_interleaved": ("INTERLEAVED",),
    "statecharts.law_peer": ("PEER",),
    "statecharts.law_sync": ("SYNC",),
    "statecharts.violation": ("Violation",),
    "verification.machine": ("EngineMachine",),
    "verification.ready": ("ChartTests",),
    "verification.recorded": ("NotAJournal", "Recorded"),
    "verification.replay": ("Replay", "replay"),
    "verification.part": ("Part",),
    "verification.report": ("Report",),
    "verification.runner": ("Wanted", "run"),
    "verification.simulation.plan": ("Plan",),
    "verification.simulation.run": ("simulate",),
    "verification.simulation.shrink": ("shrink",),
}
_HOME_OF = {name.split()[-1]: (home, name.split()[0]) for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'phasegate.verification' has no attribute {name!r}")
    home, there = _HOME_OF[name]
    value = getattr(import_module(f"phasegate.{home}"), there)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
