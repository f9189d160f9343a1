"""Whether a peer is still there: a ping after each interval, and its pong in time [BIP31].

Whatever else it sends meanwhile is a sign of life as well: a pong waits behind a large answer on a slow line.

A machine that slept may have connections that are dead without knowing it. Then the peer has to prove itself: it is
pinged anew at once, whatever it answered before, and has little time.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio

from phasegate.engine.limits import Limits
from phasegate.p2p.connection import ConnectionLost
from phasegate.p2p.messages import Ping, Pong


class KeepAlive:
    """Pings one peer.

    Args:
        limits: how often, and for how long an answer is waited for.
        source: where nonces come from.
        send: queues a message for the peer.
        received: how many bytes have come from it so far.
    """

    def __init__(
        self,
        limits: Limits,
        source: random.Random,
        send: Callable[[Ping], Awaitable[None]],
        received: Callable[[], int],
    ) -> None:
        self._limits = limits
        self._random = source
        self._send = send
        self._received = received
        self._nonce: int | None = None
        self._hurried = False
        self._stir = trio.Event()

    async def run(self) -> None:
        """Ping until the peer is silent.

        Raises:
            ConnectionLost: there was no pong in time, nor anything else.
        """
        while True:
            with trio.move_on_after(self._limits.ping_interval):
                await self._until(lambda: self._hurried)
            patience = self._limits.handshake_timeout if self._hurried else self._limits.ping_interval
            self._hurried = False
            before = self._received()
            with trio.move_on_after(patience) as waiting:
                await self._ping()
            if waiting.cancelled_caught and self._received() == before:
                raise ConnectionLost(f"no pong within {patience:g} s")

    async def _ping(self) -> None:
        """Ping and wait for the pong; a probe meanwhile takes the place of this ping."""
        self._nonce = self._random.getrandbits(64)
        await self._send(Ping(self._nonce))
        await self._until(lambda: self._nonce is None or self._hurried)

    def take(self, pong: Pong) -> bool:
        """Whether `pong` is the answer to the last ping; it is so once."""
        fits = pong.nonce == self._nonce
        if fits:
            self._nonce = None
            self._wake()
        return fits

    def probe(self) -> None:
        """Ping now."""
        self._hurried = True
        self._wake()

    def _wake(self) -> None:
        self._stir.set()
        self._stir = trio.Event()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._stir.wait()
