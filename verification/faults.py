"""What a disk, or the machine around it, can do to an operation, and when it is to do so."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import attrs


class Fault(StrEnum):
    """What strikes an operation.

    The first four refuse it. A sync or a truncation that meets `SHORT_WRITE` or `FULL` ends in an I/O error, and
    `FAILED_SYNC` lets pass whatever is no sync. The last two end the process in the middle of it.
    """

    SHORT_WRITE = "short-write"
    FULL = "disk-full"
    IO_ERROR = "io-error"
    FAILED_SYNC = "failed-sync"
    KILL = "kill"
    POWER_CUT = "power-cut"


DEADLY = (Fault.KILL, Fault.POWER_CUT)


@attrs.define
class _Plan:
    """A fault that strikes the operations from number `at` on, as often as is `left`."""

    fault: Fault
    at: int
    left: int


class Schedule:
    """Counts operations and tells what strikes them; `injected` counts what did."""

    def __init__(self) -> None:
        self.operations = 0
        self.injected: Counter[Fault] = Counter()
        self._plans: list[_Plan] = []

    def arm(self, fault: Fault, after: int, lasting: int) -> None:
        """Have `fault` strike `lasting` operations in a row, from the `after`-th from now on."""
        self._plans.append(_Plan(fault, self.operations + after, lasting))

    def disarm(self) -> None:
        """Let nothing happen that was armed."""
        self._plans.clear()

    def next(self, *, syncing: bool) -> Fault | None:
        """Count an operation, and tell what strikes it; where two faults meet, the one armed first."""
        self.operations += 1
        for plan in self._plans:
            if self.operations >= plan.at and (syncing or plan.fault is not Fault.FAILED_SYNC):
                return self._strike(plan)
        return None

    def _strike(self, plan: _Plan) -> Fault:
        plan.left -= 1
        if plan.left <= 0:
            self._plans.remove(plan)
        if plan.fault not in DEADLY:  # those are counted when something dies of them
            self.injected[plan.fault] += 1
        return plan.fault
