"""The sync of a light client as a statechart: one kind of data at a time, each complete before the next begins.

Two laws hold in this file. Everything that decides which phase follows which stands here, and nothing here does any
I/O: the guards are names on `SyncFacts`, the activities names on `SyncActivities`, and whoever runs the chart brings
both. The states of recovery and the ways into and out of them are those of `recovery`, which another chart has too.

How to read it:

- `advance` asks "is this phase complete?". It is posted when an activity returns and at every tick. If no guard holds,
  the chart stays where it is. Of the branches of one state at most one can hold, so their order does not matter.
- Complete is not enough for `synced`: a chain whose newest block is old, or filter headers that peers dispute, leave
  the client `degraded` with everything stored and matched, until the reason ends.
- `rewalk`, `rewind`, `resume` and `recover` enter `headers` whatever was interrupted: finished phases pass by their
  guards within milliseconds, and a fork made meanwhile is seen before old work goes on. So there is no history state,
  and no phase is ever persisted. `rewalk` follows what users and peers ask for; `rewind` says that a phase has rolled
  stored data back. A reorganisation of the chain needs neither: it happens in `headers`, where every walk begins.
- `fail` follows the recovery policy's advice, here in order of preference, and ends in `degraded`, which is left as
  soon as its reason ends. `failed` is for a broken program or a damaged store (`crash`), never for a peer, a
  network or a disk that refuses.
"""

from __future__ import annotations

from typing import Protocol

from statemachine import State

from phasegate.statecharts import recovery
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.phases import PhaseActivities, PhaseFacts
from phasegate.statecharts.recovery import RecoveryActivities, RecoveryFacts


class SyncFacts(PhaseFacts, RecoveryFacts, Protocol):
    """The guards: what the chart may ask, each a pure answer from one frozen snapshot."""

    @property
    def filters_complete(self) -> bool:
        """Filters are stored and verified to the header tip, and every watch item is matched to it."""

    @property
    def blocks_complete(self) -> bool:
        """No matched block is left to fetch."""


class SyncActivities(PhaseActivities, RecoveryActivities, Protocol):
    """The entry actions: each asks for one activity that runs for as long as its state is active."""


class SyncChart(Chart[SyncFacts]):
    """Strictly sequential synchronisation: Idle to Fully synced, every way forward guarded by completeness."""

    idle = State("Idle", initial=True)

    class online(State.Compound, name="Online"):
        class syncing(State.Compound, name="Syncing"):
            headers = State("Downloading headers", initial=True, enter="download_headers")
            mnlist = State("Downloading masternode lists", enter="download_masternodes")
            cfheaders = State("Downloading filter headers", enter="download_filter_headers")
            filters = State("Downloading filters", enter="download_filters")
            blocks = State("Downloading blocks", enter="download_blocks")

        recovering = recovery.recovering()

        synced = State("Fully synced", enter="follow_tip")
        degraded = State("Degraded", enter="await_remedy")

    paused = State("Paused")
    failed = State("Failed", final=True)
    stopped = State("Stopped", final=True)

    start = idle.to(online)

    advance = (
        online.syncing.headers.to(online.syncing.mnlist, cond=["headers_complete", "mn_enabled"])
        | online.syncing.headers.to(
            online.syncing.cfheaders, cond=["headers_complete", "!mn_enabled", "filters_enabled"]
        )
        | online.syncing.headers.to(
            online.synced, cond=["headers_complete", "!mn_enabled", "!filters_enabled", "all_enabled_complete", "sound"]
        )
        | online.syncing.headers.to(
            online.degraded,
            cond=["headers_complete", "!mn_enabled", "!filters_enabled", "all_enabled_complete", "!sound"],
        )
        | online.syncing.mnlist.to(online.syncing.cfheaders, cond=["mnlist_complete", "filters_enabled"])
        | online.syncing.mnlist.to(
            online.synced, cond=["mnlist_complete", "!filters_enabled", "all_enabled_complete", "sound"]
        )
        | online.syncing.mnlist.to(
            online.degraded, cond=["mnlist_complete", "!filters_enabled", "all_enabled_complete", "!sound"]
        )
        | online.syncing.cfheaders.to(online.syncing.filters, cond="cfheaders_complete")
        | online.syncing.filters.to(online.syncing.blocks, cond="filters_complete")
        | online.syncing.blocks.to(online.synced, cond=["blocks_complete", "all_enabled_complete", "sound"])
        | online.syncing.blocks.to(online.degraded, cond=["blocks_complete", "all_enabled_complete", "!sound"])
        | online.synced.to(online.syncing.headers, cond="work_left")
        | online.synced.to(online.degraded, cond=["!work_left", "!sound"])
    )
    rewalk = online.synced.to(online.syncing.headers) | online.syncing.to(online.syncing.headers)
    rewind = online.synced.to(online.syncing.headers) | online.syncing.to(online.syncing.headers)

    fail = (
        recovery.advised(online.synced, online.recovering, online.degraded)
        | recovery.advised(online.syncing, online.recovering, online.degraded)
        | online.recovering.to(online.degraded)
    )
    recover = recovery.recovered(online.recovering, online.degraded, online.syncing.headers)

    pause = online.to(paused)
    resume = paused.to(online.syncing.headers)
    crash = idle.to(failed) | online.to(failed) | paused.to(failed)
    stop = idle.to(stopped) | online.to(stopped) | paused.to(stopped)
