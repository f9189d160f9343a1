"""When a sync command ends, and how: the one place that decides it.

A command ends by a signal, by a crash of the client, or by a verdict. Fully synced is a verdict with `--once`, as soon
as the locks that peers announced have their answers, or none was answered for as long as `--linger` says. Trouble is
one at once, whatever the options, when every given peer is banned and no other may be searched for. Otherwise it
is one when nothing was stored for the patience of `--give-up`: with `--once` always, without it only if no peer was
ever met, because then an address, a port or a network is wrong and nothing would ever happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs
import trio

from phasegate.cli.refusal import Code
from phasegate.engine.client import Status

CHECK_EVERY = 0.05
"""Seconds between two looks at the client."""


@attrs.frozen
class Terms:
    """What was asked of the run: end when synced? Durations are seconds.

    `linger` is how long to wait, when synced, for locks that are pending while not one less becomes so.
    """

    once: bool
    give_up: float
    linger: float


@attrs.frozen
class Ending:
    """How a run ended: the chart's state just before, why, and the exit code."""

    state: str
    reason: str
    code: Code


class Watched(Protocol):
    """What is looked at: a `Client`."""

    last_progress: float

    @property
    def state(self) -> str:
        """The active state of the sync chart."""

    @property
    def struggling(self) -> bool:
        """Whether it is in trouble, or was and has stored nothing since."""

    @property
    def disk_refuses(self) -> bool:
        """Whether it is the disk that it struggles with."""

    @property
    def hopeless(self) -> str:
        """Why no peer can be had any more."""

    @property
    def status(self) -> Status:
        """State, reason and marks."""

    @property
    def pending_locks(self) -> int:
        """Locks that are announced or here, and not answered yet."""

    @property
    def peers(self) -> Sequence[object]:
        """The ready peers."""

    async def give_up(self) -> None:
        """Be degraded instead of recovering."""


class Judge:
    """Looks at a running client until there is a verdict."""

    def __init__(self, client: Watched, terms: Terms) -> None:
        self._client = client
        self._terms = terms
        marks = client.status.marks  # a store that has got anywhere tells that the network and its peers are right
        self._met = marks.tip > marks.base
        self._fewest: int | None = None
        self._since = 0.0

    async def verdict(self) -> Ending:
        """Wait for the end; a client that struggles in vain is made to give up."""
        while True:
            ending = self._look()
            if ending is not None:
                break
            await trio.sleep(CHECK_EVERY)
        if ending.code is not Code.SYNCED:
            await self._client.give_up()
        return ending

    def _look(self) -> Ending | None:
        client = self._client
        self._met = self._met or bool(client.peers)
        if client.state != "synced":
            self._fewest = None
        elif self._terms.once and self._has_lingered():
            return Ending("synced", "", Code.SYNCED)
        if client.struggling and (client.hopeless or self._out_of_patience()):
            code = Code.STORE if client.disk_refuses else Code.DEGRADED
            return Ending("degraded", client.hopeless or client.status.reason, code)
        return None

    def _has_lingered(self) -> bool:
        """Whether no lock is pending, or there were not fewer for `linger` seconds; others come all the time."""
        pending, now = self._client.pending_locks, trio.current_time()
        if self._fewest is None or pending < self._fewest:
            self._fewest, self._since = pending, now
        return not pending or now - self._since >= self._terms.linger

    def _out_of_patience(self) -> bool:
        waited = trio.current_time() - self._client.last_progress
        return (self._terms.once or not self._met) and waited >= self._terms.give_up
