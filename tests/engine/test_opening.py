"""A damaged store is found out, repaired by going back, and brought up again: never believed, never a dead end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.engine import opening
from phasegate.engine.client import ClientFailed
from phasegate.store import StoreCorrupt
from phasegate.store.segments import FILTERS
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World


def damage(directory: Path, statement: str) -> None:
    """Change a closed store behind its back."""
    connection = apsw.Connection(str(directory / "simnet.sqlite"))
    connection.execute(statement)
    assert connection.total_changes() > 0
    connection.close()


WRONG_CRC = f"UPDATE tail SET crc = crc + 1 WHERE height = 150 AND series = {FILTERS.number}"  # noqa: S608 - a number of ours


@pytest.mark.trio
async def test_damaged_filters_are_repaired_at_opening_and_downloaded_again(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A flipped bit in what is stored: named in a warning, rolled back below, and the digest is right again."""
    chain = small_chain()
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
        digest = run.client.store.digest()
    damage(world.directory, WRONG_CRC)
    async with running(config) as run:
        await run.until("synced")
        assert "store-repaired" in run.warnings
        assert run.client.store.digest() == digest


@pytest.mark.trio
async def test_damage_that_a_large_store_meets_while_running_is_repaired_for_the_next_start(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not read through at opening, so found when it is read: the run fails and says so, the next one completes."""
    monkeypatch.setattr(opening, "READ_THROUGH", 0)
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
    damage(world.directory, WRONG_CRC)
    config = world.config(1, watch=chain.watch)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(config) as run:
            await run.until("failed")
    assert caught.group_contains(ClientFailed, match="rolled back from 300 to .*, start again")
    async with running(config) as run:
        await run.until("synced")
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]


def test_damage_beyond_repair_names_the_file_and_what_to_do(tmp_path: Path) -> None:
    """A broken file structure cannot be rolled back: the user is told to move it away."""
    store, told = opening.open_store(tmp_path, SIMNET)
    store.close()
    assert told == ""
    file = tmp_path / "simnet.sqlite"
    raw = bytearray(file.read_bytes())
    raw[4096:8192] = bytes(4096)
    file.write_bytes(raw)
    with pytest.raises(StoreCorrupt, match=r"simnet\.sqlite: .*move the file away and sync again"):
        opening.open_store(tmp_path, SIMNET)
