"""Binds the activities to the sync charts and answers their guards: where the statechart meets the client.

Which chart runs is the configuration's choice (`strategy`); the activities of the phases are the same for both.

Every state's entry action is here. An activity that cannot go on raises a `Failure`; the policy turns it into advice,
the chart into a recovery state. So does a disk that refuses, since nothing is lost by that. A bug or a damaged store is
a `crash`, which ends in `failed` with the error kept.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress

import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.primitives import BlockHeader
from phasegate.engine.errors import Failure, FailureKind, LocalProtocolError, PeerGone, RolledBack, leaves
from phasegate.engine.events import Event, Transition
from phasegate.engine.facts import Facts, FactsModel
from phasegate.engine.interpreter import Bindings, Post, Step, activity
from phasegate.engine.journal import Journal
from phasegate.engine.phases.blocks import download_blocks, searchable
from phasegate.engine.phases.filter_claims import is_open
from phasegate.engine.phases.filter_headers import download_filter_headers
from phasegate.engine.phases.filters import download_filters
from phasegate.engine.phases.headers import download_headers
from phasegate.engine.phases.masternodes import download_masternodes
from phasegate.engine.progress import PHASES, Meter
from phasegate.engine.recovery import Recovery, backoff
from phasegate.engine.regions import REGIONS, Regions, marks_of
from phasegate.engine.unmatched import unmatched
from phasegate.engine.work import Work, unwrapped
from phasegate.statecharts.places import JOINT
from phasegate.store import AppendJournal, StoreFailed

PASSING = (FailureKind.NO_PEER, FailureKind.PEER_LOST, FailureKind.PEER_SILENT, FailureKind.PEER_LIED)
"""Failures whose end would be a peer that is ready, and may soon be lost for the same reason."""
VAIN_RETURNS = 5
"""How often in a row an activity may return without its phase being complete or anything stored."""
MAX_REWINDS = 10
"""How often in a row phases may roll back what is stored before the client counts as stalled."""


class SyncBindings(Bindings):
    """The listener of `SyncChart`, and of `InterleavedChart`.

    Args:
        work: the workbench of the activities.
        recovery: remembers failures and the policy's advice.
        meter: keeps the progress figures.
        publish: hands an event to the subscribers.
    """

    def __init__(self, work: Work, recovery: Recovery, meter: Meter, publish: Callable[[Event], None]) -> None:
        super().__init__()
        self._work = work
        self._recovery = recovery
        self._meter = meter
        self._publish = publish
        self._interleaved = work.config.strategy == "interleaved"
        self._vain: dict[str, tuple[object, int]] = {}
        self._changed = trio.Event()
        self._regions = Regions()
        if self._interleaved:
            work.writer.alone = self._regions.alone
        self._rewinds = 0
        self.journal = Journal(work.writer, work.config.keep_history, work.warn)
        self._timed = b"", 0
        self._told_gap = ""
        self.crashed: Exception | None = None
        self.model = FactsModel(self.facts())

    def facts(self) -> Facts:
        """A snapshot of what is true now."""
        work, ready = self._work, self._work.pool.ready
        return Facts(
            marks=work.writer.marks,
            mn_enabled=work.config.masternodes,
            filters_enabled=work.config.filters,
            mn_floor=work.network.dip3,
            min_work=work.config.least_work,
            max_tip_age=work.config.max_tip_age,
            tip_age=work.seams.now() - self._tip_time(),
            ready_peers=len(ready),
            agreed=not work.unheard(),
            outstanding=work.ledger.outstanding,
            lists_open=work.live.lists_open,
            claims_open=work.config.filters and is_open(work),
            tip_hint=work.live.tip_hint or work.walk_due,
            advice=self._recovery.advice,
            remedy_found=bool(ready) and (work.live.remedy or self._hint_is_remedy()),
            under_way=work.ledger.under_way() if self._interleaved else None,
        )

    def _hint_is_remedy(self) -> bool:
        """Whether a hint at another tip may end what keeps the stored chain from being relied upon."""
        return self._work.live.tip_hint and self._recovery.kind in (FailureKind.UNSOUND, FailureKind.NOT_ENOUGH_WORK)

    def _tip_time(self) -> int:
        """What the header of the stored tip states, read once a tip."""
        tip = self._work.writer.marks.tip_hash
        if self._timed[0] != tip:
            with suppress(StoreFailed):  # until it can be read, the time of an older tip makes it look older: no harm
                self._timed = tip, BlockHeader.from_bytes(self._work.store.header(self._work.writer.marks.tip)).time
        return self._timed[1]

    def refresh(self) -> None:
        """Take the snapshot that the guards of the next step read; with `check_facts`, hold it against the database."""
        self.model.facts = self.facts()
        if self._work.config.check_facts and self._work.writer.idle:
            stored = self._work.store.read_marks()
            if stored != self.model.facts.marks:
                raise LocalProtocolError(f"the facts say {self.model.facts.marks}, the database says {stored}")

    async def report(self, step: Step) -> None:
        """Journal a transition, then tell it."""
        now, facts = self._work.seams.now(), self.model.facts.as_dict()
        if step.event == "advance" and step.target == "degraded":
            self._recovery.failed(step.source, FailureKind.UNSOUND, self.model.facts.misgiving)
        reason = step.reason or (self._recovery.detail if step.target == "degraded" or step.event == "fail" else "")
        row = AppendJournal(now, step.source, step.target, step.event, reason, json.dumps(facts))
        row_id = await self.journal.append(row)
        for phase in self._ended_by(step):  # also a phase shorter than a tick is shown
            self._publish(self._meter.figure(phase, self._work.writer.marks, 0, now, trio.current_time()))
        if step.target == "headers":
            self._new_walk(step)
        if step.target in ("synced", "degraded"):
            self._rewinds = 0
        self._rewinds += step.event == "rewind"
        if JOINT not in step.source or JOINT not in step.target:
            self._work.live.loss = None
        self._meter.moved(step.left, step.entered, self._work.writer.marks, trio.current_time())
        self._publish(Transition(row_id, now, step.source, step.target, step.event, reason, facts))

    def _ended_by(self, step: Step) -> tuple[str, ...]:
        """The phases that a step ends because they are complete, or of a region have nothing to do."""
        if step.event != "advance":
            return ()
        if JOINT in step.source and JOINT not in step.target:  # also those that never had anything to do
            return tuple(phase for phase in REGIONS if phase in self._meter.enabled)
        return tuple(phase for phase in step.left if phase in PHASES)

    def _new_walk(self, step: Step) -> None:
        """Every peer is asked again, except where one hint or a finished walk left the others' word standing."""
        self._work.live.heard = b"", frozenset()
        if step.event != "advance":
            self._work.live.agreed.clear()
        if step.source in ("idle", "synced", "paused"):
            self._meter.walk()

    def classify(self, state: str, error: Exception) -> Post | None:
        """A failure asks the policy; anything else is a crash, and its error is kept."""
        causes = leaves(error)
        for leaf in causes:
            if not isinstance(leaf, (Failure, PeerGone, PeerMisbehaved, RolledBack, StoreFailed)):
                return Post("crash", f"{type(leaf).__name__}: {leaf}", cause=self._crash(error))
        first = next((leaf for leaf in causes if isinstance(leaf, StoreFailed)), causes[0])
        return self._rewound(state, first) if isinstance(first, RolledBack) else self._failed(state, first)

    def _rewound(self, state: str, leaf: RolledBack) -> Post:
        if self._rewinds < MAX_REWINDS:
            return Post("rewind", str(leaf))
        self._rewinds = 0
        detail = f"{MAX_REWINDS} roll-backs in a row, the last one: {leaf}"
        return self._failed(state, Failure(FailureKind.STALLED, detail))

    def _crash(self, error: Exception) -> Exception:
        self.crashed = error
        return error

    def _failed(self, state: str, leaf: BaseException) -> Post:
        if isinstance(leaf, Failure):
            kind, detail = leaf.kind, leaf.detail
        elif isinstance(leaf, PeerGone):
            kind, detail = leaf.kind, str(leaf)
        elif isinstance(leaf, StoreFailed):
            kind, detail = FailureKind.DISK, f"the disk refuses: {leaf}"
        else:  # what is stored leads to what no honest peer can have sent
            kind, detail = FailureKind.DISPUTED, str(leaf)
        self._recovery.failed(state, kind, detail)
        return Post("fail", f"{kind.value}: {detail}")

    def refused(self, state: str, event: str, times: int) -> Post | None:
        """The activity returned and its phase is not complete: start it again, unless nothing is stored any more."""
        if event != "advance":
            return None
        if state not in PHASES:  # at rest, and another region has taken the event
            return None
        marks = self._work.writer.marks
        place, marks_then = (state, marks_of(state, marks)) if self._interleaved else ("", marks)
        seen, times = self._vain.get(place, (None, 0))
        times = times + 1 if marks_then == seen else 1
        self._vain[place] = marks_then, times
        if times < VAIN_RETURNS:
            return None
        self._vain[place] = marks_then, 0
        return self._failed(state, Failure(FailureKind.STALLED, f"{state} ended {VAIN_RETURNS} times without progress"))

    # -- the phases ----------------------------------------------------------------------------------------------

    @activity(then="advance")
    async def download_headers(self) -> None:
        await download_headers(self._work)

    @activity(then="advance")
    async def download_masternodes(self) -> None:
        await self._beside("mnlist", download_masternodes)

    @activity(then="advance")
    async def download_filter_headers(self) -> None:
        await self._beside("cfheaders", download_filter_headers)

    @activity(then="advance")
    async def download_filters(self) -> None:
        await self._beside("filters", download_filters)

    @activity(then="advance")
    async def download_blocks(self) -> None:
        if self._interleaved:
            await self._until(lambda _: searchable(self._work))
        await self._beside("blocks", download_blocks)

    async def _beside(self, phase: str, download: Callable[[Work], Awaitable[None]]) -> None:
        """Run a phase that may have others beside it."""
        if self._interleaved:
            await self._regions.run(phase, lambda: download(self._work))
        else:
            await download(self._work)

    # -- regions at rest -----------------------------------------------------------------------------------------

    def stored(self) -> None:
        """What is stored has changed: regions at rest look whether there is something to do."""
        self._changed.set()
        self._changed = trio.Event()

    async def _until(self, stirs: Callable[[Facts], bool]) -> None:
        """Until a region has something to do, or all are complete."""
        while True:
            facts = self.facts()
            if stirs(facts) or (facts.regions_complete and facts.all_enabled_complete):
                return
            await self._changed.wait()

    @activity(then="advance")
    async def begin_masternodes(self) -> None:
        await self._until(lambda facts: facts.mn_enabled)

    @activity(then="advance")
    async def rest_masternodes(self) -> None:
        await self._until(lambda facts: not facts.mnlist_complete)

    @activity(then="advance")
    async def rest_filter_headers(self) -> None:
        await self._until(lambda facts: facts.filters_enabled and not facts.cfheaders_complete)

    @activity(then="advance")
    async def rest_filters(self) -> None:
        await self._until(lambda facts: facts.filters_enabled and facts.filters_fed)

    @activity(then="advance")
    async def rest_blocks(self) -> None:
        await self._until(lambda facts: facts.filters_enabled and facts.blocks_fed)

    # -- recovery ------------------------------------------------------------------------------------------------

    @activity(then="recover")
    async def back_off(self) -> None:
        limits = self._work.limits
        wait = backoff(self._recovery.attempt, limits.backoff_first, limits.backoff_cap, self._work.seams.random)
        await trio.sleep(wait)

    @activity(then="recover")
    async def restart_phase(self) -> None:
        """Forget what this run believes of peers and of what is stored, and go on from the stored watermarks."""
        self._work.live.forget_beliefs()
        await self._work.writer.reload()

    @activity(then="recover")
    async def switch_peer(self) -> None:
        """Wait for a ready peer; if the phase stalled, which is nobody's fault, drop the first ready one before."""
        pool, limits = self._work.pool, self._work.limits
        if self._recovery.kind is FailureKind.STALLED and pool.ready:
            pool.drop(pool.ready[0], "another peer is tried")
        with trio.move_on_after(limits.switch_timeout), pool.urgent():
            await self._any_peer_ready()
            return
        raise self._work.no_peer()

    @activity(then="recover")
    async def wait_for_network(self) -> None:
        with self._work.pool.urgent():
            await self._any_peer_ready()

    async def _any_peer_ready(self) -> None:
        """Wait for a ready peer, but not when none can ever come."""
        while not self._work.pool.ready:
            if self._work.pool.hopeless:
                raise self._work.no_peer()
            await self._work.pool.changed()

    @activity(then="recover")
    async def await_remedy(self) -> None:
        """Until the reason of the degradation ends: a usable peer, or another try after a while.

        Who comes and goes again and again has its coming followed up later and later, while nothing is stored.
        """
        pool, limits, kind = self._work.pool, self._work.limits, self._recovery.kind
        wants_filters = self._work.config.filters and kind is FailureKind.NO_CAPABLE_PEER
        self._work.live.remedy, before = False, set(pool.ready)
        if kind is FailureKind.DISK:
            await self._disk_works()
        elif before or kind in PASSING:
            wait = backoff(self._recovery.attempt, limits.backoff_first, limits.backoff_cap, self._work.seams.random)
            await trio.sleep(wait)
            with trio.move_on_after(limits.backoff_cap - wait if before else 0.0):
                while before == set(pool.ready):
                    await pool.changed()
        with pool.urgent() if wants_filters or not pool.ready else nullcontext():
            await pool.wait_ready(lambda peer: self._work.serves_filters(peer) or not wants_filters)
        self._work.live.remedy = True

    async def _disk_works(self) -> None:
        """Until a commit stands; what is tried are the transitions that wait to be written, if nothing else."""
        attempt, limits = self._recovery.attempt, self._work.limits
        while True:
            await trio.sleep(backoff(attempt, limits.backoff_first, limits.backoff_cap, self._work.seams.random))
            with suppress(StoreFailed):
                await self.journal.write()
                return
            attempt += 1

    @activity()
    async def follow_tip(self) -> None:
        """Fetch what the user orders, and watch for the loss of the last peer; new blocks come in as hints."""
        gap = unmatched(self._work.config, self._work.writer.marks)
        if gap is not None and gap[0] != self._told_gap:
            self._told_gap = gap[0]
            self._work.warn(*gap)
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._work.block_orders.serve, self._work)
                while self._work.pool.ready:
                    await self._work.pool.changed()
                raise self._work.no_peer()
