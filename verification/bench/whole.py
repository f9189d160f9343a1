"""Benchmarks of whole syncs: their cost beside their floors, how it grows, their memory, and opening."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from phasegate.engine.config import Config
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.verification.bench.figures import Figure, at_most, timed
from phasegate.verification.bench.measured import Result
from phasegate.verification.bench.peer import asks_blocks, asks_filter_headers, asks_filters, asks_headers, drained
from phasegate.verification.bench.sampled import Sampled
from phasegate.verification.bench.stage import LIKE_CORE, ChildFailed, Stage

MIB = 1 << 20
MEMORY_BOUND, FLAT = 300, 1.25
"""MiB, and how much more memory a chain ten times as long may take."""
REORG_DEPTH = 100
SHARE = 50
"""A core hashes so much less than the client did, to tell its floor: long enough to see the same machine."""
_OPEN = """
import json, sys, time, pathlib
from phasegate.engine.config import Config
from phasegate.p2p.simnet.bulk_plan import bulk_network
from phasegate.store import Store
network, start = bulk_network(), time.perf_counter()
store = Store.open(pathlib.Path(sys.argv[1]), network)
print(json.dumps({"seconds": time.perf_counter() - start, "tip": store.marks.tip}))
"""


def full(stage: Stage) -> Sequence[Figure]:
    """A whole sync: X11 on all cores and draining the same peer are its floors."""
    plan = stage.sizes.large
    result, _, _ = stage.synced(plan)
    alone = plan.headers * stage.x11_seconds()
    hashing = plan.headers * stage.x11_seconds(stage.cores, plan.headers // SHARE) / stage.cores
    chain = stage.chain(plan)
    asked = [*asks_headers(chain), *asks_filter_headers(chain), *asks_filters(chain), *asks_blocks(chain)]
    with stage.peers(plan) as peers:
        draining = drained(peers[0], chain, asked)
    parts = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in result.phases.items())
    floor = f"X11 on {stage.cores} cores {hashing:.1f} s + draining {draining:.1f} s"
    ratio = result.seconds / (hashing + draining)
    told = f"{_size(plan)}: {result.seconds:.1f} s ({parts})"
    spent = f"{result.cpu:.1f} s of processor, filters and blocks included"
    return [
        at_most("full", ratio, stage.bound(2.5), told, floor, guarded=False),
        at_most("full-processor", result.cpu / alone, None, spent, f"X11 alone: {alone:.1f} s"),
    ]


def _size(plan: BulkPlan) -> str:
    return f"{plan.headers:,} headers, {plan.filters:,} filters, {plan.matched:,} blocks"


def memory(stage: Stage) -> Sequence[Figure]:
    """The most memory that a client of a whole sync took."""
    plan = stage.sizes.large
    result, _, _ = stage.synced(plan)
    peak, before = result.peak / MIB, result.at_start / MIB
    told, floor = f"{_size(plan)}: {peak:.0f} MiB", f"a bound in MiB; before the client there were {before:.0f}"
    return [at_most("memory", peak, MEMORY_BOUND, told, floor, guarded=False)]


def scaling(stage: Stage) -> Sequence[Figure]:
    """From a chain to one ten times as long in everything: the exponent of the processor time, and the memory.

    Processor time is counted in what X11 takes at the same time, since it is not the same in each minute.
    """
    plans = stage.sizes.middle, stage.sizes.large
    (small, unit), (large, later) = [_in_units(stage, plan) for plan in plans]
    grown = math.log(plans[1].headers / plans[0].headers)
    exponent = math.log(large.cpu / later / (small.cpu / unit)) / grown
    told = ", ".join(
        f"{plan.headers:,} headers {result.cpu:.1f} s of processor while X11 takes {each * 1e6:.1f} µs"
        for plan, result, each in zip(plans, (small, large), (unit, later), strict=True)
    )
    sizes = f"{small.peak / MIB:.0f} MiB, then {large.peak / MIB:.0f} MiB"
    return [
        at_most("scaling", exponent, stage.bound(1.05), told, "exponent 1: linear", guarded=not stage.quick),
        at_most(
            "scaling-memory",
            large.peak / small.peak,
            stage.bound(FLAT),
            sizes,
            "ratio 1: flat",
            guarded=not stage.quick,
        ),
    ]


def _in_units(stage: Stage, plan: BulkPlan) -> tuple[Result, float]:
    """A whole sync, and what X11 took on average while it ran."""
    with stage.peers(plan) as peers:
        sampled = Sampled(stage, peers[0])
        result = stage.watched_client(plan, peers, sampled.watch, filters=True)
    return result, sampled.each


def charts(stage: Stage) -> Sequence[Figure]:
    """What of a whole sync was spent in the interpreter of charts, guards and facts included."""
    result, _, _ = stage.synced(stage.sizes.large)
    total = min(result.seconds, result.cpu)
    told, floor = f"{result.charts * 1e3:.1f} ms in charts", f"the whole sync: {total:.1f} s"
    return [at_most("charts", result.charts / total, stage.bound(0.01), told, floor, guarded=not stage.quick)]


def strategy(stage: Stage) -> Sequence[Figure]:
    """A whole sync with one peer like Core: one phase after the other, and those after headers side by side."""
    if "strategy" not in attrs.fields_dict(Config):
        return []
    plan, taken = stage.sizes.large if stage.quick else stage.sizes.middle, dict[str, float]()
    with stage.peers(plan, LIKE_CORE) as peers:
        for name in ("sequential", "interleaved"):
            taken[name] = stage.client(plan, peers, filters=True, config={"strategy": name}).seconds
    told, floor = (f"{name}: {seconds:.2f} s" for name, seconds in taken.items())
    return [at_most("strategy", taken["sequential"] / taken["interleaved"], None, told, floor, guarded=False)]


def cold_open(stage: Stage) -> Sequence[Figure]:
    """A store opened in a process of its own; at least its hashes have to be read and sorted."""
    plan = stage.sizes.large
    _, stored, _ = stage.synced(plan)
    seconds = min(_opened(stored, plan) for _ in range(max(2, stage.rounds // 2)))
    keys = np.frombuffer(stage.chain(plan).hashes(0, plan.headers + 1), "<u8").reshape(-1, 4)[:, 0]
    floor = min(timed(lambda: np.sort(keys)) for _ in range(3))
    told = f"{plan.headers:,} headers: {seconds:.3f} s"
    return [
        at_most("cold-open", seconds / floor, None, told, f"sorting the hashes {floor:.3f} s", guarded=False),
        at_most("cold-open-seconds", seconds, 1.0, told, "a bound in seconds", guarded=False),
    ]


def _opened(stored: Path, plan: BulkPlan) -> float:
    words = [sys.executable, "-c", _OPEN, str(stored)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    told = json.loads(done.stdout or "{}")
    if told.get("tip") != plan.headers:
        raise ChildFailed(f"a store could not be opened: {done.stderr.strip().rpartition(chr(10))[2]}")
    return float(told["seconds"])


def reorg(stage: Stage) -> Sequence[Figure]:
    """A synced client meets a peer whose chain forked off a hundred blocks ago; and one that is on its own chain."""
    plan = stage.sizes.middle
    forked = attrs.evolve(plan, headers=plan.headers + 1, filters=plan.filters + 1, fork=REORG_DEPTH)
    forked = _same_birthday(forked, plan)
    _, stored, _ = stage.synced(plan)
    again = _resumed(stage, plan, stored)
    moved = _resumed(stage, forked, stored)
    if moved.tip != forked.headers:
        raise ChildFailed(f"a client did not follow the heavier chain to {forked.headers}, it is at {moved.tip}")
    told = f"{REORG_DEPTH - 1} blocks back, {REORG_DEPTH} on: {moved.seconds * 1e3:.0f} ms"
    floor = f"opening and asking without a fork: {again.seconds * 1e3:.0f} ms"
    return [at_most("reorg", moved.seconds / again.seconds, None, told, floor, guarded=False)]


def _same_birthday(forked: BulkPlan, plan: BulkPlan) -> BulkPlan:
    """The matched blocks of both chains have to be the same as far as the chains are."""
    if forked.birthday != plan.birthday:
        raise ValueError("a fork needs the filters of the chain it left")
    return forked


def _resumed(stage: Stage, plan: BulkPlan, stored: Path) -> Result:
    with stage.peers(plan) as peers:
        return stage.client(plan, peers, datadir=str(stage.copy_of(stored)), filters=True)
