"""A data directory that goes away under a running client, and a disk that is full before there is a store."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.client import Client
from phasegate.engine.opening import open_store
from phasegate.engine.seams import inline_seams
from phasegate.p2p.simnet.generated import generate
from phasegate.store import StoreFailed
from phasegate.verification.disk import Fault, SimulatedDisk

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


def removed(place: Path) -> None:
    """Nothing is left."""
    shutil.rmtree(place)


def moved(place: Path) -> None:
    """It has another name now."""
    place.rename(place.with_name("moved"))


def replaced(place: Path) -> None:
    """Another file stands in its place, as after a backup was played back."""
    file = place / "simnet.sqlite"
    file.with_suffix(".copy").write_bytes(file.read_bytes())
    file.with_suffix(".copy").rename(file)


@pytest.mark.parametrize("go", [removed, moved, replaced])
async def test_what_is_synced_after_the_directory_went_away_is_not_taken_for_stored(
    world: World, running: Start, autojump_clock: MockClock, go: Callable[[Path], None]
) -> None:
    """The system would go on writing to a file without a name; the client says that its store is gone, and does not."""
    chain = generate(120, 5)
    node = world.add(chain, 1)
    world.directory = world.directory / "place"
    async with running(world.config(1)) as run:
        await run.until("synced")
        go(world.directory)
        chain.extend(1)
        await node.announce(1)
        await run.until("degraded")
        file = world.directory / "simnet.sqlite"
        assert run.client.status.reason == f"the disk refuses: {file} was taken away or replaced while it was open"
        assert run.client.status.marks.tip == 120
        assert "journal-waits" in run.warnings


async def test_a_directory_that_is_put_back_is_gone_on_with(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """As a disk that works again: synced within the minute, and all of it is in the file."""
    chain = generate(120, 5)
    node = world.add(chain, 1)
    world.directory = world.directory / "place"
    async with running(world.config(1)) as run:
        await run.until("synced")
        moved(world.directory)
        chain.extend(1)
        await node.announce(1)
        await run.until("degraded")
        world.directory.with_name("moved").rename(world.directory)
        await run.until("synced", within=90)
        assert run.client.status.marks.tip == 121
    store, told = open_store(world.directory, run.client.config.network)
    with closing(store):
        assert (told, store.marks.tip, store.check()) == ("", 121, ())


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.SHORT_WRITE, Fault.IO_ERROR])
async def test_a_disk_that_is_full_at_the_first_start_is_an_error_and_leaves_a_directory_to_begin_in(
    world: World, running: Start, autojump_clock: MockClock, fault: Fault
) -> None:
    """Whichever write of the opening is refused: one line that names the file, and the next start begins as any."""
    world.add(generate(120, 5), 1)
    config = world.config(1)
    with SimulatedDisk(random.Random(2)) as disk:
        world.vfs = disk.vfs
        for after in range(1, 40, 3):
            disk.arm(fault, after, lasting=1000)
            with pytest.raises(StoreFailed, match=r"simnet\.sqlite: ") as refused:
                Client(config, inline_seams(1, world.open_stream, vfs=disk.vfs))._store.close()
            assert "\n" not in str(refused.value)
            disk.disarm()
        async with running(config) as run:
            await run.until("synced")


async def test_reading_goes_on_while_the_directory_is_away(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What was stored can still be told: the file is open."""
    chain = generate(120, 5)
    world.add(chain, 1)
    world.directory = world.directory / "place"
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        removed(world.directory)
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        await trio.sleep(60)
        assert run.client.store.header(120) == chain.header(120)
