"""Compiling for speed: the one way in which numba is used. It takes about a second to import, so load this late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """`function`, compiled to run without the GIL, and cached on disk after its first compilation."""
    cached: Any = numba.njit(nogil=True, cache=True)
    fresh: Any = numba.njit(nogil=True)
    try:
        compiled: F = cached(function)
    except RuntimeError:  # neither the package's folder nor the user's home can be written: compile once a process
        compiled = fresh(function)
    return compiled
