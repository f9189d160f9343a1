"""A disk below SQLite that fails on demand: the simulated disk, armed as these tests need it.

A pytest plugin, loaded by `tests/conftest.py`: its fixtures are everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw
import pytest

from phasegate.verification.disk import Fault, SimulatedDisk

if TYPE_CHECKING:
    from tests.simulated_world import World

FOR_EVER = 1 << 60


class Disk:
    """Counts what is done to the files, and fails at the chosen operation: once, or from then on with a torn write."""

    def __init__(self, simulated: SimulatedDisk) -> None:
        self._simulated = simulated
        self._before = 0
        self._struck = 0

    @property
    def vfs(self) -> str:
        """The name that a store is opened with."""
        return self._simulated.vfs

    @property
    def count(self) -> int:
        """Operations since it was armed."""
        return self._simulated.operations - self._before

    @property
    def failed(self) -> int:
        """Those of them that failed."""
        return sum(self._simulated.injected.values()) - self._struck

    def arm(self, fail_at: int, *, dead: bool = False, error: type[apsw.Error] = apsw.FullError) -> None:
        """`error`: how a write fails, by ENOSPC or, as everything else, by EIO."""
        self.disarm()
        fault = Fault.FULL if error is apsw.FullError else Fault.IO_ERROR
        if dead and fault is Fault.FULL:
            self._simulated.arm(Fault.SHORT_WRITE, fail_at)
        self._simulated.arm(fault, fail_at, lasting=FOR_EVER if dead else 1)

    def disarm(self) -> None:
        self._simulated.disarm()
        self._before, self._struck = self._simulated.operations, sum(self._simulated.injected.values())


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    """A disk for databases opened with its vfs."""
    with SimulatedDisk(random.Random(1)) as simulated:
        yield Disk(simulated)
        simulated.disarm()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that fails on demand, for stores opened with its vfs."""
    with faulty_disk() as plan:
        yield plan


@pytest.fixture
def faulty(world: World) -> Iterator[Disk]:
    """A disk that fails on demand, under the store of every client of this world."""
    with faulty_disk() as plan:
        world.vfs = plan.vfs
        yield plan
