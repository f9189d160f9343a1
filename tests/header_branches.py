"""A chain of bare headers and two that leave it, one with more work and one with less."""

from __future__ import annotations

from functools import cache

from phasegate.engine.config import Config
from phasegate.engine.phases.headers import download_headers
from phasegate.store import Store
from tests.scripted_peers import HeaderChain, Serving, bench


@cache
def trunk() -> HeaderChain:
    return HeaderChain().grown(60)


@cache
def heavier() -> HeaderChain:
    """Leaves the trunk above 40."""
    return trunk().cut(40).grown(30, seed=1)


@cache
def lighter() -> HeaderChain:
    """Leaves the trunk above 40."""
    return trunk().cut(40).grown(10, seed=2)


async def synced(store: Store, chain: HeaderChain) -> None:
    """Store the headers of a chain."""
    on = bench(store, Serving(chain), config=Config(chain.network))
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (chain.tip_hash, {})
