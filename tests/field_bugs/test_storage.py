"""What is on disk: what other clients got wrong, by the numbers of the list of field bugs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import attrs
import pytest
from trio.testing import MockClock

from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.params import SIMNET
from phasegate.p2p.messages_chain import LocatorRequest
from phasegate.store import Anchor, AppendFilterHeaders, AppendHeaders, Change, PutFilters, Store
from phasegate.store.database import Session
from phasegate.store.segments import ALL_SERIES, FILTERS, HASHES, HEADERS, Series, put_rows
from tests.simulated_world import START, Tapped, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

Spoil = Callable[[apsw.Connection], None]


def padded(*series: Series) -> Spoil:
    """Ten items of nothing above the tip, each in its place and with a true checksum."""

    def spoil(connection: apsw.Connection) -> None:
        for each in series:
            put_rows(
                Session(connection, Path()), each, [(height, bytes(each.width or 1)) for height in range(301, 311)]
            )

    return spoil


def gap(*series: Series) -> Spoil:
    """The items of 200 to 210 are not there; those above them are."""

    def spoil(connection: apsw.Connection) -> None:
        for each in series:
            connection.execute("DELETE FROM tail WHERE series = ? AND height BETWEEN 200 AND 210", (each.number,))

    return spoil


async def asked_first(world: World, running: Start, run: Run) -> bytes:
    """The first hash of the first locator of a client that starts with this store, which then has to become whole."""
    tapped = Tapped(small_chain())
    world.nodes[1] = tapped
    async with running(run.client.config) as again:
        await again.until("synced")
        store, marks = again.client.store, again.client.status.marks
        assert (marks.tip, marks.tip_hash) == (300, small_chain().tip_hash)
        assert (marks.filters, store.check()) == (300, ())
        assert again.client.peers  # nobody was blamed
        async with running(attrs.evolve(run.client.config, datadir=world.directory / "fresh")) as fresh:
            await fresh.until("synced")
            assert fresh.client.store.digest() == store.digest()
    return next(message.locator[0] for message in tapped.taken if isinstance(message, LocatorRequest))


@pytest.mark.parametrize(
    ("spoil", "tip"),
    [
        pytest.param(padded(HEADERS, HASHES), 300, id="padded headers"),
        pytest.param(padded(*ALL_SERIES), 300, id="all padded"),
        pytest.param(gap(HEADERS, HASHES), 199, id="gap in headers"),
        pytest.param(gap(HASHES), 199, id="gap in hashes"),
        pytest.param(gap(FILTERS), 199, id="gap in filters"),
    ],
)
async def test_08_the_tip_is_the_last_of_an_unbroken_row(
    world: World, running: Start, autojump_clock: MockClock, spoil: Spoil, tip: int
) -> None:
    """Padding is no block and what stands above a gap does not count: the client goes on from the end of the row."""
    world.add(small_chain(), 1)
    async with running(world.config(1, watch=small_chain().watch)) as run:
        await run.until("synced")
    connection = apsw.Connection(str(world.directory / "simnet.sqlite"))
    spoil(connection)
    connection.close()
    assert await asked_first(world, running, run) == small_chain().hash_at(tip)


def _work_to(height: int) -> int:
    start = genesis_tip(SIMNET)
    return extend(SIMNET, start, small_chain().headers(1, height), int(START)).tip.work if height else start.work


@pytest.mark.parametrize("base", [0, 1, 17, 99, 199])
@pytest.mark.parametrize("count", [0, 1, 2, 60, 100])
async def test_07_what_is_stored_above_a_base_is_found_at_its_height(tmp_path: Path, base: int, count: int) -> None:
    """Headers, hashes, filter headers and filters, before the store is opened again and after: none a block off."""
    chain, tip = small_chain(), base + count
    total = _work_to(tip)
    anchor = Anchor(base, chain.header(base), _work_to(base)) if base else None
    store = Store.open(tmp_path, SIMNET, anchor=anchor)
    filter_headers = b"".join(map(chain.filter_header, range(base, tip + 1)))
    before = chain.filter_header(base - 1) if base else None
    changes: list[Change] = [AppendFilterHeaders(base, filter_headers, before)]
    if count:
        hashes = b"".join(map(chain.hash_at, range(base + 1, tip + 1)))
        changes.insert(0, AppendHeaders(base + 1, chain.headers(base + 1, count), hashes, total))
    store.commit([*changes, PutFilters(tuple((at, chain.filter(at)) for at in range(base, tip + 1)))])
    for _ in range(2):
        marks = store.marks
        assert (marks.base, marks.tip, marks.filter_headers, marks.filters) == (base, tip, tip, tip)
        assert (marks.tip_hash, marks.work, marks.filter_header) == (
            chain.hash_at(tip),
            total,
            chain.filter_header(tip),
        )
        for height in range(base, tip + 1):
            assert store.header(height) == chain.header(height)
            assert (store.hash_at(height), store.height_of(chain.hash_at(height))) == (chain.hash_at(height), height)
            assert store.filter_header_at(height) == chain.filter_header(height)
            assert store.filters(height, 1) == [chain.filter(height)]
        assert store.height_of(chain.hash_at(tip + 1)) is None
        assert store.check() == ()
        store.close()
        store = Store.open(tmp_path, SIMNET)
    store.close()


async def test_08_filters_above_a_gap_do_not_count(tmp_path: Path) -> None:
    """Filters that come out of order move no mark until those before them are there."""
    chain = small_chain()
    store = Store.open(tmp_path, SIMNET)
    hashes = b"".join(map(chain.hash_at, range(1, 301)))
    filter_headers = b"".join(map(chain.filter_header, range(301)))
    store.commit(
        [AppendHeaders(1, chain.headers(1, 300), hashes, chain.tip.work), AppendFilterHeaders(0, filter_headers)]
    )

    def put(*heights: int) -> int:
        return store.commit([PutFilters(tuple([(height, chain.filter(height)) for height in heights]))]).filters

    assert put(*range(150, 301)) == -1
    assert put(*range(100)) == 99
    assert put(*range(101, 150)) == 99
    assert put(100) == 300
    store.close()
    store = Store.open(tmp_path, SIMNET)
    assert store.marks.filters == 300
    store.close()
