"""What takes long to make is made once a run: a journal with all that happens to a client, and seeds for fuzzing."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.client import Client
from phasegate.engine.config import Config
from phasegate.engine.events import Transition
from phasegate.engine.seams import inline_seams
from phasegate.p2p.simnet.generated import generate
from phasegate.store import JournalRow, Store
from phasegate.verification.fuzzing.corpus import Seed, seeds
from phasegate.verification.fuzzing.targets import TARGETS
from tests.conftest import PACKED
from tests.simulated_world import START, World, runner

Seeds = Mapping[str, list[Seed]]

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]


async def _killed(world: World, config: Config, state: str) -> None:
    """A client that is gone as soon as it has entered `state`, without having been stopped."""
    async with trio.open_nursery() as nursery:
        client = Client(config, inline_seams(2, world.open_stream, lambda: START + trio.current_time()))
        events = client.events()
        await nursery.start(client.run)
        async for event in events:
            if isinstance(event, Transition) and event.target == state:
                nursery.cancel_scope.cancel()


async def _first_run(world: World, config: Config) -> None:
    """New blocks, a better branch, an item watched later, a lost network, a pause."""
    chain, better = generate(100, 5, locks=False), generate(130, 5, fork_at=90, fork_seed=9, locks=False)
    node = world.add(chain, 1)
    async with runner(world)(config) as run:
        await run.until("synced")
        chain.extend(3)
        await node.announce(3)
        await run.until_path(WALK * 2)
        node.chain = better
        await node.announce(27)
        await run.until_path(WALK * 3)
        await run.client.watch([b"\x51"])
        await run.until_path(WALK * 4)
        del world.nodes[1]
        await world.cut(1)
        await run.until("waiting")
        world.nodes[1] = node
        await run.until("synced")
        await run.client.pause()
        await run.until("paused")
        await run.client.resume()
        await run.until("synced")


async def _lived(directory: Path) -> list[JournalRow]:
    async with trio.open_nursery() as nursery:
        world = World(nursery, directory)
        config = world.config(1)
        await _first_run(world, config)
        world.add(generate(150, 5, fork_at=100, fork_seed=7, locks=False), 1)
        await _killed(world, config, "cfheaders")
        async with runner(world)(attrs.evolve(config, filters=False)) as run:
            await run.until("synced")
        async with runner(world)(attrs.evolve(config, masternodes=False, max_tip_age=60.0)) as run:
            await run.until("degraded")
        with closing(Store.open(directory, config.network)) as store:
            rows = store.journal(0, 1000)
        nursery.cancel_scope.cancel()
    return rows


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[JournalRow, ...]:
    """A sync with new blocks and a reorganisation, recovery, pause, stop, a kill, and runs with other settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
        patch.setattr("trio._core._run._r", random.Random(0))
        rows = trio.run(_lived, tmp_path_factory.mktemp("lived"), clock=MockClock(autojump_threshold=0))
    return tuple(rows)


@pytest.fixture(scope="session")
def seeds_of() -> Seeds:
    """All seeds, by target."""
    found: dict[str, list[Seed]] = {name: [] for name in TARGETS}
    for seed in seeds(PACKED):
        found[seed.target].append(seed)
    return found
