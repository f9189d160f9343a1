"""Where benchmarks play: sizes, chains, peers, clients, and what several of them need measured only once."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs

from phasegate.consensus.compiled import ENOUGH
from phasegate.consensus.x11 import HEADER_SIZE, x11_many
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_files import made
from phasegate.p2p.simnet.bulk_node import AT_ONCE, Slowness
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.verification.bench.figures import timed
from phasegate.verification.bench.measured import Result
from phasegate.verification.bench.peer import Peer, peer

CORE_FILTERS, CORE_BLOCKS, CORE_DELAY = 100_000.0, 3_900.0, 0.2
"""Filters and blocks a second, and seconds an answer, of a Dash Core 23.1 node at its best, as measured."""
LIKE_CORE = Slowness(loop=0.15, filters=CORE_FILTERS, blocks=CORE_BLOCKS)
"""Such a node."""
Watch = Callable[["subprocess.Popen[str]", "Future[tuple[str, str]]"], None]
WARM_UP = BulkPlan(ENOUGH + 5_000, filters=1_200, matched=20, elements=20)
"""A chain that is long enough for nearly every compiled loop to be used, and compiled."""
_LOAD = """
from phasegate.engine.phases.filter_arrivals import load_arrivals
from phasegate.p2p.block_runs import load_block_runs
load_arrivals(), load_block_runs()
"""
"""Loads the others, which only long chains use."""
HASHED, IN_A_PIECE = 4000, 200
"""Headers that tell what an X11 takes, and those hashed in one go, so that no core waits for a slower one for long."""


@attrs.frozen
class Sizes:
    """The chains that are used.

    Args:
        large: the longest one, as long as mainnet's.
        middle: a tenth of it in everything.
        filters: one that is short for the filters that it has.
        blocks: a short one with many matched blocks.
    """

    large: BulkPlan
    middle: BulkPlan
    filters: BulkPlan
    blocks: BulkPlan


FULL = Sizes(
    BulkPlan(2_500_000, filters=400_000, matched=500, known_every=12_000),
    BulkPlan(250_000, filters=40_000, matched=50, known_every=12_000),
    BulkPlan(420_000, filters=400_000, matched=100, known_every=12_000),
    BulkPlan(22_000, filters=20_000, matched=10_000, elements=20),
)
QUICK = Sizes(
    BulkPlan(60_000, filters=20_000, matched=50, known_every=4_000),
    BulkPlan(6_000, filters=2_000, matched=5, known_every=400),
    BulkPlan(60_000, filters=20_000, matched=50, known_every=4_000),
    BulkPlan(3_000, filters=2_500, matched=1_200, elements=20),
)


@attrs.define
class Stage:
    """What the benchmarks of one run share.

    Args:
        cache: where chains are kept.
        scratch: a folder for stores, emptied by whoever made it; None: a temporary one.
        quick: whether the chains are short; bounds that need long ones do not hold then.
        rounds: how often what is short is measured.
        profile: whether clients tell where their time goes.
        warm: whether what clients compile on their first use is there; else the first one is run once in vain.
        say: is told what takes its time.
    """

    cache: Path
    scratch: Path | None = None
    quick: bool = False
    rounds: int = 5
    profile: bool = False
    warm: bool = False
    say: Callable[[str], None] = lambda _: None
    sizes: Sizes = attrs.field(init=False)
    cores: int = attrs.field(init=False)
    _synced: dict[BulkPlan, tuple[Result, Path, float]] = attrs.field(factory=dict, init=False)
    _stores: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.sizes = QUICK if self.quick else FULL
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def bound(self, figure: float) -> float | None:
        """A bound that holds on long chains only."""
        return None if self.quick else figure

    def chain(self, plan: BulkPlan) -> BulkChain:
        """The chain of `plan`, made if need be."""
        return BulkChain.open(plan, made(plan, self.cache, self.say))

    def x11_seconds(self, cores: int = 1, headers: int = HASHED) -> float:
        """The processor time of one X11 at this moment: the floor of everything about headers.

        Args:
            cores: how many hash at once. What one of them does then may be less than what it does alone: two cores
                of a machine are often two threads of one.
            headers: how many each of them hashes, at least; five times as many as that for the median.
        """
        raw = self.chain(self.sizes.middle).headers(1, IN_A_PIECE)
        pieces = -(-headers // IN_A_PIECE) * cores
        with ThreadPoolExecutor(cores) as threads:

            def hash_all() -> None:
                list(threads.map(x11_many, [raw] * pieces))

            hash_all()
            taken = statistics.median([timed(hash_all, time.process_time) for _ in range(5)])
        return taken * HEADER_SIZE / (len(raw) * pieces)

    @contextmanager
    def peers(self, plan: BulkPlan, slowness: Slowness = AT_ONCE, count: int = 1) -> Iterator[list[Peer]]:
        """So many nodes with the chain of `plan`, each in a process of its own."""
        self.chain(plan)
        with ExitStack() as started:
            yield [started.enter_context(peer(plan, self.cache, slowness)) for _ in range(count)]

    def new_store(self) -> Path:
        """A folder for a store."""
        self._stores += 1
        return (self.scratch or self.cache) / f"store-{self._stores}"

    def copy_of(self, store: Path) -> Path:
        """A store that may be changed."""
        copied = self.new_store()
        shutil.copytree(store, copied)
        return copied

    def client(self, plan: BulkPlan, peers: Sequence[Peer], **task: Any) -> Result:
        """Run a client in a process of its own; see `measured.Task`.

        Raises:
            ChildFailed: it did not come to the end of its task.
        """
        return self.watched_client(plan, peers, lambda _client, _result: None, **task)

    def watched_client(self, plan: BulkPlan, peers: Sequence[Peer], watch: Watch, **task: Any) -> Result:
        """As `client`; `watch` is called meanwhile with the process and with what tells when it is done."""
        if not self.warm:
            self.warm = True
            subprocess.run([sys.executable, "-c", _LOAD], check=True)  # noqa: S603 - ourselves
            with self.peers(WARM_UP) as others:
                self.client(WARM_UP, others, filters=True, profile=False)
        fields = {"datadir": str(self.new_store()), "profile": self.profile, **task}
        fields |= {"plan": attrs.asdict(plan), "cache": str(self.cache), "ports": [peer.port for peer in peers]}
        words = [sys.executable, "-m", "phasegate.verification.bench.measured"]
        pipe = subprocess.PIPE
        started = subprocess.Popen(words, text=True, stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603 - ourselves
        with started as client, ThreadPoolExecutor(1) as reader:
            told = reader.submit(client.communicate, json.dumps(fields))
            watch(client, told)
            out, errors = told.result()
        if client.returncode:
            raise ChildFailed(errors.strip().rpartition("\n")[2] or f"a client ended with {client.returncode}")
        result = Result(**json.loads(out.splitlines()[-1]))
        if result.profile:
            self.say(result.profile)
        return result

    def synced(self, plan: BulkPlan) -> tuple[Result, Path, float]:
        """A whole sync with filters and blocks: what it took, its store, and the processor time of the peer.

        Raises:
            ChildFailed: it did not end, or not with the plan's balances.
        """
        if plan not in self._synced:
            self.say(f"syncing {plan.headers:,} headers, {plan.filters:,} filters, {plan.matched:,} matched blocks")
            store = self.new_store()
            with self.peers(plan) as peers:
                before = peers[0].cpu()
                result = self.client(plan, peers, datadir=str(store), filters=True)
                spent = peers[0].cpu() - before
            if not result.found or result.tip != plan.headers:
                raise ChildFailed(f"a sync to {result.tip} did not find what the chain holds")
            self._synced[plan] = result, store, spent
        return self._synced[plan]


class ChildFailed(Exception):
    """A process that was to be measured failed."""
