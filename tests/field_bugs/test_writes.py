"""Writes that fail in the middle of a sync: scenario 21 of the list of field bugs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import pytest
from trio.testing import MockClock

from phasegate.engine.phases import block_records
from phasegate.store import AppendJournal, Change, Store, Watermarks
from tests.faulty_disk import Disk
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed, same_as_fresh
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


@attrs.define
class Nth:
    """Makes the disk fail within the `at`-th commit of data, and looks whether marks and data agree after it."""

    disk: Disk
    commit: Callable[[Store, Sequence[Change]], Watermarks]
    at: int
    count: int = 0
    looked: bool = False

    def __call__(self, store: Store, batch: Sequence[Change]) -> Watermarks:
        self.count += not all(isinstance(change, AppendJournal) for change in batch)
        if self.looked or self.count != self.at:
            return self.commit(store, batch)
        before = store.marks
        self.disk.arm(1)
        try:
            return self.commit(store, batch)
        finally:
            self.looked = self.disk.failed > 0
            self.disk.disarm()
            assert store.marks == store.read_marks() == before
            assert store.check() == ()


@pytest.mark.parametrize("at", range(1, 27))
async def test_21_a_failed_write_leaves_no_mark_ahead_and_its_batch_comes_again(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    faulty: Disk,
    at: int,
) -> None:
    """Each commit of a sync in turn: what it had taken out of the queue is fetched and stored again."""
    monkeypatch.setattr(block_records, "ENOUGH", 1)  # so that blocks take several
    chain = small_chain(120, 5)
    for port in (1, 2):
        world.add(chain, port, locks=False)
    nth = Nth(faulty, Store.commit, at)
    limits = {"batch": {"cfheaders": 2000, "filters": 10, "blocks": 5}}
    async with running(world.config(1, 2, watch=chain.watch, limits=limits)) as run:
        monkeypatch.setattr(Store, "commit", lambda store, batch: nth(store, batch))
        await run.until("synced", within=30)
        assert nth.looked or 20 <= nth.count < at
        nth.looked = True
        is_complete(run, chain)
        nobody_is_blamed(run)
        await same_as_fresh(world, running, run)
