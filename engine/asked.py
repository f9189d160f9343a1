"""What a client is asked to do: in the loop that it runs in, and not after its end.

Trio's objects belong to the loop of one thread. Whoever touches them from another one may leave both hanging, so that
is refused before anything is done. Before a client runs it belongs to no loop yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from phasegate.engine.errors import ClientEnded, ConfigError
from phasegate.engine.interpreter import Interpreter
from phasegate.engine.seams import Writer
from phasegate.store import Change, StoreError


class Asked:
    """The part of a client through which everything passes that changes what it does."""

    _ended: bool
    _loop: trio.lowlevel.TrioToken | None = None
    _interpreter: Interpreter[Any]
    _writer: Writer

    async def pause(self) -> None:
        """Stop all activities until `resume`; peers stay connected.

        Raises:
            ClientEnded: the client has ended.
        """
        await self._post("pause", "pause")

    async def resume(self) -> None:
        """Go on after `pause`, from the headers, so that nothing that happened meanwhile is missed.

        Raises:
            ClientEnded: the client has ended.
        """
        await self._post("resume", "resume")

    async def stop(self) -> None:
        """Have the run ended: every activity is cancelled, awaited, and the store closed; `run` returns then.

        Raises:
            ClientEnded: the client has ended already.
        """
        await self._post("stop", "stop")

    def _check_loop(self, what: str) -> None:
        """Refuse a method that is awaited elsewhere than where the client runs.

        Raises:
            ConfigError: it is.
        """
        if self._loop is not None and not self._ended and trio.lowlevel.current_trio_token() is not self._loop:
            told = f"{what}: the client runs in another thread"
            raise ConfigError(f"{told}: call it by trio.from_thread.run, with the trio_token of that one")

    def _check_running(self, what: str) -> None:
        """Refuse what is asked of a client that has ended, or elsewhere than where it runs.

        Raises:
            ClientEnded: it has.
            ConfigError: it runs in another thread.
        """
        self._check_loop(what)
        if self._ended:
            raise ClientEnded(f"{what}: the client has ended")

    async def _post(self, what: str, event: str, reason: str = "") -> None:
        """Send the chart an event.

        Raises:
            ClientEnded: the client has ended.
        """
        self._check_running(what)
        try:
            await self._interpreter.post(event, reason)
        except trio.BrokenResourceError:
            raise ClientEnded(f"{what}: the client has ended") from None

    async def _commit(self, what: str, changes: Sequence[Change]) -> None:
        """Store changes.

        Raises:
            ClientEnded: the client has ended, and its store is closed.
            StoreError: they were refused.
        """
        self._check_running(what)
        try:
            await self._writer.commit(changes)
        except StoreError as refused:
            if self._ended:
                raise ClientEnded(f"{what}: the client has ended") from refused
            raise
