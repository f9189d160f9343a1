"""Benchmarks of filter headers and filters: against the bare hash, the bare kernel, and a peer that is only drained."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise

import attrs

from phasegate.consensus import filters as rules
from phasegate.consensus.codec import dsha
from phasegate.p2p.messages import CFHeaders, decode
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_node import AT_ONCE, Slowness
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.store import AppendFilterHeaders, AppendHeaders, Store
from phasegate.verification.bench.figures import Figure, alternately, at_least, per_item, timed
from phasegate.verification.bench.peer import PROTOCOL, asks_filter_headers, asks_filters, drained
from phasegate.verification.bench.stage import CORE_FILTERS, Stage

SPAN, HEADER_SPAN = 1000, 8000
SCRIPTS = (1, 10, 1_000, 10_000)
RESCANS = {10: 0.7, 1_000: 0.9, 10_000: 0.9}
"""How many scripts are watched later, and how near to the bare kernel their rescan has to come."""
SAMPLE = 20_000
"""Filters on which the bare kernel is measured."""
RUNS = 3
"""How often, before the rescans and after them: the machine may not be as fast all the time."""


def filter_headers(stage: Stage) -> Sequence[Figure]:
    """From the messages as they come to what is stored, against one hash of 64 bytes each."""
    chain = stage.chain(stage.sizes.middle)
    payloads = [reply.to_payload(PROTOCOL) for reply in _replies(chain)]
    hashes = chain.filter_hashes(1, chain.height)
    pairs = [hashes[at : at + 64] for at in range(0, len(hashes) - 63, 32)]
    ratios = []
    for _ in range(stage.rounds):
        with closing(_headers_stored(stage, chain)) as store:
            stored = timed(partial(_store_all, store, payloads), time.thread_time)
        bare = timed(lambda: [dsha(pair) for pair in pairs], time.thread_time)
        ratios.append((bare / stored, stored, bare))
    ratio, stored, bare = sorted(ratios)[len(ratios) // 2]
    what = "filter header"
    floor = f"double SHA-256 of 64 bytes {per_item(bare, len(pairs), 'hash')}"
    return [at_least("filter-headers", ratio, 0.5, per_item(stored, chain.height, what), floor)]


def _replies(chain: BulkChain) -> Iterator[CFHeaders]:
    for request in asks_filter_headers(chain):
        start = request.start_height
        count = min(2000, chain.height - start + 1)
        before, hashes = chain.filter_header(start - 1), chain.filter_hashes(start, count)
        yield CFHeaders(0, request.stop_hash, before, hashes)


def _headers_stored(stage: Stage, chain: BulkChain) -> Store:
    """A store with all headers and the filter header of genesis."""
    store = Store.open(stage.new_store(), chain.network)
    for start in range(1, chain.height + 1, HEADER_SPAN):
        raw, hashes = chain.headers(start, HEADER_SPAN), chain.hashes(start, HEADER_SPAN)
        store.commit([AppendHeaders(start, raw, hashes, start + len(hashes) // 32)])
    store.commit([AppendFilterHeaders(0, chain.filter_header(0))])
    return store


def _store_all(store: Store, payloads: Sequence[bytes]) -> None:
    """Read, chain and store what the messages bring."""
    height = 1
    for payload in payloads:
        message = decode("cfheaders", payload, PROTOCOL)
        assert isinstance(message, CFHeaders)  # noqa: S101 - for the types
        headers = rules.chain_headers(message.prev_header, message.hashes)
        store.commit([AppendFilterHeaders(height, headers)])
        height += len(headers) // 32


def filters(stage: Stage) -> Sequence[Figure]:
    """Verified, matched against ten scripts, stored; from a peer as fast as Core's best, and from one without limit."""
    plan = stage.sizes.filters
    paced = _filters(stage, plan, Slowness(filters=CORE_FILTERS), "filters", stage.bound(0.8))
    return [paced, _filters(stage, plan, AT_ONCE, "filters-unlimited", None)]


