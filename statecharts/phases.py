"""What a chart that syncs asks about its phases and what it starts for them, in whichever order they come.

Here are the names that `phasegate.statecharts.sync` and `phasegate.statecharts.interleaved` have in common; what only
one of them asks or starts stands beside that chart. No file of charts does any I/O: whoever runs one brings both.
"""

from __future__ import annotations

from typing import Protocol

from statemachine import State


class PhaseFacts(Protocol):
    """Guards, each a pure answer from one frozen snapshot."""

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
    def all_enabled_complete(self) -> bool:
        """Every enabled phase is complete, for one and the same tip, and nothing is asked for any more."""

    @property
    def sound(self) -> bool:
        """Nothing speaks against relying on what is complete: the tip is fresh, the filter headers undisputed."""

    @property
    def work_left(self) -> bool:
        """A peer hinted at another tip, or something stored is no longer complete."""


class PhaseActivities(Protocol):
    """Entry actions: each asks for one activity that runs for as long as its state is active."""

    def download_headers(self, target: State) -> None:
        """Walk the header chain to the peers' tip."""

    def download_masternodes(self, target: State) -> None:
        """Bring the masternode list to the header tip."""

    def download_filter_headers(self, target: State) -> None:
        """Bring the filter headers to the header tip."""

    def download_filters(self, target: State) -> None:
        """Bring the filters to the stored filter headers and match them."""

    def download_blocks(self, target: State) -> None:
        """Fetch and scan the matched blocks."""

    def follow_tip(self, target: State) -> None:
        """Watch for new blocks."""
