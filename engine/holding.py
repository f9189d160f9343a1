"""What a download holds in memory: results that wait for their turn, the one being applied, and those under way.

What is under way is counted as large as the largest of the recent results, because an average is exceeded half of the
time. Before there is any, nothing is known but what the caller expects; if that is nothing either, two are let in: they
cannot exceed the limit and one result together. Whenever enough has been applied, what that left behind is given back
to the system.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from phasegate.engine.resident import give_back

R = TypeVar("R")

RECENT = 16
"""Results from which it is told how large the next ones will be."""
ENOUGH = 16 << 20
"""Bytes that have been applied when it is worth while to give memory back."""


class Holding(Generic[R]):
    """Keeps account of bytes.

    Args:
        limit: bytes; `room` tells what others take of them.
        size: the bytes that a result takes; None when nothing is to be counted.
        expected: the bytes that each of the first results may take; 0 when nobody knows.
    """

    def __init__(self, limit: int, size: Callable[[R], int] | None, expected: int = 0) -> None:
        self._limit = limit
        self._size = size
        self._expected = expected or limit // 2
        self._waiting: dict[int, int] = {}
        self._applying = 0
        self._applied = 0
        self._recent: deque[int] = deque(maxlen=RECENT)

    @property
    def held(self) -> int:
        """Bytes of the results that wait or are being applied."""
        return sum(self._waiting.values()) + self._applying

    def put(self, index: int, result: R) -> None:
        """The result of the job at `index` waits."""
        if self._size is not None:
            self._waiting[index] = self._size(result)
            self._recent.append(self._waiting[index])

    def take(self, index: int) -> None:
        """It is applied from now on."""
        self._applying = self._waiting.pop(index, 0)

    def applied(self) -> None:
        """What was being applied is no longer there."""
        self._applied += self._applying
        self._applying = 0
        if self._applied >= ENOUGH:
            self._applied = 0
            give_back()

    def takes(self, under_way: int) -> int:
        """Bytes held, and those that `under_way` fetches may bring."""
        if self._size is None:
            return 0
        return self.held + under_way * max(self._recent, default=self._expected)

    def has_room(self, under_way: int, beside: int = 0) -> bool:
        """Whether there is room for one more fetch beside the `under_way` ones and what others take."""
        return self._size is None or self.takes(under_way + 1) + beside <= self._limit
