"""Whole clients whose process is killed, or whose machine loses its power, in the middle of any write of a sync."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.client import ClientFailed
from phasegate.engine.opening import open_store
from phasegate.store import Repair, Store, StoreCorrupt, StoreFailed, Watermarks
from phasegate.verification.disk import Fault, SimulatedDisk
from tests.simulated_world import Run, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


@pytest.fixture
def disk(world: World) -> Iterator[SimulatedDisk]:
    """A disk below every store of this world."""
    with SimulatedDisk(random.Random(5)) as simulated:
        world.vfs = simulated.vfs
        yield simulated


async def until_dead(run: Run, disk: SimulatedDisk) -> Watermarks:
    """Wait until the machine is dead or the client is synced; what the client then believes to be stored."""
    with trio.fail_after(300):
        while not disk.dead and run.client.state != "synced":
            await trio.sleep(0.01)
    return run.client.status.marks


def reached(marks: Watermarks) -> tuple[int, int, int, int]:
    """How far each series reaches."""
    return marks.tip, marks.filter_headers, marks.filters, marks.matched


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.POWER_CUT])
async def test_a_sync_that_is_ended_again_and_again_ends_as_one_that_was_not(
    world: World, running: Start, autojump_clock: MockClock, disk: SimulatedDisk, fault: Fault
) -> None:
    """A kill loses no receipt, a power cut goes back to an earlier one; the digest at the end is the same.

    The strides are uneven, so that they meet writes of every phase, and grow, so that the sync comes to an end.
    """
    chain = small_chain(120, 5)
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(attrs.evolve(config, datadir=world.directory / "undisturbed")) as run:
        await run.until("synced")
        expected = run.client.store.digest()
    for life in range(60):
        disk.arm(fault, 3 + 5 * life)
        believed = None  # until the store is open
        try:
            async with running(config) as run:
                believed = await until_dead(run, disk)
        except* (StoreFailed, ClientFailed):
            assert disk.dead
        if not disk.dead:
            break
        disk.revive()
        store, told = open_store(config.datadir, config.network, vfs=disk.vfs)
        with closing(store):
            assert (told, store.check()) == ("", ())
            if believed is not None and fault is Fault.KILL:
                assert all(
                    is_there >= was for is_there, was in zip(reached(store.marks), reached(believed), strict=True)
                )
    assert 10 < disk.injected[fault] < 60
    disk.disarm()
    async with running(config) as run:
        await run.until("synced")
        assert run.client.store.digest() == expected
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]


async def test_a_client_repairs_on_the_disk_that_it_lives_on(
    world: World, running: Start, autojump_clock: MockClock, disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening, repairing at opening and after a run that met damage: nothing goes round the seam."""
    world.add(small_chain(120, 5), 1)
    used = noted(monkeypatch)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(world.config(1)) as run:
            await meet_damage(run, monkeypatch)
    assert caught.group_contains(ClientFailed, match="has been repaired, start again")
    spoil(run.client.config.datadir / "simnet.sqlite")
    async with running(world.config(1)) as run:
        await run.until("synced")
        assert "store-repaired" in run.warnings
    assert used == [disk.vfs] * 5


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The VFS of every store that is opened or repaired from now on."""
    used: list[str | None] = []
    really_open, really_repair = Store.open, Store.repair

    def open_it(*place: Any, vfs: str | None, **rest: Any) -> Store:
        used.append(vfs)
        return really_open(*place, vfs=vfs, **rest)

    def repair_it(*place: Any, vfs: str | None) -> Repair:
        used.append(vfs)
        return really_repair(*place, vfs=vfs)

    monkeypatch.setattr(Store, "open", open_it)
    monkeypatch.setattr(Store, "repair", repair_it)
    return used


async def meet_damage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a synced client crash for a damaged store."""
    await run.until("synced")
    monkeypatch.setattr(run.client.store, "commit", broken)
    await run.client.pause()
    await run.until("failed")


def broken(_batch: object) -> None:
    """A commit that meets damage."""
    raise StoreCorrupt("headers 5..9 are damaged")


def spoil(file: Path) -> None:
    """Damage a header."""
    raw = file.read_bytes()
    at = raw.index(small_chain(120, 5).header(100))
    file.write_bytes(raw[:at] + bytes(80) + raw[at + 80 :])
