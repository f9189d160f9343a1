"""`phasegate bench`: what each part of a sync costs beside the least that it could cost on the same machine.

Each benchmark returns `Figure`s: a ratio, its bound, what was measured and the floor beside it. Those of whole clients
run them in a process of their own against a bulk node in another. Long chains are made once and kept in a cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import attrs

from phasegate.verification.bench import blocks, filters, headers, heavy, program, whole
from phasegate.verification.bench.figures import Figure
from phasegate.verification.bench.stage import ChildFailed, Stage
from phasegate.verification.bench.tuning import Setting, tuned

__all__ = ["BENCHMARKS", "ChildFailed", "Figure", "Setting", "Stage", "run", "settings"]

Benchmark = Callable[[Stage], Sequence[Figure]]

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        "headers-validate": headers.headers_validate,
        "headers-threads": headers.headers_threads,
        "headers": headers.headers,
        "headers-ranges": headers.headers_ranges,
        "headers2": headers.headers2,
        "filter-headers": filters.filter_headers,
        "filters": filters.filters,
        "match": filters.match,
        "rescan": filters.rescan,
        "blocks": blocks.blocks,
        "masternode-list": heavy.masternode_list,
        "chainlock": heavy.chainlock,
        "rotation": heavy.rotation,
        "reorg": whole.reorg,
        "cold-open": whole.cold_open,
        "charts": whole.charts,
        "start": program.start,
        "scaling": whole.scaling,
        "memory": whole.memory,
        "strategy": whole.strategy,
        "full": whole.full,
    }
)
"""Every benchmark, by name, in the order in which they run."""


def run(stage: Stage, names: Sequence[str]) -> Iterator[Figure]:
    """The figures of the named benchmarks, as they come; stores lie in a temporary folder until all is done.

    Raises:
        ChildFailed: a client that was to be measured failed.
        OSError: the cache or the temporary folder cannot be written.
    """
    with _scratch(stage) as inner:
        for name in names:
            stage.say(f"measuring {name}")
            yield from BENCHMARKS[name](inner)


def settings(stage: Stage) -> Iterator[Setting]:
    """What each choice of how much to ask for at once gives.

    Raises:
        ChildFailed, OSError: as `run`.
    """
    with _scratch(stage) as inner:
        yield from tuned(inner)


@contextmanager
def _scratch(stage: Stage) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="phasegate-bench-", dir=stage.scratch) as folder:
        yield attrs.evolve(stage, scratch=Path(folder))
