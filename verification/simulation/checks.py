"""What has to be true of every run, whatever happened in it. Each check is a law with a name.

Some are looked at while the client runs (`Bounds`), the others when it has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import attrs

from phasegate.engine.client import Client
from phasegate.engine.events import Event, Progress, Rewound, Transition, Warned
from phasegate.engine.peers import Peer
from phasegate.engine.progress import PHASES
from phasegate.engine.requests import RequestView
from phasegate.statecharts.places import leaves_of
from phasegate.verification.simulation.world import HONEST

ORDER, STALL, TRUTH, MONOTONE, OUTSTANDING, SILENCE, BOUNDED, ERRORS, JUSTICE, LOSS, TWIN = (
    "requests belong to the active phase",
    "synced when the faults have ended",
    "the database is the model's",
    "progress is monotone",
    "no request outstanding",
    "no phase completes by silence",
    "queues are bounded",
    "errors become events",
    "nobody honest is banned",
    "nothing stored is lost",
    "one seed, one run",
)
"""The laws of a run, as they are named when one is broken."""
MAILBOX = 64
"""Events that may wait for the chart."""
GROWING = ("headers", "cfheaders")
"""Phases whose count of stored items only grows within a walk: that of filters falls when a script is added."""
BESIDE = {"errands": "locks", "transactions": "locks"}
"""What is asked for beside the phases, with the name of its limits: announced locks, and announced transactions."""

AFTER_HEADERS = ("mnlist", "mnlist_waiting", "cfheaders", "synced")
"""The leaves that headers lead to when they are complete; of regions the first."""

Broken = tuple[str, str]
"""The name of a law, and what broke it."""


@attrs.define
class Bounds:
    """Looks at a running client; `broken` has what was wrong, `most` the highest counts.

    It looks at each transition (`look`), at each request that leaves (`count`), and now and then (`glance`).
    """

    broken: list[Broken] = attrs.field(factory=list)
    most: Counter[str] = attrs.field(factory=Counter)
    _orphans: set[tuple[int, Peer]] = attrs.field(factory=set, init=False)

    def look(self, client: Client, event: Transition) -> None:
        """What has to be true when the chart has just moved."""
        self._order(client.state, client.open_requests)
        self.count(client)
        self._bound("peers", len(client.peers), client.config.limits.max_peers + client.config.limits.filter_peers)
        if event.target == "synced" and client.facts.outstanding:
            self.broken.append((OUTSTANDING, f"synced with {client.facts.outstanding} requests outstanding"))

    def count(self, client: Client) -> None:
        """Requests and queues, now: there are never more than just when one has left."""
        limits, views = client.config.limits, client.open_requests
        for phase, count in Counter(view.phase for view in views).items():
            self._bound(f"requests of {phase}", count, limits.concurrency[BESIDE.get(phase, phase)])
        for (_, phase), count in Counter((view.peer, view.phase) for view in views).items():
            self._bound(f"requests of {phase} to one peer", count, limits.in_flight[BESIDE.get(phase, phase)])
        self._bound("events that wait for the chart", client.waiting_events, MAILBOX)

    def glance(self, client: Client) -> None:
        """What belongs to peers that are gone: at a second glance, a while later, each has to be forgotten."""
        self._bound("peers of whom requests are remembered", client.remembered_peers, len(client.config.peers))
        orphans = {(view.number, view.peer): view.command for view in client.open_requests if view.peer.gone}
        for number, peer in orphans.keys() & self._orphans:
            self.broken.append((OUTSTANDING, f"{orphans[number, peer]} waits for {peer}, which is gone"))
        self._orphans = set(orphans)

    def _order(self, state: str, views: Iterable[RequestView]) -> None:
        for view in views:
            if view.phase not in (*leaves_of(state), *BESIDE):
                self.broken.append((ORDER, f"{view.command} of {view.phase} is under way in {state}"))

    def _bound(self, what: str, count: int, most: int) -> None:
        self.most[what] = max(self.most[what], count)
        if count > most:
            self.broken.append((BOUNDED, f"{count} {what}, and {most} are allowed"))


def falling_progress(events: Iterable[Event]) -> Iterator[Broken]:
    """Where a percentage, or a count of what only grows, falls within a walk, or says what cannot be."""
    best: dict[str, float] = {}
    for event in events:
        if _rolls_back(event) or _begins_walk(event):
            best.clear()
        if isinstance(event, Progress):
            for name, value in _figures(event).items():
                if value < best.get(name, 0.0):
                    yield MONOTONE, f"{name} goes from {best[name]:.2f} to {value:.2f}"
                best[name] = max(value, best.get(name, 0.0))
            if not 0 <= event.done <= event.total or not min(event.percent, event.overall) >= 0:
                yield MONOTONE, f"{event.phase} has done {event.done} of {event.total}: {event.percent:.2f} %"
            if max(event.percent, event.overall) > 100:
                yield MONOTONE, f"{event.phase} is at {event.percent:.2f} %, all at {event.overall:.2f} %"


def _figures(event: Progress) -> dict[str, float]:
    """What may not fall: percentages, and what is stored of headers and filter headers."""
    figures = {f"percentage of {event.phase}": event.percent, "percentage of all": event.overall}
    return figures | ({f"count of {event.phase}": event.done} if event.phase in GROWING else {})


def _rolls_back(event: Event) -> bool:
    """Whether it tells that stored data was rolled back."""
    return isinstance(event, Rewound) or (isinstance(event, Warned) and event.code == "filter-headers-dropped")


def _begins_walk(event: Event) -> bool:
    """Whether stored data may have been rolled back, or figures are those of another walk."""
    if not isinstance(event, Transition):
        return False
    return event.trigger == "rewind" or (event.target == "headers" and event.source in ("idle", "synced", "paused"))


def unheard_tip(
    event: Transition, since: float, peers: Iterable[Peer], heard: Mapping[int, set[bytes]]
) -> Iterator[Broken]:
    """Headers that end though nobody, or not every honest peer, was heard about what follows the stored tip.

    Args:
        event: that ended them, or any other.
        since: when they began; who was not ready before is not counted upon.
        peers: the ready ones.
        heard: by port, the headers about which the node there was asked on this connection, and answered.
    """
    if event.source != "headers" or leaves_of(event.target)[0] not in AFTER_HEADERS:
        return
    tip = bytes.fromhex(event.facts["tip_hash"])[::-1]
    said = {port for port, asked in heard.items() if tip in asked}
    counted = {peer.address.port for peer in peers if peer.address.port <= HONEST and peer.ready_at < since}
    if not said or counted - said:
        silent = f"nodes {sorted(counted - said)}" if counted - said else "all peers"
        yield SILENCE, f"headers led to {event.target}, though {silent} said nothing of what follows the tip"


def unjust_bans(client: Client) -> Iterator[Broken]:
    """Bans of peers that did nothing wrong."""
    for address in client.config.peers[:HONEST]:
        if (ban := client.banned(address)) is not None:
            yield JUSTICE, f"{address} is banned for {ban.reason}"


def phases_of(masternodes: bool, filters: bool) -> tuple[str, ...]:
    """The phases that a configuration enables, in order."""
    enabled = {"mnlist": masternodes, "cfheaders": filters, "filters": filters, "blocks": filters}
    return tuple(phase for phase in PHASES if enabled.get(phase, True))
