"""What a client takes of the machine's memory, and how a bound on the whole of it is kept.

A part is fixed: the interpreter, the libraries and the compiled code. A part grows with the chain, slowly: the index
from hash to height, 12 bytes a header. A part belongs to whoever is connected: of each peer one message may be
arriving, of at most 3 MiB. What is left is for what was downloaded and waits for its turn to be stored, and that is
where the bound is kept: `hold_bytes` says how much may wait, of all phases that run beside each other (`room`), and no
request asks for more than that can hold. What that leaves behind in the C library, and the compiler's code, are given
back while a download lasts (`resident`). All else that is kept, such as announced locks, remembered requests and
SQLite's pages (2 MB a connection), is bounded by count and small.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.primitives import MAX_BLOCK_SIZE
from phasegate.engine.errors import ConfigError
from phasegate.engine.limits import MIB, Limits

MEMORY_LIMIT = 256 * MIB
"""Bytes, if nothing else is said; `Limits` has by default what follows from it."""
PROGRAM = 160 * MIB
"""The fixed part, as measured with CPython 3.11, numba 0.68 and all kernels loaded; more than half is shared code."""
CHAIN = 31 * MIB
"""The index of 2.7 million headers."""
ARRIVING = 3 * MIB
"""The longest message, of each peer."""
LEAST_HELD = 4 * MIB
"""With less the downloads would go one by one."""
WINDOW = 8, 128
"""Batches that may wait, at least and at most."""


def within(limits: Limits, memory: int) -> Limits:
    """`limits`, with what has to follow from a bound of `memory` bytes on the whole process.

    Raises:
        ConfigError: so little is not enough; the text names the least.
    """
    taken = PROGRAM + CHAIN + ARRIVING * (limits.max_peers + limits.filter_peers)
    if memory < taken + LEAST_HELD:
        least = f"{_mb(taken + LEAST_HELD)} MB with {limits.max_peers} peers"
        raise ConfigError(f"memory-limit {_mb(memory)} MB is not enough: the least is {least}")
    held, usual = memory - taken, Limits()
    window = min(max(usual.window * held // usual.hold_bytes, WINDOW[0]), WINDOW[1])
    blocks = max(1, min(limits.batch["blocks"], held // MAX_BLOCK_SIZE))
    return attrs.evolve(limits, hold_bytes=held, window=window, batch={**limits.batch, "blocks": blocks})


def _mb(size: int) -> int:
    return -(-size // MIB)
