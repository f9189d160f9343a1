"""Compiling a loop with numba: without the GIL, and cached on disk after the first time.

numba takes about a second to import, so whoever needs a kernel imports this, and the kernel itself, on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """`function`, compiled when it is first called; it runs without the GIL."""
    cached: Any = numba.njit(nogil=True, cache=True)
    fresh: Any = numba.njit(nogil=True)
    try:
        compiled: F = cached(function)
    except RuntimeError:  # neither the package's folder nor the user's home can be written: compile once a process
        compiled = fresh(function)
    return compiled
