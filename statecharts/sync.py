"""The sync of a light client as a statechart: one kind of data at a time, each complete before the next begins.

Two laws hold in this file. Everything that decides what follows what stands here, and nothing here does any I/O: the
guards are names on `SyncFacts`, the activities names on `SyncActivities`, and whoever runs the chart brings both.

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

from phasegate.statecharts.chart import Chart


class SyncFacts(Protocol):
    """The guards: what the chart may ask, each a pure answer from one frozen snapshot."""

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
    def filters_complete(self) -> bool:
        """Filters are stored and verified to the header tip, and every watch item is matched to it."""

    @property
    def blocks_complete(self) -> bool:
        """No matched block is left to fetch."""

    @property
    def all_enabled_complete(self) -> bool:
        """Every enabled phase is complete, for one and the same tip."""

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


class SyncActivities(Protocol):
    """The entry actions: each asks for one activity that runs for as long as its state is active."""

    def download_headers(self, target: State) -> None:
        """Walk the header chain to the peers' tip."""

    def download_masternodes(self, target: State) -> None:
        """Bring the masternode list to the header tip."""

    def download_filter_headers(self, target: State) -> None:
        """Bring the filter headers to the header tip."""

    def download_filters(self, target: State) -> None:
        """Bring the filters to the header tip and match them."""

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
        online.synced.to(online.recovering.waiting, cond="wait_advised")
        | online.synced.to(online.recovering.backoff, cond="retry_advised")
        | online.synced.to(online.recovering.restarting, cond="restart_advised")
        | online.synced.to(online.recovering.switching, cond="switch_advised")
        | online.synced.to(online.degraded)
        | online.syncing.to(online.recovering.waiting, cond="wait_advised")
        | online.syncing.to(online.recovering.backoff, cond="retry_advised")
        | online.syncing.to(online.recovering.restarting, cond="restart_advised")
        | online.syncing.to(online.recovering.switching, cond="switch_advised")
        | online.syncing.to(online.degraded)
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
