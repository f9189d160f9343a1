"""The figures of a client for Prometheus, read when they are asked for (docs/live-view.md lists them).

Names follow Prometheus' rules: base units, `_total` for what only grows, one label for one kind of thing. Nothing has a
label that strangers choose, so the number of series is bounded: there is none for each peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs
import trio
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from phasegate import __version__
from phasegate.statecharts.catalogue import CHART_OF
from phasegate.statecharts.places import leaves_of
from phasegate.web.board import Board
from phasegate.web.present import heights, phases_of

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily
Values = Mapping[str, float | None]


class Metrics:
    """A registry of its own for one client.

    Args:
        board: the memory of the view.
        now: the wall clock, in seconds since 1970.
    """

    def __init__(self, board: Board, now: Callable[[], float]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_ClientCollector(board, now))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self) -> bytes:
        """All figures, in the text format of Prometheus."""
        return generate_latest(self._registry)


class _ClientCollector(Collector):
    def __init__(self, board: Board, now: Callable[[], float]) -> None:
        self._board = board
        self._now = now

    def describe(self) -> Iterable[Family]:
        """Nothing is asked of the client before it is scraped."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Every family with its present values."""
        yield from self._states()
        yield from self._phases()
        yield from self._peers_and_requests()
        yield from self._counts()

    def _states(self) -> Iterator[Family]:
        board, client = self._board, self._board.client
        chart = CHART_OF[client.config.strategy]
        info = InfoMetricFamily("phasegate", "Version, network and chart of the client.")
        info.add_metric((), {"version": __version__, "network": client.network.file_name, "chart": chart})
        yield info
        active = leaves_of(client.state)
        states = {leaf: float(leaf in active) for leaf in board.anatomy.leaves}
        yield _gauge("phasegate_state", "1 for the active state of the chart, 0 for all others.", "state", states)
        stored = heights(client, client.status.marks)
        target = stored.pop("target")
        yield _gauge("phasegate_height", "How far each kind of data is stored and verified.", "data", stored)
        yield _single("phasegate_target_height", "The best height that a ready peer announced.", target)
        since = self._now() - (trio.current_time() - client.last_progress)
        when = since if client.last_progress else None
        yield _single("phasegate_last_progress_timestamp_seconds", "When anything was last stored.", when)

    def _phases(self) -> Iterator[Family]:
        phases = phases_of(self._board)

        def each(key: str, scale: float = 1.0) -> Values:
            return {phase["phase"]: phase[key] * scale for phase in phases}

        yield _gauge("phasegate_phase_items", "Items of a phase that are stored.", "phase", each("done"))
        yield _gauge("phasegate_phase_known_items", "Items of a phase that are known of.", "phase", each("total"))
        yield _gauge(
            "phasegate_phase_complete", "Whether the guard of a phase says complete.", "phase", each("complete")
        )
        ratio, rate = each("percent", 0.01), each("rate")
        yield _gauge("phasegate_phase_progress_ratio", "How far a phase is, 0 to 1.", "phase", ratio)
        yield _gauge("phasegate_phase_items_per_second", "Items a second over the last seconds.", "phase", rate)
        yield _counter("phasegate_phase_stored_items", "Items that this run has stored.", "phase", each("items"))
        yield _counter("phasegate_phase_seconds", "Seconds that this run has spent.", "phase", each("seconds"))

    def _peers_and_requests(self) -> Iterator[Family]:
        client = self._board.client
        peers, requests, locks = client.peers, attrs.asdict(client.requests), attrs.asdict(client.locks)
        yield _single("phasegate_peers", "Peers that are ready.", len(peers))
        filters = sum(peer.serves_filters for peer in peers)
        yield _single("phasegate_filter_peers", "Those of them that serve compact filters.", filters)
        received = sum(peer.bytes_in for peer in peers)
        yield _single("phasegate_peers_received_bytes", "Bytes received from the peers that are ready now.", received)
        yield _counter("phasegate_requests", "Requests of the phases by what became of them.", "outcome", requests)
        yield _single("phasegate_open_requests", "Requests under way.", len(client.open_requests))
        yield _counter("phasegate_locks", "ChainLocks and InstantSend locks by what became of them.", "outcome", locks)
        yield _single("phasegate_pending_locks", "Locks without an answer yet.", client.pending_locks)

    def _counts(self) -> Iterator[Family]:
        board, client = self._board, self._board.client
        yield _total("phasegate_transitions", "Steps that the chart took in this run.", board.transitions)
        yield _counter("phasegate_warnings", "Warnings of this run.", "code", board.warned)
        yield _total("phasegate_found_transactions", "Found in this run.", board.counts["TransactionFound"])
        yield _total("phasegate_rewinds", "Times a better branch replaced stored headers.", board.counts["Rewound"])
        yield _single("phasegate_waiting_events", "Events that wait for the chart.", client.waiting_events)
        yield _total("phasegate_events_dropped", "Events that a slow page was not sent.", board.dropped)
        yield _single("phasegate_pages", "Pages that follow the events.", board.streams)
        yield _total("phasegate_web_failures", "Connections that the web server gave up.", board.failures)


def _single(name: str, told: str, value: float | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told)
    if value is not None:
        family.add_metric((), value)
    return family


def _total(name: str, told: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, told, value=value)


def _gauge(name: str, told: str, label: str, values: Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=(label,))
    for key, value in values.items():
        if value is not None:
            family.add_metric((key,), float(value))
    return family


def _counter(name: str, told: str, label: str, values: Values) -> CounterMetricFamily:
    family = CounterMetricFamily(name, told, labels=(label,))
    for key, value in values.items():
        if value is not None:
            family.add_metric((key,), float(value))
    return family
