"""One run from beginning to end: the world begins, happenings strike, faults end, and everything is looked at.

After the last happening nothing more is done to the client but what hostile peers go on doing. From then on it has to
be fully synced on the chain that the honest peers serve, within a bounded time.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import trio
from trio.testing import MockClock

from phasegate.engine.client import Client
from phasegate.engine.events import Transition
from phasegate.verification.disk import Fault, SimulatedDisk
from phasegate.verification.schedule import one_schedule
from phasegate.verification.simulation.checks import OUTSTANDING, STALL, Bounds, Broken, unheard_tip, unjust_bans
from phasegate.verification.simulation.judgement import Outcome, Traces, judged
from phasegate.verification.simulation.life import Life
from phasegate.verification.simulation.plan import Happening, Plan
from phasegate.verification.simulation.world import World

LONGEST_WAIT = 60.0
"""Virtual seconds that a happening waits for its state; then it strikes all the same."""
PATIENCE = 3600.0
"""Virtual seconds after the last fault within which the client has to be synced."""
QUIET = 2.0
"""Virtual seconds for which it then has to stay so."""
REPEAT = 60.0
"""Virtual seconds between two blocks that tell of the tip, as on a living network."""
GLANCE = 1.0
"""Virtual seconds between two glances at what is under way."""


def simulate(plan: Plan) -> Outcome:
    """Run a plan in a directory of its own, on a virtual clock."""
    with (
        tempfile.TemporaryDirectory(prefix="phasegate-simulation-") as directory,
        SimulatedDisk(random.Random(f"disk {plan.seed}")) as disk,
        one_schedule(plan.seed),
    ):
        run = _Run(plan, disk, Path(directory))
        trio.run(run.run, clock=MockClock(autojump_threshold=0))
        return judged(run.traces())


class _Run:
    def __init__(self, plan: Plan, disk: SimulatedDisk, directory: Path) -> None:
        self._plan = plan
        self._disk = disk
        self._directory = directory
        self._bounds = Bounds()
        self._broken: list[Broken] = []
        self._next_nudge = 0.0
        self._ended = 0.0
        self._walk_began = 0.0
        self._over = False

    async def run(self) -> None:
        async with trio.open_nursery() as connections:
            self._world = World(self._plan, connections, sent=self._count)
            self._life = Life(self._plan, self._world, self._disk, self._directory, self._look)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._life.run)
                nursery.start_soon(self._glance)
                await self._happen()
                await self._recover()
                await self._life.end()
                self._over = True
            self._ended = trio.current_time()
            connections.cancel_scope.cancel()

    def _look(self, client: Client, event: Transition) -> None:
        self._bounds.look(client, event)
        self._broken += unheard_tip(event, self._walk_began, client.peers, self._world.heard)
        if event.target == "headers":
            self._walk_began = trio.current_time()

    def _count(self) -> None:
        if self._life.client is not None:
            self._bounds.count(self._life.client)

    async def _glance(self) -> None:
        while not self._over:
            await trio.sleep(GLANCE)
            if self._life.client is not None:
                self._bounds.glance(self._life.client)

    def traces(self) -> Traces:
        """What is left to look at, when it has ended."""
        done = self._world.tally() + Counter({f"disk {fault.value}": n for fault, n in self._disk.injected.items()})
        return Traces(
            plan=self._plan,
            directory=self._directory,
            path=self._world.path,
            watched=self._life.watched,
            lives=tuple(self._life.lives),
            errors=tuple(self._life.errors),
            broken=(*self._broken, *self._bounds.broken),
            done=done,
            power_was_cut=bool(self._disk.injected[Fault.POWER_CUT]),
            seconds=self._ended,
            most=self._bounds.most,
        )

    async def _happen(self) -> None:
        """Everything that the plan says, each when its state has been entered for long enough."""
        async with trio.open_nursery() as nursery:
            for what in self._plan.happenings:
                nursery.start_soon(self._strike, what)

    async def _strike(self, what: Happening) -> None:
        if what.state:
            with trio.move_on_after(LONGEST_WAIT):
                await self._life.entered(what.state)
        await trio.sleep(what.after)
        match what.kind:
            case "disk-fault" if what.fault is not None:
                self._disk.arm(what.fault, 1 + int(what.amount), lasting=max(1, int(what.amount)))
                await trio.sleep(LONGEST_WAIT / 2)
                if what.fault is Fault.FAILED_SYNC:  # a small store is not synced before its program ends
                    await self._life.restart(0.1)
            case "kill" | "power-cut":
                self._life.die(what.amount, power=what.kind == "power-cut")
            case "restart":
                await self._life.restart(what.amount)
            case "pause":
                await self._life.pause(what.amount)
            case "watch":
                await self._life.watch_all()
            case _:
                await self._world.let_happen(what)

    async def _recover(self) -> None:
        """No fault any more: until the client is synced with the honest chain, and has been for a while."""
        self._disk.disarm()
        await self._world.end_trouble()
        with trio.move_on_after(PATIENCE):
            while not await self._stays_synced():
                await trio.sleep(0.5)
            if self._life.client is not None:
                self._look_at(self._life.client)
            return
        state = "not running" if self._life.client is None else self._life.client.state
        why = "" if self._life.client is None else f" ({self._life.client.status.reason})"
        self._broken.append((STALL, f"after {PATIENCE:.0f} s without a fault the client is {state}{why}"))

    async def _stays_synced(self) -> bool:
        """Whether the client is synced with the honest chain, watches everything, and stays so for a while."""
        for _ in range(int(QUIET / 0.5)):
            if not self._is_synced():
                await self._nudge()
                return False
            await trio.sleep(0.5)
        return self._is_synced()

    def _is_synced(self) -> bool:
        client, tip = self._life.client, self._world.chain.tip_hash
        return client is not None and client.state == "synced" and client.facts.marks.tip_hash == tip

    async def _nudge(self) -> None:
        """Now and then the honest tell of their tip, as blocks would; a paused client is resumed by its user."""
        if trio.current_time() >= self._next_nudge:
            self._next_nudge = trio.current_time() + REPEAT
            await self._world.repeat_tip()
            if self._life.client is not None and self._life.client.state == "paused":
                await self._life.resume()

    def _look_at(self, client: Client) -> None:
        if client.facts.outstanding:
            self._broken.append((OUTSTANDING, f"{client.facts.outstanding} requests, though all is quiet"))
        self._broken += unjust_bans(client)
