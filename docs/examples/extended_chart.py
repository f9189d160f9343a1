"""A chart of one's own: the sync chart with one phase more, explored, mutated, drawn, tested and run.

The phase `governance` comes last: when everything else is complete, governance objects are brought, and only then is
the client fully synced. Run it:

    python docs/examples/extended_chart.py              # proves the chart, and runs it once
    python docs/examples/extended_chart.py --draw       # prints the chart as a Mermaid diagram
    pytest docs/examples/extended_chart.py              # the same proofs as tests, and the engine under fire

Nothing here reaches into phasegate: all names are those of its public faces.
"""

import sys

import attrs
import trio

from phasegate import SyncChart
from phasegate.verification import (
    SYNC,
    Anatomy,
    Arrow,
    Bindings,
    Box,
    ChartTests,
    EngineMachine,
    Form,
    Guard,
    Interpreter,
    Post,
    Ruled,
    Step,
    activity,
    build,
    campaign,
    draw,
    explore,
    read,
    respond,
)

# -- the chart: the tables of the old one, changed, and built anew ----------------------------------------------------


def with_governance(tables: Anatomy) -> Anatomy:
    """Whoever was done goes to `governance` instead, and from there to where it was going."""
    goals, done = ("synced", "degraded"), {"all_enabled_complete", "sound"}
    phases = [box.id for box in tables.box("syncing").inside]
    arrows: dict[Arrow, None] = {}
    for arrow in tables.arrows:
        if arrow.event == "advance" and arrow.source in phases and arrow.target in goals:
            guards = tuple(guard for guard in arrow.guards if guard.name not in done)
            arrow = Arrow(arrow.source, "advance", "governance", guards)  # one way instead of two
        arrows[arrow] = None
    complete = (Guard("governance_complete"), Guard("all_enabled_complete"))
    arrows[Arrow("governance", "advance", "synced", (*complete, Guard("sound")))] = None
    arrows[Arrow("governance", "advance", "degraded", (*complete, Guard("sound", wanted=False)))] = None
    phase = Box("governance", "Downloading governance objects", entry=("download_governance",))
    boxes = tuple(_into(box, "syncing", phase) for box in tables.boxes)
    return Anatomy("GovernanceChart", boxes, tuple(arrows))


def _into(box: Box, place: str, phase: Box) -> Box:
    inside = tuple(_into(inner, place, phase) for inner in box.inside)
    return attrs.evolve(box, inside=(*inside, phase) if box.id == place else inside)


GovernanceChart = build(with_governance(read(SyncChart)))

# -- the law: by hand, never derived from the chart --------------------------------------------------------------------

LAST = ("headers", "mnlist", "blocks")  # the phases that could be the last one, by the switches
LAW = attrs.evolve(
    SYNC,
    name="governance",
    leaves=SYNC.leaves | {"governance"},
    requires={
        **SYNC.requires,
        "governance": ("headers", "mnlist", "cfheaders", "filters", "blocks"),
        "synced": (*SYNC.requires["synced"], "governance"),
    },
    completed_by={**SYNC.completed_by, "governance": "governance_complete"},
    runs={**SYNC.runs, "governance": "download_governance"},
    returns={**SYNC.returns, "download_governance": "advance"},
    leads={**SYNC.leads, "advance": SYNC.leads["advance"] | {"governance"}},
    responses=(
        *(line for line in SYNC.responses if line.event != "advance" or line.leaf not in LAST),
        *respond(
            "headers",
            "advance",
            "headers_complete mn_enabled -> mnlist",
            "headers_complete !mn_enabled filters_enabled -> cfheaders",
            "headers_complete !mn_enabled !filters_enabled -> governance",
            "!headers_complete -> stay",
        ),
        *respond(
            "mnlist",
            "advance",
            "mnlist_complete filters_enabled -> cfheaders",
            "mnlist_complete !filters_enabled -> governance",
            "!mnlist_complete -> stay",
        ),
        *respond("blocks", "advance", "blocks_complete -> governance", "!blocks_complete -> stay"),
        *respond(
            "governance",
            "advance",
            "governance_complete all_enabled_complete sound -> synced",
            "governance_complete all_enabled_complete !sound -> degraded",
            "governance_complete !all_enabled_complete -> stay",
            "!governance_complete -> stay",
        ),
        *respond(
            "governance",
            "fail",
            "wait_advised -> waiting",
            "!wait_advised retry_advised -> backoff",
            "!wait_advised !retry_advised restart_advised -> restarting",
            "!wait_advised !retry_advised !restart_advised switch_advised -> switching",
            "!wait_advised !retry_advised !restart_advised !switch_advised -> degraded",
        ),
        *respond("governance", "rewalk", "-> headers"),
        *respond("governance", "rewind", "-> headers"),
        *respond("governance", "pause", "-> paused"),
        *respond("governance", "crash", "-> failed"),
        *respond("governance", "stop", "-> stopped"),
    ),
)
RULED = Ruled(GovernanceChart, LAW)

