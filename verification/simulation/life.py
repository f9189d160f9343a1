"""The client of one run, over all its restarts, and what it told in each of its lives.

A life ends by a kill, by a power cut, by being stopped, or because the machine's disk would not let it begin; the next
one begins on what is stored. Nothing else may end a life: any other error is kept, and fails the run.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio

from phasegate.consensus.params import SIMNET
from phasegate.engine.client import Client, ClientEnded, ClientFailed
from phasegate.engine.config import Address, Config, Limits, watch_script
from phasegate.engine.errors import leaves
from phasegate.engine.events import Event, Transition
from phasegate.engine.seams import Seams, inline_seams
from phasegate.statecharts.places import leaves_of
from phasegate.store import StoreError
from phasegate.verification.disk import SimulatedDisk
from phasegate.verification.simulation.plan import Plan
from phasegate.verification.simulation.world import World

OPENING_AGAIN = 1.0
"""Seconds after which a program that could not open its store is started again."""
ASKING_AGAIN = 1.0
"""Seconds after which a user repeats what could not be done."""
CAPACITY = 100_000
"""Events that may wait to be looked at: all of one life."""


@attrs.define
class Told:
    """What one life told, and how it ended."""

    events: list[Event] = attrs.field(factory=list)
    ending: str = ""


class Life:
    """Runs the client until it is told to end.

    Args:
        plan: its configuration.
        world: its surroundings.
        disk: below its store.
        directory: of its store.
        look: called at each transition, with the client, to look whether its bounds hold.
    """

    def __init__(
        self, plan: Plan, world: World, disk: SimulatedDisk, directory: Path, look: Callable[[Client, Transition], None]
    ) -> None:
        self.lives: list[Told] = []
        self.client: Client | None = None
        self.errors: list[BaseException] = []
        self._world = world
        self._disk = disk
        self._look = look
        self._seed = plan.seed
        self._config = configuration(plan, directory, world.chain.watch[: plan.watched])
        self._all_watched = tuple(watch_script(item, SIMNET) for item in world.chain.watch)
        self._ends = False
        self._down = 0.0
        self._entered: dict[str, trio.Event] = {}
        self._scope = trio.CancelScope()

    @property
    def watched(self) -> int:
        """How many scripts the client is told to watch."""
        return len(self._config.watch)

    async def run(self) -> None:
        """One life after the other, until `end`."""
        while not self._ends:
            told = Told()
            self.lives.append(told)
            try:
                with trio.CancelScope() as self._scope:
                    await self._live(told)
            except (ExceptionGroup, ClientFailed, StoreError) as error:
                self._note_end(told, error, opening=not told.events)
            self.client = None
            if self._disk.dead:
                told.ending = told.ending or "killed"
            await trio.sleep(self._down)
            self._down = 0.0
            self._disk.revive()

    async def _live(self, told: Told) -> None:
        try:
            client = Client(self._config, self._seams())
        except StoreError as refused:
            self._note_end(told, refused, opening=True)
            return
        self.client = client
        self._world.heard.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, client, told)
            await nursery.start(client.run)

    def _seams(self) -> Seams:
        seed = random.Random(f"client {self._seed} {len(self.lives)}").getrandbits(64)
        return inline_seams(seed, self._world.open_stream, self._world.now, vfs=self._disk.vfs)

    async def _listen(self, client: Client, told: Told) -> None:
        async for event in client.events(CAPACITY):
            told.events.append(event)
            if isinstance(event, Transition):
                self._look(client, event)
                for leaf in leaves_of(event.target):
                    self._entry(leaf).set()

    def _note_end(self, told: Told, error: BaseException, *, opening: bool) -> None:
        """A disk excuses what it causes when it is dead, or refuses at the very beginning or end; and nothing else."""
        told.ending = f"{'could not begin' if opening else 'ended'}: {error}"
        causes = [cause for leaf in leaves(error) for cause in (leaf, leaf.__cause__) if cause is not None]
        if opening:
            self._down = max(self._down, OPENING_AGAIN)
        elif not (self._disk.dead or _was_stopped(told)) or not any(isinstance(cause, StoreError) for cause in causes):
            self.errors.append(error)

    # -- what is done to it --------------------------------------------------------------------------------------

    async def entered(self, state: str) -> None:
        """Wait until the client has entered `state` for the first time in this run."""
        await self._entry(state).wait()

    def _entry(self, state: str) -> trio.Event:
        return self._entered.setdefault(state, trio.Event())

    def die(self, down: float, *, power: bool = False) -> None:
        """Kill the process, or cut the power, for so many seconds."""
        self._disk.cut_power() if power else self._disk.kill()
        self._down = down
        self._scope.cancel()

    async def restart(self, down: float) -> None:
        """Stop the client as a user does, and start it again after a while."""
        self._down = down
        await self._asked(Client.stop)

    async def pause(self, seconds: float) -> None:
        """Have it pause for a while; whoever is alive then is resumed."""
        await self._asked(Client.pause)
        await trio.sleep(seconds)
        await self._asked(Client.resume)

    async def resume(self) -> None:
        """Have it go on."""
        await self._asked(Client.resume)

    async def watch_all(self) -> None:
        """Watch every script of the chain from now on, in this life and the next ones; asked until it is done."""
        self._config = attrs.evolve(self._config, watch=self._all_watched)
        while not await self._asked(lambda client: client.watch(self._all_watched)):
            await trio.sleep(ASKING_AGAIN)

    async def _asked(self, call: Callable[[Client], Awaitable[None]]) -> bool:
        """Ask the client for something; False if there is none, it has ended, or its disk refuses."""
        if self.client is None:
            return False
        try:
            await call(self.client)
        except (ClientEnded, StoreError):
            return False
        return True

    async def end(self) -> None:
        """Stop the client for good."""
        self._ends = True
        await self._asked(Client.stop)


def _was_stopped(told: Told) -> bool:
    """Whether the chart had ended as it should, and only closing the store was left."""
    moves = [event.target for event in told.events if isinstance(event, Transition)]
    return moves[-1:] == ["stopped"]


def configuration(plan: Plan, directory: Path, watched: tuple[str, ...]) -> Config:
    """What the client of a plan is told, when it watches these addresses."""
    return Config(
        SIMNET,
        peers=tuple(Address("node", number) for number in range(1, len(plan.peers) + 1)),
        connect_only=True,
        datadir=directory,
        watch=tuple(watch_script(item, SIMNET) for item in watched),
        masternodes=plan.masternodes,
        filters=plan.filters,
        limits=Limits(batch=dict(plan.batches)),
        strategy=plan.strategy,
        check_facts=True,
    )
