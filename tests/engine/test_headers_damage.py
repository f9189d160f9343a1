"""Stored headers that are not what they were: found, had again, and never held against the peers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.engine.config import Config
from phasegate.engine.errors import RolledBack
from phasegate.engine.phases.headers import download_headers
from phasegate.store import AppendHeaders, Store
from tests.header_branches import lighter, synced, trunk
from tests.scripted_peers import Answer, HeaderChain, Serving, bench, changed

pytestmark = pytest.mark.trio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path, REGTEST)
    yield store
    store.close()


async def damaged_at(store: Store, chain: HeaderChain, index: int, place: int, value: bytes) -> None:
    """Store headers of which one is not what it was."""
    raw = changed(chain.headers(1, chain.height), index, place, value)
    store.commit([AppendHeaders(1, raw, chain.hashes(1, chain.height), chain.tip.work)])


@cache
def moving() -> HeaderChain:
    """A chain whose difficulty moves."""
    return HeaderChain(SIMNET).grown(70, spacing=120)


async def test_our_own_damage_is_not_held_against_the_peers(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Stored bits are wrong, so the difficulty that is due is wrong, and every honest peer's next header with it."""
    store = Store.open(tmp_path, SIMNET)
    short = moving().cut(60)
    await damaged_at(store, short, 57, 72, bytes.fromhex("0000011f"))
    on = bench(store, Serving(moving()), Serving(moving()), config=Config(SIMNET))
    with pytest.raises(RolledBack):
        await download_headers(on.work)
    assert store.marks.tip == 57
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (moving().tip_hash, {})
    assert store.headers(1, 70) == moving().headers(1, 70)
    store.close()


async def test_a_miscounted_work_is_found_when_nobody_follows_our_chain(
    store: Store, autojump_clock: MockClock
) -> None:
    """Branches are compared by what stands above their fork; the sum below is only noticed when all is judged again."""
    old = trunk()
    store.commit([AppendHeaders(1, old.headers(1, 60), old.hashes(1, 60), old.tip.work * 100)])
    on = bench(store, Serving(lighter()))
    with pytest.raises(RolledBack, match="miscounted"):
        await download_headers(on.work)
    assert (store.marks.work, store.marks.tip_hash) == (old.tip.work, old.tip_hash)
    await download_headers(on.work)
    assert not on.pool.faults


async def test_a_sound_chain_that_nobody_follows_is_judged_once(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends us to look for damage that is not there can do so once a tip."""
    await synced(store, trunk())
    on = bench(store, Serving(lighter()))
    await download_headers(on.work)
    assert on.work.live.audited == trunk().tip_hash
    assert on.work.live.elsewhere == {on.peers[0]}
    assert store.marks.tip_hash == trunk().tip_hash


@pytest.mark.parametrize("index", [0, 1, 29, 58, 59])
async def test_the_first_damaged_header_is_found_wherever_it_is(
    store: Store, autojump_clock: MockClock, index: int
) -> None:
    """By halves, in a piece of any length."""
    old = trunk()
    raw = changed(old.headers(1, 60), index, 40, b"\0\1\2\3")
    store.commit([AppendHeaders(1, raw, old.hashes(1, 60), old.tip.work)])
    on = bench(store, Serving(lighter()))
    with pytest.raises(RolledBack):
        await download_headers(on.work)
    assert store.marks.tip == index


async def test_a_lie_right_above_our_tip_is_the_liars_own(store: Store, autojump_clock: MockClock) -> None:
    """What is stored holds, so the peer is blamed."""
    await synced(store, trunk())

    def lying(question: Any) -> bytes:
        return changed(trunk().grown(1).headers(61, 1), 0, 72, bytes.fromhex("ffff7f1f"))

    answers: list[Answer] = [lying, Serving(trunk())]
    on = bench(store, *answers)
    await download_headers(on.work)
    assert list(on.pool.faults) == [on.peers[0]]
    assert not on.warned
