"""Memory: scenario 51 of the list of field bugs."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from phasegate.consensus.codec import dsha, var_bytes
from phasegate.consensus.filters import match_filters
from phasegate.consensus.params import SIMNET
from phasegate.engine.limits import Limits
from phasegate.engine.peers import Peer
from phasegate.engine.phases import filter_rescan, filters
from phasegate.engine.phases.filter_arrivals import load_arrivals
from phasegate.engine.phases.filter_spans import spans
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Ledger
from phasegate.engine.seams import Writer, inline_seams
from phasegate.engine.work import Work
from phasegate.p2p.framing import FrameDecoder, encode_frame
from phasegate.p2p.messages import CFilter, GetCFilters, Message
from phasegate.store import AddWatch, Store
from tests.field_bugs.bulk_filters import RAW, filled

pytestmark = [pytest.mark.trio, pytest.mark.timeout(300)]  # the first run compiles

CEILING = 12 << 20
"""Bytes, for chains whose filters take more."""
HEAD = encode_frame(SIMNET.magic, "cfilter", CFilter(0, bytes(32), RAW).to_bytes())[:20]
BEHIND = var_bytes(RAW)
"""What all frames begin with, up to the checksum, and what stands behind the block hash."""
SCRIPTS = tuple(bytes((i,)) * 25 for i in range(10))
MANY = pytest.param(400_000, marks=pytest.mark.soak)


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    load_arrivals()
    match_filters(bytes(32), [b"\0"], [b"a"])


class Serving(Peer):
    """Answers each request for filters at once, down to the bytes on the wire."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self.address = "peer"  # type: ignore[assignment]
        self.gone, self.answers = "", 0
        self._store, self._ledger = store, ledger
        self._decoder = FrameDecoder(SIMNET.magic)

    def __str__(self) -> str:
        return "peer"

    __repr__ = __str__

    def arriving(self, command: str) -> int:
        return self._decoder.arriving(command)

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        assert isinstance(message, GetCFilters)
        stop = self._store.height_of(message.stop_hash)
        assert stop is not None
        hashes = self._store.hashes(message.start_height, stop + 1 - message.start_height)
        payloads = [b"\0" + hashes[at : at + 32] + BEHIND for at in range(0, len(hashes), 32)]
        frames = [HEAD + dsha(payload)[:4] + payload for payload in payloads]
        self._decoder.receive_data(b"".join(frames))
        while (run := self._decoder.next_run()) is not None:
            assert self._ledger.deliver_run(self, run) == len(run)


@contextmanager
def _blaming(_: Peer) -> Iterator[None]:
    yield


def workbench(store: Store) -> tuple[Work, Peer]:
    """What the phase works with, and the one peer."""
    seams, ledger = inline_seams(1), Ledger()
    peer = Serving(store, ledger)
    live, pool = SimpleNamespace(tip_hint=False, dragged=Counter()), SimpleNamespace(ready=[peer])
    parts: dict[str, Any] = {
        "store": store,
        "writer": Writer(store, seams.write),
        "seams": seams,
        "limits": Limits(),
        "config": SimpleNamespace(prune_filters=False),
    }
    return SimpleNamespace(**parts, ledger=ledger, live=live, pool=pool, broadcasts=None, blame=_blaming), peer  # type: ignore[return-value]


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most bytes that Python and numpy hold at once in the block, above what they held before."""
    found = list[int]()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [120_000, MANY])
async def test_51_a_rescan_holds_a_few_windows_whatever_is_stored(tmp_path: Path, count: int) -> None:
    store = filled(tmp_path, count)
    store.commit([AddWatch(tuple((script, "") for script in SCRIPTS))])
    work, _ = workbench(store)
    with peak() as most:
        await filter_rescan.match_stored(work)
    assert store.marks.matched == store.marks.filters == count - 1
    assert most[0] < CEILING < count * len(RAW)
    store.close()


@pytest.mark.parametrize("count", [50_000, MANY])
async def test_51_a_download_holds_a_few_batches_whatever_is_to_come(tmp_path: Path, count: int) -> None:
    """From the bytes on the wire to what is stored, matched on the way."""
    store = filled(tmp_path, count, filters=False)
    store.commit([AddWatch(tuple((script, "") for script in SCRIPTS))])
    work, peer = workbench(store)
    with peak() as most, work.ledger.desk("filters", 8, 10.0) as desk:
        download = filters._Download(work, desk, many=True)
        jobs = spans(0, count - 1, 1000)
        take = download.fetch, download.apply
        await in_order(work, [peer], jobs, *take, per_peer=8, size=filters.taken_by)
    assert store.marks.matched == store.marks.filters == count - 1
    assert most[0] < CEILING < count * len(RAW)
    store.close()
