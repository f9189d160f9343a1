"""The charts of the house, each with its law, under the names that users give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from phasegate.statecharts.chart import Chart
from phasegate.statecharts.interleaved import InterleavedChart
from phasegate.statecharts.law import Law
from phasegate.statecharts.law_interleaved import INTERLEAVED
from phasegate.statecharts.law_peer import PEER
from phasegate.statecharts.law_sync import SYNC
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


def is_sync(name: str) -> bool:
    """Whether the chart of that name is one of those that a client runs."""
    return name in CHART_OF.values()


def other_of(name: str) -> Ruled | None:
    """The other chart that the same client may run, if `name` is one of two: a user may change the strategy."""
    others = (CHARTS[other] for other in CHART_OF.values() if other != name)
    return next(others, None) if is_sync(name) else None


def chart_of(strategy: str) -> type[Chart[Any]]:
    """The chart that a client of this strategy runs."""
    return CHARTS[CHART_OF[strategy]].chart
