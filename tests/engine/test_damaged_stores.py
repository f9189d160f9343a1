"""Any damage to the file of a finished sync: told with what to do about it, or repaired to what the chain has."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.engine.opening import open_store
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.store import Store, StoreCorrupt
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

Spoil = Callable[[bytearray, random.Random], None]
TRIES = 20
SECTOR = 512


def flipped(raw: bytearray, rng: random.Random) -> None:
    """One bit in bytes that say something."""
    at = rng.choice([place for place in rng.sample(range(len(raw)), 100) if raw[place]] or [0])
    raw[at] ^= 1 << rng.randrange(8)


def another(raw: bytearray, rng: random.Random) -> None:
    """One byte is any other one."""
    at = rng.choice([place for place in rng.sample(range(len(raw)), 100) if raw[place]] or [0])
    raw[at] = rng.randrange(256)


def written(raw: bytearray, rng: random.Random) -> int:
    """Where a sector with something in it begins."""
    starts = range(0, len(raw) // SECTOR * SECTOR, SECTOR)
    return rng.choice([at for at in starts if any(raw[at : at + SECTOR])])


def zeroed(raw: bytearray, rng: random.Random) -> None:
    """A sector is empty."""
    at = written(raw, rng)
    raw[at : at + SECTOR] = bytes(SECTOR)


def stale(raw: bytearray, rng: random.Random) -> None:
    """A sector holds what another one does."""
    at, other = written(raw, rng), written(raw, rng)
    raw[at : at + SECTOR] = raw[other : other + SECTOR]


def truncated(raw: bytearray, rng: random.Random) -> None:
    """The end is missing."""
    del raw[rng.randrange(len(raw)) :]


def is_of(store: Store, chain: GeneratedChain) -> None:
    """Hold all that a store has against the chain, as far as it says that it reaches, and against itself."""
    marks, truth = store.marks, chain.expected
    assert store.check() == ()
    assert all(store.header(height) == chain.header(height) for height in range(marks.tip + 1))
    assert store.hashes(0, marks.tip + 1) == b"".join(chain.hash_at(height) for height in range(marks.tip + 1))
    assert store.filters(0, marks.filters + 1) == [chain.filter(height) for height in range(marks.filters + 1)]
    stated = [chain.filter_header(height) for height in range(marks.filter_headers + 1)]
    assert store.filter_headers(0, marks.filter_headers + 1) == b"".join(stated)
    assert {found.txid[::-1].hex() for found in store.transactions()} <= set(truth["transactions"])
    if marks.matched == marks.tip == chain.height and not marks.pending_blocks:
        assert {script.hex(): value for script, value in store.balances().items()} == truth["balances"]


async def finished(world: World, running: Start, chain: GeneratedChain) -> str:
    """Sync in full, and leave beside the closed store what it was before its log was folded in."""
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        digest: str = run.client.store.digest()
        for name in ("simnet.sqlite", "simnet.sqlite-wal"):
            shutil.copy(world.directory / name, world.directory / f"{name}.live")
    return digest


def opened(directory: Path, chain: GeneratedChain) -> str:
    """Open the store, hold it against the chain, and close it: what was repaired, or why nothing can be."""
    try:
        store, told = open_store(directory, SIMNET)
    except StoreCorrupt as hopeless:
        return str(hopeless)
    with closing(store):
        is_of(store, chain)
        for read in (store.journal, store.peers, store.broadcasts, store.reputations, store.refused_branches):
            read()
    return told


async def tried(world: World, running: Start, chain: GeneratedChain, digest: str) -> str:
    """Open what is there, and sync from there on, or from the beginning if that is hopeless: what came of it."""
    file = world.directory / "simnet.sqlite"
    told = opened(world.directory, chain)
    if told.startswith(f"{file}: "):
        assert told.endswith("; move the file away and sync again")
        assert "\n" not in told
        file.rename(file.with_suffix(".away"))
        told = "move"
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        assert run.client.store.digest() == digest
        is_of(run.client.store, chain)
        assert run.client.peers  # nobody was blamed
    return told.split()[0] if told else "nothing"


@pytest.mark.parametrize("spoil", [flipped, another, zeroed, stale, truncated])
async def test_a_damaged_file_is_told_or_repaired_and_the_sync_ends_as_ever(
    world: World, running: Start, autojump_clock: MockClock, spoil: Spoil
) -> None:
    """Twenty places each: what opens is a prefix of the truth, and no balance is ever wrong."""
    chain = small_chain(120, 5)
    digest = await finished(world, running, chain)
    whole, came = (world.directory / "simnet.sqlite").read_bytes(), Counter[str]()
    for seed in range(TRIES):
        raw = bytearray(whole)
        spoil(raw, random.Random(seed))
        (world.directory / "simnet.sqlite").write_bytes(raw)
        came[await tried(world, running, chain, digest)] += 1
    assert came["move"] + came["the"] >= TRIES // 4  # the rest struck what nothing hangs on


@pytest.mark.parametrize("spoil", [flipped, another, zeroed, stale, truncated])
async def test_a_damaged_log_ends_at_the_last_commit_before_the_damage(
    world: World, running: Start, autojump_clock: MockClock, spoil: Spoil
) -> None:
    """The log of a killed client: what stands before the damage is an earlier state, and nothing is half there."""
    chain = small_chain(120, 5)
    digest = await finished(world, running, chain)
    ends = set()
    for seed in range(TRIES):
        end = with_damaged_log(world.directory, chain, spoil, random.Random(seed))
        if end not in ends:
            assert await tried(world, running, chain, digest) == "nothing"
        ends.add(end)
    assert len(ends) > 2


def with_damaged_log(directory: Path, chain: GeneratedChain, spoil: Spoil, rng: random.Random) -> tuple[int, ...]:
    """Put the files of a killed client in place, with a damaged log, and open them: how far the store reaches."""
    shutil.copy(directory / "simnet.sqlite.live", directory / "simnet.sqlite")
    raw = bytearray((directory / "simnet.sqlite-wal.live").read_bytes())
    spoil(raw, rng)
    (directory / "simnet.sqlite-wal").write_bytes(raw)
    store, told = open_store(directory, SIMNET)
    with closing(store):
        is_of(store, chain)
        assert told == ""
        return store.marks.tip, store.marks.filters, store.journal_end()
