"""Trio's scheduler, seeded: the one thing in a run on a virtual clock that chance would decide behind everybody's back.

Trio shuffles the tasks that can run, on purpose, and offers no public way to say how. A test of the whole simulation
would fail if these names went away: one seed would not give one run any more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio._core._run as core


@contextmanager
def one_schedule(seed: int) -> Iterator[None]:
    """Let the scheduler draw from a seed instead of true chance."""
    before = {name: getattr(core, name) for name in ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r")}
    _set({"_ALLOW_DETERMINISTIC_SCHEDULING": True, "_r": random.Random(seed)})
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(core, name, value)
