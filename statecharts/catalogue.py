"""The charts of the house, each with its law, under the names that users give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from phasegate.statecharts.chart import Chart
from phasegate.statecharts.interleaved import InterleavedChart
from phasegate.statecharts.law import PEER, SYNC, Law
from phasegate.statecharts.law_interleaved import INTERLEAVED
from phasegate.statecharts.peer import PeerChart
from phasegate.statecharts.sync import SyncChart


@attrs.frozen
class Ruled:
    """A chart and the law that it has to keep."""

    chart: type[Chart[Any]]
    law: Law


CHARTS: Mapping[str, Ruled] = {
    "sync": Ruled(SyncChart, SYNC),
    "interleaved": Ruled(InterleavedChart, INTERLEAVED),
    "peer": Ruled(PeerChart, PEER),
}

CHART_OF: Mapping[str, str] = {"sequential": "sync", "interleaved": "interleaved"}
"""The name of the chart that each strategy of a client runs."""


def chart_of(strategy: str) -> type[Chart[Any]]:
    """The chart that a client of this strategy runs."""
    return CHARTS[CHART_OF[strategy]].chart
