"""A whole client in a process of its own, measured: `python -m phasegate.verification.bench.measured`.

Standard in brings the task as JSON, standard out gets what was measured as one line. A process of its own has its own
memory and processor time to be told; and it is what users run: `open_client` with a `Config`, nothing replaced. The
chart's interpreter is wrapped to see what time is spent in it.
"""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import trio

from phasegate.engine.client import Client, open_client
from phasegate.engine.config import Config
from phasegate.engine.events import Subscription, Transition
from phasegate.engine.interpreter import Interpreter
from phasegate.engine.limits import Limits
from phasegate.p2p.addresses import Address
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_files import made
from phasegate.p2p.simnet.bulk_plan import BulkPlan

SYNCED = "synced"
PATIENCE = 3600.0
PATIENT: Mapping[str, Any] = {"gather_time": 0.02, "tick": 0.1}
"""Limits of every client that is measured: it knows how many peers there are, and need not wait for others."""
_LINES = 30
"""Of a profile."""


@attrs.frozen
class Task:
    """What a client has to do.

    Args:
        plan: of the chain, field by field.
        cache: where chains are kept.
        ports: of the peers, all on this machine.
        datadir: where the client keeps its store.
        filters: whether it downloads filters and blocks.
        rescans: so many scripts that nobody pays to it watches later, each time when it is synced.
        known: whether its network knows blocks beforehand, as far as the plan names any.
        until: the phase that is to be over, or `synced`.
        profile: whether to tell where the time went.
        config: further fields of the client's `Config`.
        limits: further fields of its `Limits`.
    """

    plan: Mapping[str, int]
    cache: str
    ports: tuple[int, ...]
    datadir: str
    filters: bool = False
    rescans: tuple[int, ...] = ()
    known: bool = True
    until: str = SYNCED
    profile: bool = False
    config: Mapping[str, Any] = attrs.field(factory=dict)
    limits: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Result:
    """What a client did.

    Args:
        seconds: from its start to the end of the task.
        cpu: processor seconds of its process meanwhile.
        peak: the most memory its process had so far, in bytes.
        at_start: likewise, before there was a client.
        charts: processor seconds within the interpreter of charts.
        phases: seconds spent in each phase.
        items: what each phase stored.
        tip: the height it reached.
        rescans: seconds spent in the filters phase after each time that more was watched.
        found: whether its balances are those of the plan; None where they are not to be known yet.
        profile: where the time went, if that was asked for.
    """

    seconds: float
    cpu: float
    peak: int
    at_start: int
    charts: float
    phases: Mapping[str, float]
    items: Mapping[str, int]
    tip: int
    rescans: tuple[float, ...]
    found: bool | None
    profile: str = ""


def configured(task: Task, chain: BulkChain) -> Config:
    """What a user of this chain would write; nobody waits for peers that are not there."""
    plan = chain.plan
    network = chain.network if task.known else attrs.evolve(chain.network, known_blocks={})
    config = Config(
        network=network,
        peers=tuple([Address("127.0.0.1", port) for port in task.ports]),
        connect_only=True,
        datadir=Path(task.datadir),
        watch=plan.watched if task.filters else (),
        masternodes=False,
        filters=task.filters,
        birthday=plan.birthday if task.filters else None,
        limits=Limits(**{**PATIENT, **task.limits}),
    )
    return attrs.evolve(config, **task.config)


def measured(task: Task) -> Result:
    """Run the client and measure it."""
    plan = BulkPlan(**task.plan)
    chain = BulkChain.open(plan, made(plan, Path(task.cache)))
    config, charts, profile = configured(task, chain), _ChartTime(), cProfile.Profile()
    at_start = peak_memory()
    with charts.watched(), profile if task.profile else nullcontext():
        done = trio.run(_run, task, config, charts, chain)
    return attrs.evolve(done, at_start=at_start, profile=_told(profile) if task.profile else "")


async def _run(task: Task, config: Config, charts: _ChartTime, chain: BulkChain) -> Result:
    start, cpu = time.perf_counter(), time.process_time()
    with trio.fail_after(PATIENCE):
        async with open_client(config) as client:
            await (client.wait_synced() if task.until == SYNCED else _left(client.events(), task.until))
            spent, cpu_spent = time.perf_counter() - start, time.process_time() - cpu
            totals = client.totals
            rescans = [await _rescanned(client, chain.plan.scripts(f"later {n}", n)) for n in task.rescans]
            found = client.balances() if task.filters and task.until == SYNCED else None
    return Result(
        seconds=spent,
        cpu=cpu_spent,
        peak=peak_memory(),
        at_start=0,
        charts=charts.spent,
        phases={phase: seconds for phase, (_, seconds) in totals.items()},
        items={phase: count for phase, (count, _) in totals.items()},
        tip=client.status.marks.tip,
        rescans=tuple(rescans),
        found=None if found is None else chain.plan.balances.items() <= found.items(),
    )


async def _rescanned(client: Client, scripts: Sequence[bytes]) -> float:
    """Watch more, and tell the seconds until all stored filters have been matched for it."""
    await client.wait_synced()
    (_, before), events = client.totals.get("filters", (0, 0.0)), client.events()
    await client.watch(scripts)
    await _left(events, "filters")
    return client.totals["filters"][1] - before


async def _left(events: Subscription, phase: str) -> None:
    """Wait until a phase is over."""
    async for event in events:
        if isinstance(event, Transition) and event.source == phase:
            return


@attrs.define
class _ChartTime:
    """The processor seconds spent in all steps of all charts, the facts for them and their guards included."""

    spent: float = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Add up, for the length of a `with`."""
        names = ("__init__", "_dispatch")
        inner: dict[str, Callable[..., Any]] = {name: getattr(Interpreter, name) for name in names}
        for name in names:
            setattr(Interpreter, name, self._timing(inner[name]))
        try:
            yield
        finally:
            for name in names:
                setattr(Interpreter, name, inner[name])

    def _timing(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return inner(*args, **named)
            finally:
                self.spent += time.thread_time() - start

        return outer


def peak_memory() -> int:
    """The most memory that this process had so far, in bytes.

    What `getrusage` tells begins, on Linux, with the most that the parent had when it made this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        told = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(told.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _told(profile: cProfile.Profile) -> str:
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(_LINES)
    return text.getvalue()


def main() -> None:
    """Do the task that standard in brings."""
    fields = json.load(sys.stdin)
    result = measured(Task(**{**fields, "ports": tuple(fields["ports"]), "rescans": tuple(fields.get("rescans", ()))}))
    sys.stdout.write(json.dumps(attrs.asdict(result)) + "\n")


if __name__ == "__main__":
    main()
