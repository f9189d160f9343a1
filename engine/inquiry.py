"""What a user may ask a client: its state, its figures, and what it has stored. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import trio

from phasegate.consensus.params import Network
from phasegate.engine.arguments import whole
from phasegate.engine.config import Address
from phasegate.engine.errors import FailureKind
from phasegate.engine.events import Progress
from phasegate.engine.facts import Facts
from phasegate.engine.interpreter import Interpreter
from phasegate.engine.locks import LockTally
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.progress import PHASES, Meter, PhaseRun
from phasegate.engine.recovery import Recovery
from phasegate.engine.requests import Ledger, RequestView, Tally
from phasegate.engine.seams import Seams
from phasegate.engine.sync import SyncBindings
from phasegate.engine.wallet_view import WalletView
from phasegate.engine.work import Work
from phasegate.p2p.reputation import Ban
from phasegate.statecharts.places import JOINT
from phasegate.store import Store, Watermarks
from phasegate.store.journal import JournalRow

RECOVERING = ("backoff", "restarting", "switching", "waiting")
"""The states of the chart in which a failure is being dealt with."""


@attrs.frozen
class Status:
    """Where a client stands.

    Args:
        state: of the chart.
        reason: why, when it is not simply going on.
        marks: what is stored.
        search: whom it is searching for, in one line; "" while nobody is missing.
    """

    state: str
    reason: str
    marks: Watermarks
    search: str = ""


class Inquiry(WalletView):
    """The asking half of a client."""

    _seams: Seams
    _pool: Pool
    _ledger: Ledger
    _meter: Meter
    _recovery: Recovery
    _bindings: SyncBindings
    _work: Work
    _interpreter: Interpreter[Any]

    @property
    def network(self) -> Network:
        """The chain that this client follows."""
        return self.config.network

    @property
    def state(self) -> str:
        """The active state of the sync chart; of phases beside each other those of all, joined by `+`."""
        return self._interpreter.leaf

    @property
    def recovering(self) -> bool:
        """Whether a failure is being dealt with, or the client is degraded."""
        return self.state in RECOVERING or self.state == "degraded"

    @property
    def struggling(self) -> bool:
        """Whether it is in trouble, or was and has stored nothing since: another attempt is no progress."""
        return self.recovering or ((self.state in PHASES or JOINT in self.state) and self._recovery.attempt > 0)

    @property
    def disk_refuses(self) -> bool:
        """Whether it is the disk that it struggles with."""
        return self.struggling and self._recovery.kind is FailureKind.DISK

    @property
    def hopeless(self) -> str:
        """Why no configured peer can be had any more in this run; "" while there is hope."""
        return self._pool.hopeless

    @property
    def status(self) -> Status:
        """State, reason and stored marks, now."""
        reason = ""
        if self.state == "degraded" and not self._pool.ready and not self.disk_refuses:
            reason = self._pool.hopeless or self._pool.trouble  # whatever it was, now there is nobody
        elif self.struggling:
            reason = self._recovery.detail
        elif self.state == "failed" and self._bindings.crashed is not None:
            reason = str(self._bindings.crashed)
        return Status(self.state, reason, self._writer.marks, self._pool.search)

    @property
    def chainlock(self) -> tuple[int, bytes] | None:
        """Height and hash (32 bytes, wire order) of the best verified ChainLock; None when there is none."""
        marks = self._writer.marks
        return None if marks.chainlock is None else (marks.chainlock, marks.chainlock_hash)

    @property
    def locks(self) -> LockTally:
        """What became of ChainLocks and InstantSend locks in this run."""
        return self._work.locks.tally

    @property
    def pending_locks(self) -> int:
        """Locks that are announced and not here yet, or here and neither verified nor refused yet."""
        return self._work.locks.pending

    @property
    def facts(self) -> Facts:
        """What the guards would see now."""
        return self._bindings.facts()

    @property
    def requests(self) -> Tally:
        """Counts of the phases' requests and answers in this run."""
        return self._ledger.tally

    @property
    def open_requests(self) -> tuple[RequestView, ...]:
        """All requests under way, those for announced locks too, in the order in which they were made."""
        return self._ledger.open_requests()

    @property
    def remembered_peers(self) -> int:
        """Of how many peers requests are remembered, answered or not."""
        return self._ledger.remembered_peers

    @property
    def waiting_events(self) -> int:
        """How many events wait for the chart."""
        return self._interpreter.waiting

    def banned(self, address: Address) -> Ban | None:
        """The ban that is in force against an address, None if there is none."""
        return self._pool.memory.banned(address)

    def score(self, address: Address) -> float:
        """What is held against an address, in points; 100 are a ban."""
        return self._pool.memory.score(address)

    @property
    def peers(self) -> list[Peer]:
        """The peers that are ready."""
        return self._pool.ready

    @property
    def current(self) -> PhaseRun | None:
        """The stay in a phase that is running, of several the first: when it began, its last progress, its items."""
        return self._meter.current

    @property
    def completed(self) -> Iterable[PhaseRun]:
        """The finished stays in phases, oldest first."""
        return tuple(self._meter.history)

    @property
    def totals(self) -> dict[str, tuple[int, float]]:
        """Items stored and seconds spent in each phase entered in this run."""
        return dict(self._meter.totals)

    def progress(self) -> Progress | None:
        """The figures of the phase that is running, of several the first; None outside the phases."""
        return next(iter(self.figures()), None)

    def figures(self) -> list[Progress]:
        """The figures of every phase that is running, in the order of the phases."""
        target = max((peer.start_height for peer in self._pool.ready), default=0)
        now, when = trio.current_time(), self._seams.now()
        return [self._meter.figure(run.phase, self._writer.marks, target, when, now) for run in self._meter.running]

    def history(self, after: int = 0, limit: int = 1000) -> list[JournalRow]:
        """Journalled transitions above row id `after`, oldest first, at most `limit`.

        Raises:
            StoreError: the client has ended and its store is closed, or it cannot be read.
        """
        return self._store.journal(whole("after", after), whole("limit", limit, 0))

    @property
    def store(self) -> Store:
        """The store, for reading only; it is closed when the client ends, and reading it then raises StoreError."""
        return self._store
