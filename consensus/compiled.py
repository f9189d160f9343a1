"""What is compiled, and when that is worth its price.

Loops over headers and filters are compiled by numba, run without the GIL, and are cached on disk after their first
compilation. Importing numba takes about a second, which `import phasegate` and short runs must not pay: the modules
that are compiled are imported on first use, and all stays in plain Python until so much was done that loading would
have paid, or somebody else has loaded numba.
Beside each compiled loop stands its writing in plain Python, and a property test that both agree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ENOUGH = 20_000
"""Items, all together, that are done in plain Python before numba is loaded: that takes about as long as loading."""
FEW = 8
"""Items below which a batch is not worth the call, even if numba is loaded."""
_done = 0


def worth_compiling(count: int) -> bool:
    """Whether a batch of `count` items is for the compiled loops; it is counted, for one day loading numba pays."""
    global _done
    if "numba" in sys.modules:
        return count >= FEW
    _done += count
    return _done >= ENOUGH


def expect(count: int) -> None:
    """So many items are to come: if they are enough, the first of them is done by the compiled loops already."""
    global _done
    if count >= ENOUGH:
        _done = max(_done, ENOUGH)


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
