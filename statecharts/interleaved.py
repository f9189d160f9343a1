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
  all begin again from what is stored.
- Activities of the resting states watch what is stored and return when there is something to do.
"""

from __future__ import annotations

from typing import Protocol

from statemachine import State

from phasegate.statecharts.chart import Chart


class InterleavedFacts(Protocol):
    """The guards: what the chart may ask; where not said otherwise they are those of `SyncFacts`."""

    @property
    def mn_enabled(self) -> bool:
        """Masternode lists are wanted by the configuration."""

    @property
    def filters_enabled(self) -> bool:
        """Filters, and therefore filter headers and blocks, are wanted by the configuration."""

    @property
    def headers_complete(self) -> bool:
        """Every ready peer had nothing that extends or outweighs the stored tip, and the work suffices."""

    @property
    def mnlist_complete(self) -> bool:
        """The masternode list is stored and verified at the header tip."""

    @property
    def cfheaders_complete(self) -> bool:
        """Filter headers are stored, contiguous and verified, to the header tip."""

    @property
    def filters_fed(self) -> bool:
        """A filter header is stored whose filter is not, or a watch item is not matched to the stored filters."""

    @property
    def blocks_fed(self) -> bool:
        """A matched block is left to fetch, and no watch item waits for stored filters, so that none before it is."""

    @property
    def regions_complete(self) -> bool:
        """Each enabled phase beside the headers is complete, all for one and the same tip."""

    @property
    def all_enabled_complete(self) -> bool:
        """Every enabled phase is complete, for one and the same tip, and nothing is asked for any more."""

    @property
    def sound(self) -> bool:
        """Nothing speaks against relying on what is complete: the tip is fresh, the filter headers undisputed."""

    @property
    def work_left(self) -> bool:
        """A peer hinted at another tip, or something stored is no longer complete."""

    @property
    def wait_advised(self) -> bool:
        """The network is away: wait for it."""

    @property
    def retry_advised(self) -> bool:
        """The failure may pass: try again after a while."""

    @property
    def restart_advised(self) -> bool:
        """Retrying did not help: start the phase again from its stored watermark."""

    @property
    def switch_advised(self) -> bool:
        """The peer is the trouble, and another may be had."""

    @property
    def peer_ready(self) -> bool:
        """A peer that can serve the enabled phases is ready."""

    @property
    def remedy_found(self) -> bool:
        """The reason for being degraded has ended."""


class InterleavedActivities(Protocol):
    """The entry actions: each asks for one activity that runs for as long as its state is active."""

    def download_headers(self, target: State) -> None:
        """Walk the header chain to the peers' tip."""

    def begin_masternodes(self, target: State) -> None:
        """Go on at once, if masternode lists are wanted."""

    def download_masternodes(self, target: State) -> None:
        """Bring the masternode list to the header tip."""

    def rest_masternodes(self, target: State) -> None:
        """Watch for all to be complete."""

    def rest_filter_headers(self, target: State) -> None:
        """Watch for filter headers to be settled."""

    def download_filter_headers(self, target: State) -> None:
        """Bring the filter headers to the header tip."""

    def rest_filters(self, target: State) -> None:
        """Watch for filter headers whose filters are not stored."""

    def download_filters(self, target: State) -> None:
        """Bring the filters to the stored filter headers and match them."""

    def rest_blocks(self, target: State) -> None:
        """Watch for matched blocks."""

    def download_blocks(self, target: State) -> None:
        """Fetch and scan the matched blocks."""

    def back_off(self, target: State) -> None:
        """Sleep a growing, jittered while."""

    def restart_phase(self, target: State) -> None:
        """Forget what is in memory and start again from the stored watermarks."""

    def switch_peer(self, target: State) -> None:
        """Leave the peer and find another."""

    def wait_for_network(self, target: State) -> None:
        """Wait until any peer can be reached."""

    def follow_tip(self, target: State) -> None:
        """Watch for new blocks."""

    def await_remedy(self, target: State) -> None:
        """Watch for the end of the reason for being degraded."""


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

        class recovering(State.Compound, name="Recovering"):
            backoff = State("Backing off", initial=True, enter="back_off")
            restarting = State("Restarting phase", enter="restart_phase")
            switching = State("Switching peer", enter="switch_peer")
            waiting = State("Waiting for network", enter="wait_for_network")

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
        online.synced.to(online.recovering.waiting, cond="wait_advised")
        | online.synced.to(online.recovering.backoff, cond="retry_advised")
        | online.synced.to(online.recovering.restarting, cond="restart_advised")
        | online.synced.to(online.recovering.switching, cond="switch_advised")
        | online.synced.to(online.degraded)
        | _syncing.to(online.recovering.waiting, cond="wait_advised")
        | _syncing.to(online.recovering.backoff, cond="retry_advised")
        | _syncing.to(online.recovering.restarting, cond="restart_advised")
        | _syncing.to(online.recovering.switching, cond="switch_advised")
        | _syncing.to(online.degraded)
        | online.recovering.to(online.degraded)
    )
    recover = (
        online.recovering.backoff.to(online.syncing.headers)
        | online.recovering.restarting.to(online.syncing.headers)
        | online.recovering.switching.to(online.syncing.headers, cond="peer_ready")
        | online.recovering.waiting.to(online.syncing.headers, cond="peer_ready")
        | online.degraded.to(online.syncing.headers, cond="remedy_found")
    )

    pause = online.to(paused)
    resume = paused.to(online.syncing.headers)
    crash = idle.to(failed) | online.to(failed) | paused.to(failed)
    stop = idle.to(stopped) | online.to(stopped) | paused.to(stopped)

    del _syncing, _regions, _lists, _headers, _filters, _blocks
