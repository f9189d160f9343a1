"""What is compiled, and when that is worth its price.

Loops over headers and filters are compiled by numba, run without the GIL, and are cached on disk after their first
compilation. Importing numba takes about a second, which `import phasegate` and short runs must not pay: the modules
that are compiled are imported on first use, and small batches stay in plain Python until somebody has loaded numba.
Beside each compiled loop stands its writing in plain Python, and a property test that both agree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

MANY = 500
"""Items from which on a batch is a reason to load numba."""
FEW = 8
"""Items below which a batch is not worth the call, even if numba is loaded."""


def worth_compiling(count: int) -> bool:
    """Whether a batch of `count` items is for the compiled loops."""
    return count >= MANY or (count >= FEW and "numba" in sys.modules)


def jit(function: F) -> F:
    """`function` compiled, without the GIL; cached on disk if there is a place for it."""
    import numba

    cached: Any = numba.njit(nogil=True, cache=True)
    fresh: Any = numba.njit(nogil=True)
    try:
        compiled: F = cached(function)
    except RuntimeError:  # neither the package's folder nor the user's home can be written: compile once a process
        compiled = fresh(function)
    return compiled
