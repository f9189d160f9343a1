"""What a client that went through trouble is held against: a new one, of the same peers, that has none.

A new client has no history: what it stores depends on the chain that it is served and on its configuration alone. So
it is run once for each of these, and what it stored is remembered; a test costs one client, not two. A client that
ends at another tip, or with another configuration, is held against a new client of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from phasegate.engine.config import Config
    from tests.simulated_world import Run, Start, World

Stored = tuple[str, dict[bytes, int]]
"""The digest of a store, and the balances."""

_twins: dict[tuple[bytes, str], Stored] = {}


async def stored_by_fresh(world: World, running: Start, run: Run, config: Config | None = None) -> Stored:
    """What a new client stores that has the peers of `run`, and its configuration if no other `config` is given.

    Args:
        world: where the peers are; a new client gets a directory of its own in it.
        running: starts the new client.
        run: the client that is judged; only its tip and its configuration are looked at.
        config: the configuration of the new client, its directory aside.
    """
    chosen = attrs.evolve(config or run.client.config, datadir=Path("fresh"))
    found = _twins.get((run.client.status.marks.tip_hash, repr(chosen)))
    if found is not None:
        return found
    async with running(attrs.evolve(chosen, datadir=world.directory / "fresh")) as fresh:
        await fresh.until("synced")
        stored = fresh.client.store.digest(), dict(fresh.client.balances())
        _twins[fresh.client.status.marks.tip_hash, repr(chosen)] = stored
    return stored
