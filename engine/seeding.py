"""Where the first addresses come from, when the address book has none that answers.

In this order: what the book holds and the user's own peers are given a moment; then all DNS seeds are asked at once,
and everything they answer is taken; then, when still nobody is ready, the addresses that are built in. Through a proxy
nothing may be resolved here: the seeds are connected to by name, the proxy resolves them, and they are asked for
addresses like any peer. As long as nobody is ready, or nobody who serves the filters that are wanted, the round is
repeated, more and more rarely. But while nobody is ready and no seed answers it may be our own line that is down: then
the pauses stay short, for with an empty book nothing else would notice that the line is back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from phasegate.engine.config import Address, Config
from phasegate.engine.outbound import Outbound
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.recovery import backoff
from phasegate.engine.seams import Seams
from phasegate.p2p.addresses import BadAddress, Kind
from phasegate.p2p.discovery import Seeded, resolve_all
from phasegate.p2p.seeds import built_in

if TYPE_CHECKING:
    from phasegate.engine.pool import Pool

HEAD_START = 11.0
"""Seconds that known addresses get before seeds are asked [Core net.cpp DNSSEEDS_DELAY_FEW_PEERS]."""
ENOUGH = 2
"""Ready peers with which no seed is asked."""
FALL_BACK_AFTER = 20.0
"""Seconds after which the built-in addresses are taken, though seeds may still answer."""
SEED_TIMEOUT = 30.0
"""Seconds that one seed may take."""
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds between two rounds."""
SOON = 10.0
"""The same, at most, while nobody is ready and no seed answers; half of it is the least, however urgent it is."""


class Seeding:
    """Asks seeds while nobody is there."""

    def __init__(
        self,
        pool: Pool,
        outbound: Outbound,
        config: Config,
        seams: Seams,
        memory: PeerMemory,
        warn: Callable[[str, str], None],
    ) -> None:
        self._pool = pool
        self._outbound = outbound
        self._config = config
        self._seams = seams
        self._memory = memory
        self._warn = warn
        self._names = config.network.dns_seeds if config.dns_seeds is None else config.dns_seeds
        self._built_in = built_in(config.network) if config.dns_seeds is None else ()
        self._silent_seeds: set[str] = set()
        self._asking = False
        self._answered = False

    @property
    def has_sources(self) -> bool:
        """Whether there is anybody to ask for addresses."""
        return bool(self._names or self._built_in)

    async def run(self) -> None:
        """Ask whenever it is needed, until cancelled."""
        rounds, alone = 0, True
        if len(self._memory.book) or self._config.peers:
            await self._wait_ready(HEAD_START)
        while self.has_sources:
            back, alone = alone and bool(self._pool.ready), not self._pool.ready
            rounds = (0 if back else rounds) + 1 if self._is_needed else 0
            if rounds:
                self._answered = False
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._ask)
                    await self._fall_back()
            await self._pause(backoff(rounds + 1, FIRST_PAUSE, LONGEST_PAUSE, self._seams.random))

    async def _pause(self, most: float) -> None:
        """Wait for the next round; when nobody is ready, hurry cuts that short, and so does it that no seed answers."""
        hurry, end = self._outbound.hurry, trio.current_time() + most
        await trio.sleep(backoff(1, SOON, SOON, self._seams.random))
        with trio.move_on_at(end):
            while self._pool.ready or self._answered:
                await hurry.wait()
                if not self._pool.ready:
                    return
                hurry = self._outbound.hurry

    async def _fall_back(self) -> None:
        """Take what is built in when the seeds, and whom they named, had their time, or when they named nobody."""
        self._asking = True
        with trio.move_on_after(FALL_BACK_AFTER):
            while self._outbound.seeks and (self._asking or len(self._memory.book)):
                await self._pool.changed()
        if self._outbound.seeks:
            self._memory.learn([(at, 0) for at in self._built_in], "builtin")
            self._pool.wake()

    @property
    def _is_needed(self) -> bool:
        return len(self._pool.ready) < ENOUGH or self._outbound.seeks

    async def _wait_ready(self, most: float) -> None:
        with trio.move_on_after(most):
            while self._is_needed:
                await self._pool.changed()

    async def _ask(self) -> None:
        if self._config.proxy is None:
            port, resolve = self._config.network.port, self._seams.resolve
            await resolve_all(resolve, self._names, port, timeout=SEED_TIMEOUT, found=self._found)
        else:
            await self._ask_through_proxy()
        self._asking = False
        self._pool.wake()

    async def _ask_through_proxy(self) -> None:
        async with trio.open_nursery() as nursery:
            for name, address in self._named(self._config.network.port):
                if address.kind is Kind.NAME:
                    nursery.start_soon(self._ask_by_name, name, address)
                else:
                    self._found(Seeded(name, (address,)))

    async def _ask_by_name(self, name: str, address: Address) -> None:
        if why := await self._outbound.ask_seed(address, SEED_TIMEOUT):
            self._found(Seeded(name, error=why))
        else:
            self._silent_seeds.discard(name)
            self._answered = True

    def _named(self, port: int) -> list[tuple[str, Address]]:
        found = []
        for name in dict.fromkeys(self._names):
            try:
                found.append((name, Address.parse(name, port)))
            except BadAddress as error:
                self._found(Seeded(name, error=str(error)))
        return found

    def _found(self, seeded: Seeded) -> None:
        """Take what one seed answered; a dead one is named once."""
        self._memory.learn([(address, 0) for address in seeded.addresses], "dns")
        self._pool.wake()
        if seeded.addresses:
            self._silent_seeds.discard(seeded.name)
            self._answered = True
        elif seeded.name not in self._silent_seeds:
            self._silent_seeds.add(seeded.name)
            self._warn("seed-silent", f"seed {seeded.name}: {seeded.error or 'no addresses'}")
