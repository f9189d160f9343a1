"""Benchmarks of headers. Their floor is X11, once a header: all else should cost little."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs

from phasegate.consensus.headers import ChainTip, context_size, extend, follow, genesis_tip
from phasegate.consensus.params import MAINNET, Network
from phasegate.consensus.x11 import HEADER_SIZE, x11_many
from phasegate.p2p.compressed import Expansion, compress
from phasegate.p2p.simnet.bulk_node import Slowness
from phasegate.verification.bench.figures import Figure, alternately, at_least, per_item, timed
from phasegate.verification.bench.sampled import Sampled
from phasegate.verification.bench.stage import CORE_DELAY, Stage

PIECE = 2000
"""Headers judged at once."""
RANGES_PEERS = 4
PAIRS = 8
"""Times in a round that rules and bare X11 take turns; each pair has a ratio, and the one in the middle counts."""


@attrs.frozen
class Stretch:
    """Headers to judge: 80 bytes each, the tip before them, and the clock they are judged by."""

    network: Network
    tip: ChainTip
    raw: bytes
    now: int
    source: str

    @property
    def count(self) -> int:
        """How many."""
        return len(self.raw) // HEADER_SIZE

    def judge(self) -> None:
        """Every rule, hashes included."""
        tip = self.tip
        for at in range(0, len(self.raw), PIECE * HEADER_SIZE):
            tip = extend(self.network, tip, self.raw[at : at + PIECE * HEADER_SIZE], self.now).tip


def stretch(stage: Stage) -> Stretch:
    """Real headers of mainnet if `PHASEGATE_VECTORS` has them, else those of a bulk chain."""
    folder = Path(os.environ.get("PHASEGATE_VECTORS", "../shared")) / "vectors" / "headers"
    index = folder / "index.json"
    told = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else []
    rows = [row for row in told if row["file"].startswith("headers/mainnet_173")]
    if rows:
        raw = (folder.parent / rows[0]["file"]).read_bytes()
        return _real(int(rows[0]["start_height"]), raw, f"real mainnet headers from {rows[0]['start_height']:,}")
    chain = stage.chain(stage.sizes.middle)
    raw = chain.headers(1, min(chain.height, 5000))
    return Stretch(chain.network, genesis_tip(chain.network), raw, int(time.time()), "headers of a bulk chain")


def _real(height: int, raw: bytes, source: str) -> Stretch:
    """What comes after the first headers of a recording, which are the context the next ones are judged by."""
    needed = context_size(MAINNET, height) + 1
    first = ChainTip(height - 1, raw[4:36], 1, ())
    tip = follow(MAINNET, first, raw[: needed * HEADER_SIZE], int(time.time())).tip
    return Stretch(MAINNET, tip, raw[needed * HEADER_SIZE :], int(time.time()), source)


def headers_validate(stage: Stage) -> Sequence[Figure]:
    """Every rule of mainnet at each height, on one thread."""
    part = stretch(stage)
    part.judge()  # whatever is compiled or loaded on first use is there now
    bare = partial(x11_many, part.raw)
    pairs = [(timed(part.judge, time.thread_time), timed(bare, time.thread_time)) for _ in range(PAIRS * stage.rounds)]
    judged, hashed = sorted(pairs, key=lambda pair: pair[1] / pair[0])[len(pairs) // 2]
    name = f"{per_item(judged, part.count, 'header')}, {part.source}"
    return [
        at_least("headers-validate", hashed / judged, 0.9, name, f"bare X11 {per_item(hashed, part.count, 'header')}")
    ]


def headers_threads(stage: Stage) -> Sequence[Figure]:
    """The same on two threads at once, each with headers of its own: the GIL has to be free.

    What two cores do more than one differs from machine to machine, since they may be two threads of one core. So X11
    alone is measured in the same way, and told beside it: where it gains too little itself, nothing can keep the bound.
    """
    part = stretch(stage)
    part.judge()
    with ThreadPoolExecutor(2) as threads:

        def both(task: Callable[[], object]) -> None:
            list(threads.map(lambda _: task(), range(2)))

        bare = partial(x11_many, part.raw)
        tasks = part.judge, partial(both, part.judge), bare, partial(both, bare)
        one, two, alone, together = alternately(stage.rounds, *tasks, clock=time.perf_counter)
    ratio, possible = 2 * one / two, 2 * alone / together
    bound = 1.7 if stage.cores > 1 else None
    told = f"two threads {per_item(two, 2 * part.count, 'header')}"
    floor = f"one thread {per_item(one, part.count, 'header')}; bare X11 on two threads: {possible:.2f}"
    of_x11 = ratio / possible
    return [
        at_least("headers-threads", ratio, bound, told, floor, guarded=False),
        at_least("headers-threads-x11", of_x11, 0.9, f"rules gain {ratio:.2f}", f"bare X11 gains {possible:.2f}"),
    ]


def headers2(stage: Stage) -> Sequence[Figure]:
    """A full compressed message, expanded and hashed on one thread."""
    chain = stage.chain(stage.sizes.middle)
    raw = chain.headers(1, min(8000, chain.height))
    message, count = compress(raw), len(raw) // HEADER_SIZE
    expanded, hashed = alternately(stage.rounds, lambda: Expansion(message).take(count), partial(x11_many, raw))
    told = f"{per_item(expanded, count, 'header')}, {len(message.records) / count:.1f} bytes each"
    return [at_least("headers2", hashed / expanded, None, told, f"bare X11 {per_item(hashed, count, 'header')}")]


def headers(stage: Stage) -> Sequence[Figure]:
    """All headers from one peer in another process, every rule kept, stored: all cores should do nothing but X11.

    What X11 takes is measured in the middle of it, while the client is stopped for a moment again and again: what a
    core does changes from second to second on a machine that is shared with others.
    """
    plan = stage.sizes.large
    with stage.peers(plan) as peers:
        before, sampled = peers[0].cpu(), Sampled(stage, peers[0])
        result = stage.watched_client(plan, peers, sampled.watch)
        served = peers[0].cpu() - before
    taken, each = result.phases["headers"] - sampled.stopped, sampled.each
    ratio = plan.headers * each / max(stage.cores * taken - served, 1e-9)
    floor = (
        f"X11 {each * 1e6:.2f} µs on each of {stage.cores} cores that the peer does not use, while all of them hash,"
        f" {len(sampled.times)} times meanwhile ({stage.x11_seconds() * 1e6:.2f} µs while only one does)"
    )
    return [
        at_least("headers", ratio, stage.bound(0.85), per_item(taken, plan.headers, "header"), floor, guarded=False)
    ]


def headers_ranges(stage: Stage) -> Sequence[Figure]:
    """Ranges between known blocks from four peers of 0.2 s an answer; and one such peer, no block known."""
    plan = stage.sizes.large
    with stage.peers(plan, Slowness(CORE_DELAY), RANGES_PEERS) as peers:
        many = stage.client(plan, peers).phases["headers"]
        one = stage.client(plan, peers[:1], known=False).phases["headers"]
    told = f"{RANGES_PEERS} peers, ranges: {per_item(many, plan.headers, 'header')}"
    floor = f"one peer, no ranges: {per_item(one, plan.headers, 'header')}"
    return [at_least("headers-ranges", one / many, stage.bound(3.0), told, floor, guarded=False)]
