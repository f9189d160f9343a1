"""`phasegate bench`: what the heavy checks cost, in units that do not depend on the machine.

Everything is measured side by side in one run, on data made from a seed: a ChainLock and a rotation cycle as multiples
of one bare BLS verification, a whole mainnet list as multiples of hashing its entries once. What counts is processor
time, so that a busy machine does no harm, with the garbage collector off, as timeit has it. A multiple is the median
of those of the rounds.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from phasegate.cli import options

if TYPE_CHECKING:
    from phasegate.cli.bench_data import BenchData

Task = Callable[[], object]

VERIFICATION, HASHING = "one bare BLS verification", "one hash an entry"
CHAINLOCK, CYCLE, LIST = "ChainLock", "rotation cycle", "masternode list"
NEW_CYCLE = "cycle, all keys new"
BOUNDS: Mapping[str, tuple[str, float | None]] = {
    CHAINLOCK: (VERIFICATION, 3),
    CYCLE: (VERIFICATION, 150),
    NEW_CYCLE: (VERIFICATION, None),
    LIST: (HASHING, 8),
}
"""The unit of each check, and how many it may cost; None where it is told for information."""
REPEATED: Mapping[str, int] = {VERIFICATION: 20, CHAINLOCK: 20, HASHING: 10, LIST: 5}
"""Short ones are timed several together."""


@attrs.frozen
class Cost:
    """What one check took, in `seconds` and in multiples of its unit."""

    check: str
    size: str
    seconds: float
    unit: str
    multiple: float
    bound: float | None

    @property
    def kept(self) -> bool:
        """Whether it stays within its bound."""
        return self.bound is None or self.multiple <= self.bound


def bench(
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="How often each check is measured.")] = 7,
    as_json: options.AsJson = False,
) -> None:
    """Measure the heavy checks. In multiples of one bare BLS verification; ends with 1 if a bound is broken."""
    from phasegate.cli.bench_data import BenchData

    costs = measure(BenchData.make(), rounds)
    (_say_json if as_json else _say)(costs)
    raise typer.Exit(0 if all(cost.kept for cost in costs) else 1)


def measure(data: BenchData, rounds: int) -> list[Cost]:
    """The cost of each check; units and checks are taken in turns."""
    from phasegate.consensus.bls import forget_keys

    def with_new_keys() -> None:
        forget_keys()
        data.check_cycle()

    units: dict[str, Task] = {VERIFICATION: data.verify_bare, HASHING: data.hash_list}
    checks: dict[str, Task] = {
        CHAINLOCK: data.verify_chainlock,
        NEW_CYCLE: with_new_keys,
        CYCLE: data.check_cycle,
        LIST: data.check_list,
    }
    times: dict[str, list[float]] = {name: [] for name in (*units, *checks)}
    with _no_garbage_collection():
        for _ in range(rounds):
            for name, task in (units | checks).items():
                times[name].append(_timed(task, REPEATED.get(name, 1)))
    return [_cost(name, data.sizes.get(name, ""), times) for name in BOUNDS]


def _cost(check: str, size: str, times: Mapping[str, list[float]]) -> Cost:
    unit, bound = BOUNDS[check]
    multiples = [taken / one for taken, one in zip(times[check], times[unit], strict=True)]
    return Cost(check, size, statistics.median(times[check]), unit, statistics.median(multiples), bound)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _timed(task: Task, times: int = 1) -> float:
    start = time.thread_time()
    for _ in range(times):
        task()
    return (time.thread_time() - start) / times


def _say(costs: list[Cost]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("check")
    for heading in ("ms", "multiple", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("of")
    for cost in costs:
        bound = "-" if cost.bound is None else f"{cost.bound:g}" + ("" if cost.kept else " BROKEN")
        table.add_row(cost.check, f"{cost.seconds * 1000:.2f}", f"{cost.multiple:.2f}", bound, cost.unit)
    Console(highlight=False).print(table)
    for cost in costs:
        if cost.size:
            typer.echo(f"{cost.check}: {cost.size}")


def _say_json(costs: list[Cost]) -> None:
    from phasegate.cli.output import write_line

    for cost in costs:
        write_line("cost", None, {**attrs.asdict(cost), "kept": cost.kept})
    write_line("summary", None, {"kept": all(cost.kept for cost in costs)})
