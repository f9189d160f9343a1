"""Whether the compiled loops say what their plain writings say, on a small sample, and whether they are kept compiled.

A miscompiled kernel (a broken LLVM, a cache copied from another machine) would judge wrongly without a sign of it. The
sample is a chain of a few dozen simnet headers, mined here, with one of them spoilt, some filters and a merkle tree.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from phasegate.cli.findings import Finding, fine, odd, wrong
from phasegate.consensus.codec import dsha, u32
from phasegate.consensus.difficulty import compact_to_target
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.filters import build_filter, chain_slowly, hashed_values, match_filters
from phasegate.consensus.headers import expected_bits, genesis_tip
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.params import SIMNET, SPACING
from phasegate.consensus.plain_headers import follow_plainly
from phasegate.consensus.x11 import x11_each

SAMPLE = 30
"""Headers, beyond the window of DarkGravityWave."""
FILTERS = 5
"""Filters."""
_REPAIR = "remove the compiled cache (*.nbi, *.nbc in __pycache__), or reinstall numba and llvmlite"
Check = Callable[[], bool]


def look_at_kernels() -> Iterator[Finding]:
    """The kernels, and the place where they are kept."""
    try:
        headers, hashes = _mined()
        disagreeing = [name for name, agrees in _checks(headers, hashes).items() if not agrees()]
    except (ImportError, OSError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        yield wrong("kernels", f"the compiled loops do not run: {type(error).__name__}: {error}", _REPAIR)
        return
    if disagreeing:
        yield wrong("kernels", f"compiled {', '.join(disagreeing)} differ from plain Python", _REPAIR)
    else:
        yield fine("kernels", "compiled loops agree with plain Python on a sample")
    yield look_at_cache()


def _checks(headers: bytes, hashes: bytes) -> dict[str, Check]:
    return {
        "X11": lambda: _x11_agrees(headers, hashes),
        "header rules": lambda: _rules_agree(headers, hashes),
        "filter headers": lambda: _chain_agrees(hashes),
        "filters": lambda: _filters_agree(hashes),
        "merkle roots": lambda: _roots_agree(headers),
    }


def _mined() -> tuple[bytes, bytes]:
    """Headers after the genesis block of simnet, and their hashes."""
    from phasegate.p2p.simnet.mining import mine_plainly

    tip, raw, hashes = genesis_tip(SIMNET), b"", b""
    for number in range(SAMPLE):
        when = tip.window[-1][0] + SPACING + number % 7
        bits = expected_bits(SIMNET, tip, when)
        prefix = u32(4) + tip.hash + bytes(32) + u32(when) + u32(bits)
        header, found = mine_plainly(prefix, compact_to_target(bits))
        tip = follow_plainly(SIMNET, tip, header, when, found).tip
        raw, hashes = raw + header, hashes + found
    return raw, hashes


def _x11_agrees(headers: bytes, hashes: bytes) -> bool:
    from phasegate.consensus.x11_kernel import hash_many

    return hash_many(headers) == x11_each(headers) == hashes


def _rules_agree(headers: bytes, hashes: bytes) -> bool:
    """Of a good chain, and of one in which a time is too early."""
    from phasegate.consensus.compiled_headers import follow_compiled

    tip, now = genesis_tip(SIMNET), int.from_bytes(headers[-12:-8], "little")
    spoilt = headers[:-12] + headers[68:72] + headers[-8:]
    good = follow_compiled(SIMNET, tip, headers, now, hashes) == follow_plainly(SIMNET, tip, headers, now, hashes)
    try:
        follow_compiled(SIMNET, tip, spoilt, now, hashes)
    except PeerMisbehaved as fault:
        return good and "time" in fault.detail
    return False


def _chain_agrees(hashes: bytes) -> bool:
    from phasegate.consensus.filter_chain_kernel import chain

    return chain(bytes(32), hashes) == chain_slowly(bytes(32), hashes)


def _filters_agree(hashes: bytes) -> bool:
    """Each filter holds its own elements; whether it holds a stranger, its numbers tell."""
    stranger = b"\x6b" + bytes(24)
    for at in range(0, 32 * FILTERS, 32):
        block = hashes[at : at + 32]
        elements = [bytes((i,)) * (20 + i % 9) for i in range(1, 41)]
        raw, numbers = build_filter(block, elements), set(hashed_values(block, elements, len(elements)))
        seems = hashed_values(block, [stranger], len(elements))[0] in numbers
        if match_filters(block, [raw], elements[:1]) != [0] or bool(match_filters(block, [raw], [stranger])) != seems:
            return False
    return True


def _roots_agree(headers: bytes) -> bool:
    import numpy as np

    from phasegate.consensus.merkle_kernel import root_of

    starts = np.arange(0, len(headers) + 1, 80, dtype=np.int32)
    leaves = [dsha(headers[at : at + 80]) for at in range(0, len(headers), 80)]
    return root_of(headers, starts) == merkle_root(leaves)


def cache_place() -> Path | None:
    """Where compiled code is kept, None if numba found no place for it."""
    from phasegate.consensus.x11_kernel import hash_all

    kept: str | None = hash_all.stats.cache_path  # type: ignore[attr-defined]  # what `jit` returns is a dispatcher
    return None if kept is None else Path(kept)


def look_at_cache() -> Finding:
    """Whether what was compiled once is there the next time."""
    remedy = "set NUMBA_CACHE_DIR to a directory that can be written, or each process compiles for some seconds anew"
    place = cache_place()
    if place is None:
        return odd("cache", "compiled loops are kept nowhere", remedy)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-"):
            return fine("cache", f"compiled loops are kept in {place}")
    except OSError as error:
        return odd("cache", f"{place} cannot be written ({os.strerror(error.errno or 0)})", remedy)
