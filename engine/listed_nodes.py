"""The masternode list as a source of addresses.

Whoever is in the list has paid for it and has to be reachable, and the list is proven by the chain: no stranger can
fill it. So once the client is synced, and now and then after that, the address book is told where masternodes listen.
The list of a simulated network is made up, as are the addresses in it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.params import SIMNET
from phasegate.engine.config import Config
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.seams import Seams
from phasegate.p2p.addresses import Address
from phasegate.p2p.discovery import masternode_addresses
from phasegate.store import Store, StoreError

EVERY = 3600.0
"""Seconds between two looks at the list."""
PIECE = 100
"""Addresses that the book takes without letting anything else happen."""
SOURCE = "masternodes"


class ListedNodes:
    """Tells the address book of one client of its masternodes."""

    def __init__(self, config: Config, seams: Seams, memory: PeerMemory, store: Store) -> None:
        self._config = config
        self._seams = seams
        self._memory = memory
        self._store = store

    @property
    def is_of_use(self) -> bool:
        """Whether others than configured peers are connected to, and the list names real ones."""
        config = self._config
        return config.masternodes and not config.connect_only and config.network.name != SIMNET.name

    async def run(self, synced: Callable[[], bool]) -> None:
        """Look whenever the client is `synced`, but not often, until cancelled."""
        while self.is_of_use:
            while not synced():  # noqa: ASYNC110 - no event tells of a state of the chart
                await trio.sleep(self._config.limits.tick)
            with suppress(StoreError):  # the phase that needs the list meets it, too
                await self.learn()
            await trio.sleep(EVERY)

    async def learn(self) -> int:
        """Take the addresses of the newest stored list; how many are new.

        Raises:
            StoreError: the list cannot be read.
        """
        raw = self._store.masternode_state()
        listed = [] if raw is None else await self._seams.compute(_listed, raw)
        new = 0
        for start in range(0, len(listed), PIECE):
            new += self._memory.learn(listed[start : start + PIECE], SOURCE)
            await trio.lowlevel.checkpoint()
        return new


def _listed(raw: bytes) -> list[tuple[Address, int]]:
    return list(masternode_addresses(MasternodeState.from_bytes(raw)))
