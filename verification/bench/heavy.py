"""The heavy checks of masternode data: a ChainLock and a rotation cycle in BLS verifications, a list in hashes.

Units and checks are taken in turns, with the garbage collector off, as timeit has it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from phasegate.consensus.bls import forget_keys
from phasegate.verification.bench.figures import Figure, alternately, at_most
from phasegate.verification.bench.heavy_data import BenchData
from phasegate.verification.bench.stage import Stage

VERIFICATIONS, HASHINGS = 20, 10
"""Short ones are timed several together."""
CHAINLOCK, CYCLE, LIST = 3.0, 150.0, 8.0
"""How many of its unit each check may cost."""


@lru_cache(maxsize=1)
def data() -> BenchData:
    """A mainnet's worth of masternodes and quorums; about a second to make."""
    return BenchData.make()


def chainlock(stage: Stage) -> Sequence[Figure]:
    """A ChainLock, its quorum chosen among all active ones."""
    checks = data()
    bare, lock = _measured(
        stage, _times(checks.verify_bare, VERIFICATIONS), _times(checks.verify_chainlock, VERIFICATIONS)
    )
    told = f"{lock / VERIFICATIONS * 1e3:.2f} ms a ChainLock"
    return [at_most("chainlock", lock / bare, CHAINLOCK, told, _bare(bare))]


def rotation(stage: Stage) -> Sequence[Figure]:
    """A whole cycle: members dealt, both signatures of each quorum; then with keys that were never seen."""
    checks = data()

    def with_new_keys() -> None:
        forget_keys()
        checks.check_cycle()

    bare, new, cycle = _measured(stage, _times(checks.verify_bare, VERIFICATIONS), with_new_keys, checks.check_cycle)
    one = bare / VERIFICATIONS
    told = f"{cycle * 1e3:.1f} ms a cycle, {checks.sizes['rotation cycle']}"
    return [
        at_most("rotation", cycle / one, CYCLE, told, _bare(bare)),
        at_most("rotation-new-keys", new / one, None, f"{new * 1e3:.1f} ms a cycle, all keys new", _bare(bare)),
    ]


def masternode_list(stage: Stage) -> Sequence[Figure]:
    """A whole list from its bytes to its proven state, against hashing its entries once."""
    checks = data()
    hashed, proven = _measured(stage, _times(checks.hash_list, HASHINGS), checks.check_list)
    one = hashed / HASHINGS
    told = f"{proven * 1e3:.1f} ms, {checks.sizes['masternode list']}"
    return [at_most("masternode-list", proven / one, LIST, told, f"one hash an entry: {one * 1e3:.2f} ms")]


def _bare(seconds: float) -> str:
    return f"one bare BLS verification: {seconds / VERIFICATIONS * 1e3:.2f} ms"


def _times(task: Callable[[], object], count: int) -> Callable[[], object]:
    return lambda: [task() for _ in range(count)]


def _measured(stage: Stage, *tasks: Callable[[], object]) -> list[float]:
    for task in tasks:
        task()
    with _no_garbage_collection():
        return alternately(stage.rounds, *tasks)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
