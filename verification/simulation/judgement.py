"""What is looked at when a run has ended: its store, its journal, and all that the client told.

The store is held against two models: what a client stores that synced the same chain undisturbed, and what the
generator of the chain knows of its payments. The journal is replayed against the chart and its law.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import attrs
import trio
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.engine.client import open_client
from phasegate.engine.errors import leaves
from phasegate.engine.events import Transition, Warned
from phasegate.engine.seams import inline_seams
from phasegate.statecharts.catalogue import CHARTS
from phasegate.store import JournalRow, Store
from phasegate.verification.recorded import Recorded
from phasegate.verification.replay import replay
from phasegate.verification.simulation import trees
from phasegate.verification.simulation.checks import ERRORS, LOSS, STALL, TRUTH, Broken, falling_progress
from phasegate.verification.simulation.life import Told, configuration
from phasegate.verification.simulation.plan import PeerPlan, Plan
from phasegate.verification.simulation.world import World


@attrs.frozen
class Traces:
    """What a run left behind.

    Attributes:
        path: of the chain that the honest peers serve in the end.
        watched: how many of its scripts are watched in the end.
        lives: what the client told, life by life.
        errors: those that should have become events.
        broken: what was seen to be wrong while it ran.
        power_was_cut: the newest commits may be lost.
    """

    plan: Plan
    directory: Path
    path: trees.Path
    watched: int
    lives: tuple[Told, ...]
    errors: tuple[BaseException, ...]
    broken: tuple[Broken, ...]
    done: Counter[str]
    power_was_cut: bool
    seconds: float
    most: Counter[str]


@attrs.frozen
class Outcome:
    """What became of one run.

    Attributes:
        broken: the laws that were broken, with what broke them.
        done: what was done to the client, by kind.
        digest: of every transition with its time and facts, and of everything stored: equal for equal runs.
        seconds: virtual ones, from the beginning to the end.
        most: the highest counts of what is bounded.
    """

    plan: Plan
    broken: tuple[Broken, ...]
    done: Counter[str]
    digest: str
    seconds: float
    most: Counter[str]


def judged(traces: Traces) -> Outcome:
    """Look at everything."""
    broken = [*traces.broken]
    errors = [leaf for error in traces.errors for leaf in leaves(error)]
    broken += [(ERRORS, f"{type(error).__name__}: {error}, from {error.__cause__!r}") for error in errors]
    for told in traces.lives:
        broken += falling_progress(told.events)
    store = Store.open(traces.directory, SIMNET)
    try:
        journal = _rows(store)
        broken += _journal_kept(journal)
        broken += [] if traces.power_was_cut else _lost(traces.lives, journal)
        if not any(law in (STALL, ERRORS) for law, _ in broken):
            broken += _untrue(traces, store)
        digest = _digest(journal, store, traces.directory)
    finally:
        store.close()
    return Outcome(traces.plan, tuple(dict.fromkeys(broken)), traces.done, digest, traces.seconds, traces.most)


def _lost(lives: tuple[Told, ...], journal: list[JournalRow]) -> Iterator[Broken]:
    """Transitions that were told, and are not in the journal under their id, though the disk took all rows at once."""
    stored = {row.row_id: (row.source, row.target) for row in journal}
    for told in lives:
        if not any(isinstance(event, Warned) and event.code == "journal-waits" for event in told.events):
            for event in told.events:
                if isinstance(event, Transition) and stored.get(event.row_id) != (event.source, event.target):
                    yield LOSS, f"transition {event.row_id}, {event.source} -> {event.target}, is not stored"


def _untrue(traces: Traces, store: Store) -> Iterator[Broken]:
    """Where the store is not what a model says."""
    plan, chain = traces.plan, trees.chain(traces.path)
    expected = undisturbed(traces.path, plan.masternodes, plan.filters, traces.watched)
    if (found := store.digest()) != expected:
        yield TRUTH, f"the digest is {found[:16]}, that of an undisturbed run {expected[:16]}"
    if plan.filters and traces.watched == len(chain.watch):
        known = chain.expected
        if sorted(tx.txid[::-1].hex() for tx in store.transactions()) != sorted(known["transactions"]):
            yield TRUTH, f"{len(list(store.transactions()))} transactions found, {len(known['transactions'])} are there"
        if {script.hex(): amount for script, amount in store.balances().items()} != known["balances"]:
            yield TRUTH, "the balances are not those of the chain"


@lru_cache(maxsize=trees.KEPT)
def undisturbed(path: trees.Path, masternodes: bool, filters: bool, watched: int) -> str:
    """The digest of the store of a client that synced the chain of `path` with one honest peer and nothing else."""
    plan = Plan(0, path[0][1], path[0][0], masternodes, filters, (), watched, (PeerPlan(0.0, 0.0),), ())

    async def sync(directory: Path) -> str:
        async with trio.open_nursery() as nursery:
            world = World(plan, nursery, path)
            config = configuration(plan, directory, world.chain.watch[:watched])
            async with open_client(config, inline_seams(0, world.open_stream, world.now)) as client:
                await client.wait_synced()
                digest = client.store.digest()
            nursery.cancel_scope.cancel()
        return digest

    with tempfile.TemporaryDirectory(prefix="phasegate-model-") as directory:
        return trio.run(sync, Path(directory), clock=MockClock(autojump_threshold=0))


def _rows(store: Store) -> list[JournalRow]:
    rows: list[JournalRow] = []
    while more := store.journal(rows[-1].row_id if rows else 0, 1000):
        rows += more
    return rows


def _journal_kept(journal: list[JournalRow]) -> Iterator[Broken]:
    """The breaches of the law that a replay of the journal finds."""
    for breach in replay(map(Recorded.from_row, journal), CHARTS["sync"]).breaches:
        yield f"journal: {breach.law.value}", f"row {breach.row_id}: {breach.text}"


def _digest(journal: list[JournalRow], store: Store, directory: Path) -> str:
    """Of every transition, with its time and facts, and of everything stored; the name of the directory is chance."""
    sha = hashlib.sha256(store.digest().encode())
    for row in journal:
        sha.update(json.dumps(attrs.astuple(row)).replace(str(directory), "").encode())
    return sha.hexdigest()