# -- as tests ----------------------------------------------------------------------------------------------------------


class TestGovernanceChart(ChartTests):
    """The chart keeps its law, and the law catches every mutant."""

    ruled = RULED


class GovernanceMachine(EngineMachine):
    """The engine runs the chart with activities that do whatever Hypothesis thinks of."""

    ruled = RULED


TestGovernanceEngine = GovernanceMachine.TestCase

# -- and run: the engine, with activities of one's own -----------------------------------------------------------------


class Facts:
    """The model: each guard is an attribute. Here everything is enabled, and complete once it was brought."""

    mn_enabled = filters_enabled = sound = all_enabled_complete = peer_ready = remedy_found = True
    wait_advised = retry_advised = restart_advised = switch_advised = work_left = False
    headers_complete = mnlist_complete = cfheaders_complete = False
    filters_complete = blocks_complete = governance_complete = False


class Downloads(Bindings):
    """The listener: an activity for each phase; what nobody needs here rests."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.facts = facts
        self.path = ["idle"]

    async def report(self, step: Step) -> None:
        self.path.append(step.target)

    def classify(self, state: str, error: Exception) -> Post | None:
        return Post("crash", f"{state}: {error!r}", cause=error)

    async def bring(self, what: str) -> None:
        await trio.sleep(0.01)  # here one would ask peers, verify and store
        setattr(self.facts, f"{what}_complete", True)

    @activity(then="advance")
    async def download_headers(self) -> None:
        await self.bring("headers")

    @activity(then="advance")
    async def download_masternodes(self) -> None:
        await self.bring("mnlist")

    @activity(then="advance")
    async def download_filter_headers(self) -> None:
        await self.bring("cfheaders")

    @activity(then="advance")
    async def download_filters(self) -> None:
        await self.bring("filters")

    @activity(then="advance")
    async def download_blocks(self) -> None:
        await self.bring("blocks")

    @activity(then="advance")
    async def download_governance(self) -> None:
        await self.bring("governance")

    @activity()
    async def follow_tip(self) -> None:
        await trio.sleep_forever()

    back_off = restart_phase = switch_peer = wait_for_network = await_remedy = follow_tip


async def run_once() -> list[str]:
    """Run the chart until it is synced, stop it, and return the states that it went through."""
    downloads = Downloads(Facts())
    engine = Interpreter(GovernanceChart, downloads.facts, downloads)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await engine.post("start")
        while engine.leaf != "synced":
            await trio.sleep(0.01)
        await engine.post("stop", "that was all")
    return downloads.path


def main() -> int:
    """Draw the chart, or prove and run it; the exit code is 1 if it breaks its law."""
    if "--draw" in sys.argv[1:]:
        print(draw(GovernanceChart, Form.MERMAID).decode(), end="")
        return 0
    proof, trial = explore(GovernanceChart, LAW), campaign(GovernanceChart, LAW)
    for violation in proof.violations:
        print(f"[{violation.law}] {violation.text}\n{violation.story}")
    print(f"{proof.configurations} configurations, {proof.edges} edges, {len(proof.violations)} violations")
    print(f"{trial.caught}/{trial.wrong} mutants caught, {trial.share:.0%} of them by the invariants alone")
    print(" -> ".join(trio.run(run_once)))
    return 1 if proof.violations or trial.survivors else 0


if __name__ == "__main__":
    sys.exit(main())