def _filters(stage: Stage, plan: BulkPlan, slowness: Slowness, name: str, bound: float | None) -> Figure:
    chain = stage.chain(plan)
    with stage.peers(plan, slowness) as peers:
        floor = drained(peers[0], chain, list(asks_filters(chain)))
        taken = stage.client(plan, peers, filters=True, until="filters").phases["filters"]
    pace = f"a peer of {slowness.filters:,.0f} filters/s" if slowness.filters else "a peer without limit"
    told = per_item(taken, plan.filters, "filter")
    pace = f"{pace}, only drained: {per_item(floor, plan.filters, 'filter')}"
    return at_least(name, floor / taken, bound, told, pace, guarded=False)


@attrs.frozen
class Bare:
    """The kernel alone on filters that are there, called with what `match_filters` makes of them."""

    calls: Sequence[Callable[[], object]]
    filters: int

    @classmethod
    def of(cls, chain: BulkChain, scripts: Sequence[bytes], most: int) -> Bare:
        """Up to `most` of the chain's filters, a thousand a call."""
        from phasegate.consensus import filter_kernel as kernel

        inner, calls = kernel.match_all, list[Callable[[], object]]()
        starts = range(chain.plan.birthday, chain.plan.birthday + min(most, chain.plan.filters) + 1, SPAN)
        setattr(kernel, "match_all", lambda *given: calls.append(partial(inner, *given)))  # noqa: B010 - to see the call
        try:
            for start, end in pairwise(starts):
                raw = [chain.filter(height) for height in range(start, end)]
                rules.match_filters(chain.hashes(start, end - start), raw, scripts)
        finally:
            setattr(kernel, "match_all", inner)  # noqa: B010
        calls[0]()
        return cls(calls, (len(starts) - 1) * SPAN)

    def run(self, cores: int = 1) -> None:
        """All calls, on so many threads."""
        with ThreadPoolExecutor(cores) as threads:
            list(threads.map(lambda call: call(), self.calls))

    def each(self, cores: int) -> float:
        """The seconds that a filter takes on so many cores: the median of a few runs."""
        return statistics.median([timed(partial(self.run, cores)) for _ in range(RUNS)]) / self.filters


def match(stage: Stage) -> Sequence[Figure]:
    """Whole filters matched on one core, against the kernel alone."""
    plan, figures = stage.sizes.middle, []
    chain = stage.chain(plan)
    raw = [chain.filter(height) for height in range(plan.birthday, plan.birthday + SPAN)]
    hashes = chain.hashes(plan.birthday, SPAN)
    for count in SCRIPTS:
        scripts = plan.scripts("strangers", count)
        bare = Bare.of(chain, scripts, SPAN)
        whole, kernel = alternately(stage.rounds, partial(rules.match_filters, hashes, raw, scripts), bare.calls[0])
        told = f"{count:,} scripts: {per_item(whole, SPAN, 'filter')}"
        figures.append(
            at_least(
                f"match-{count}", kernel / whole, None, told, f"the kernel alone {per_item(kernel, SPAN, 'filter')}"
            )
        )
    return figures


def rescan(stage: Stage) -> Sequence[Figure]:
    """All stored filters for scripts that are watched later, against the kernel alone on all cores."""
    plan, figures = stage.sizes.large, []
    chain, (_, stored, _) = stage.chain(plan), stage.synced(plan)
    bare = [Bare.of(chain, plan.scripts(f"later {count}", count), SAMPLE) for count in RESCANS]
    before = [one.each(stage.cores) for one in bare]
    with stage.peers(plan) as peers:
        task = {"filters": True, "datadir": str(stage.copy_of(stored)), "rescans": (1, *RESCANS)}
        _, *taken = stage.client(plan, peers, **task).rescans
    floors = [(early + one.each(stage.cores)) / 2 for early, one in zip(before, bare, strict=True)]
    for (count, bound), seconds, each in zip(RESCANS.items(), taken, floors, strict=True):
        told = f"{plan.filters:,} filters, {count:,} scripts: {per_item(seconds, plan.filters, 'filter')}"
        floor = f"the kernel alone on {stage.cores} cores, before and after, {per_item(each, 1, 'filter')}"
        ratio = each * plan.filters / seconds
        figures.append(at_least(f"rescan-{count}", ratio, stage.bound(bound), told, floor, guarded=False))
    return figures
