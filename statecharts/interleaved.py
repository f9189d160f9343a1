"""The sync of a light client as a statechart whose phases after the headers run beside each other.

The same activities as in `phasegate.statecharts.sync`, on the same store and the same facts; what differs is what each
waits for. There a phase begins when the one before is complete. Here it begins as soon as there is anything for it to
do, and the order holds for each height alone: a filter is asked for when its filter header is stored, a block when its
filter has matched. Masternode lists need nothing but headers.

How to read it:

- `headers` stands alone, as everything else hangs on the chain that it chooses. Then four regions are entered, each at
  rest. `advance` takes a region to work and back to rest; each looks at its own guard, none at another region's state.
- A region at rest is not complete: its input may not have come yet. So rest proves nothing. What leads on to `synced`
  or `degraded` asks, in one and the same step, whether all that is enabled is complete, for one and the same tip.
- Masternode lists are brought once a walk, also if the list of the tip is stored already (a lock may wait for others);
  that is why this region has a state before its work and another one after it.
- `fail`, `rewalk`, `rewind`, `pause`, `crash` and `stop` leave all regions at once. Whatever one region takes back,
  all begin again from what is stored. Recovery is that of `phasegate.statecharts.recovery`, as in the other chart.
- Activities of the resting states watch what is stored and return when there is something to do.
"""

from __future__ import annotations

from typing import Protocol

from statemachine import State

from phasegate.statecharts import recovery
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.phases import PhaseActivities, PhaseFacts
from phasegate.statecharts.recovery import RecoveryActivities, RecoveryFacts


class InterleavedFacts(PhaseFacts, RecoveryFacts, Protocol):
    """The guards: what the chart may ask, each a pure answer from one frozen snapshot."""

    @property
    def filters_fed(self) -> bool:
        """A filter header is stored whose filter is not, or a watch item is not matched to the stored filters."""

    @property
    def blocks_fed(self) -> bool:
        """A matched block is left to fetch, and no watch item waits for stored filters, so that none before it is."""

    @property
    def regions_complete(self) -> bool:
        """Each enabled phase beside the headers is complete, all for one and the same tip."""


class InterleavedActivities(PhaseActivities, RecoveryActivities, Protocol):
    """The entry actions: each asks for one activity that runs for as long as its state is active."""

    def begin_masternodes(self, target: State) -> None:
        """Go on at once, if masternode lists are wanted."""

    def rest_masternodes(self, target: State) -> None:
        """Watch for all to be complete."""

    def rest_filter_headers(self, target: State) -> None:
        """Watch for filter headers to be settled."""

    def rest_filters(self, target: State) -> None:
        """Watch for filter headers whose filters are not stored."""

    def rest_blocks(self, target: State) -> None:
        """Watch for matched blocks."""


class InterleavedChart(Chart[InterleavedFacts]):
    """Headers first, then all other phases beside each other, each as far as its input reaches."""

    idle = State("Idle", initial=True)

    class online(State.Compound, name="Online"):
        class syncing(State.Compound, name="Syncing"):
            headers = State("Downloading headers", initial=True, enter="download_headers")

            class interleaved(State.Parallel, name="Interleaved"):
                class masternode_lists(State.Compound, name="Masternode lists"):
                    mnlist_waiting = State("Masternode lists to come", initial=True, enter="begin_masternodes")
                    mnlist = State("Downloading masternode lists", enter="download_masternodes")
                    mnlist_rest = State("Masternode lists at rest", enter="rest_masternodes")

                class filter_headers(State.Compound, name="Filter headers"):
                    cfheaders_rest = State("Filter headers at rest", initial=True, enter="rest_filter_headers")
                    cfheaders = State("Downloading filter headers", enter="download_filter_headers")

                class compact_filters(State.Compound, name="Filters"):
                    filters_rest = State("Filters at rest", initial=True, enter="rest_filters")
                    filters = State("Downloading filters", enter="download_filters")

                class matched_blocks(State.Compound, name="Blocks"):
                    blocks_rest = State("Blocks at rest", initial=True, enter="rest_blocks")
                    blocks = State("Downloading blocks", enter="download_blocks")

        recovering = recovery.recovering()

        synced = State("Fully synced", enter="follow_tip")
        degraded = State("Degraded", enter="await_remedy")

    paused = State("Paused")
    failed = State("Failed", final=True)
    stopped = State("Stopped", final=True)

    _syncing = online.syncing
    _regions = online.syncing.interleaved
    _lists = online.syncing.interleaved.masternode_lists
    _headers = online.syncing.interleaved.filter_headers
    _filters = online.syncing.interleaved.compact_filters
    _blocks = online.syncing.interleaved.matched_blocks

    start = idle.to(online)

    advance = (
        online.syncing.headers.to(_regions, cond=["headers_complete", "mn_enabled"])
        | online.syncing.headers.to(_regions, cond=["headers_complete", "!mn_enabled", "filters_enabled"])
        | online.syncing.headers.to(
            online.synced, cond=["headers_complete", "!mn_enabled", "!filters_enabled", "all_enabled_complete", "sound"]
        )
        | online.syncing.headers.to(
            online.degraded,
            cond=["headers_complete", "!mn_enabled", "!filters_enabled", "all_enabled_complete", "!sound"],
        )
        | _lists.mnlist_waiting.to(_lists.mnlist, cond="mn_enabled")
        | _lists.mnlist.to(_lists.mnlist_rest, cond="mnlist_complete")
        | _lists.mnlist_rest.to(_lists.mnlist, cond="!mnlist_complete")
        | _headers.cfheaders_rest.to(_headers.cfheaders, cond=["filters_enabled", "!cfheaders_complete"])
        | _headers.cfheaders.to(_headers.cfheaders_rest, cond="cfheaders_complete")
        | _filters.filters_rest.to(_filters.filters, cond=["filters_enabled", "filters_fed"])
        | _filters.filters.to(_filters.filters_rest, cond="!filters_fed")
        | _blocks.blocks_rest.to(_blocks.blocks, cond=["filters_enabled", "blocks_fed"])
        | _blocks.blocks.to(_blocks.blocks_rest, cond="!blocks_fed")
        | _regions.to(online.synced, cond=["regions_complete", "all_enabled_complete", "sound"])
        | _regions.to(online.degraded, cond=["regions_complete", "all_enabled_complete", "!sound"])
        | online.synced.to(online.syncing.headers, cond="work_left")
        | online.synced.to(online.degraded, cond=["!work_left", "!sound"])
    )
    rewalk = online.synced.to(online.syncing.headers) | _syncing.to(online.syncing.headers)
    rewind = online.synced.to(online.syncing.headers) | _syncing.to(online.syncing.headers)

    fail = (
        recovery.advised(online.synced, online.recovering, online.degraded)
        | recovery.advised(_syncing, online.recovering, online.degraded)
        | online.recovering.to(online.degraded)
    )
    recover = recovery.recovered(online.recovering, online.degraded, online.syncing.headers)

    pause = online.to(paused)
    resume = paused.to(online.syncing.headers)
    crash = idle.to(failed) | online.to(failed) | paused.to(failed)
    stop = idle.to(stopped) | online.to(stopped) | paused.to(stopped)

    del _syncing, _regions, _lists, _headers, _filters, _blocks
