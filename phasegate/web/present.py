"""How a client stands now, as the document that `/status.json` and the page have (docs/live-view.md has its schema)."""

from __future__ import annotations

import sys
from pathlib import Path
from resource import RUSAGE_SELF, getpagesize, getrusage
from typing import Any

import attrs
import trio

from phasegate import __version__
from phasegate.engine.client import Client
from phasegate.engine.events import Progress
from phasegate.engine.peers import Peer
from phasegate.engine.progress import counts, enabled_phases
from phasegate.p2p.messages import Services
from phasegate.statecharts.catalogue import CHART_OF
from phasegate.store import Watermarks
from phasegate.web.board import Board, Document, shown

ENDS = ("failed", "stopped")
"""States in which nothing is journalled for certain any more."""
_STATM = Path("/proc/self/statm")


def present(board: Board, now: float) -> Document:
    """The document; `now` in seconds since 1970."""
    client = board.client
    status = client.status
    marks, phases = status.marks, phases_of(board)
    place = status.state if status.state in ENDS else board.place
    return {
        "version": __version__,
        "network": client.network.file_name,
        "chart": CHART_OF[client.config.strategy],
        "time": round(now, 3),
        "state": place,
        "name": board.called(place),
        "active": board.around(place),
        "reason": shown(status.reason),
        "search": shown(status.search),
        "overall": overall(phases),
        "heights": heights(client, marks),
        "phases": phases,
        "been": {"states": list(board.been), "lines": list(board.lines)},
        "step": board.step,
        "peers": [_peer(client, peer) for peer in client.peers],
        "watched": marks.watch_items,
        "requests": {"open": len(client.open_requests), **attrs.asdict(client.requests)},
        "locks": {"pending": client.pending_locks, **attrs.asdict(client.locks)},
        "events_dropped": board.dropped,
        "memory": memory(),
    }


def heights(client: Client, marks: Watermarks) -> dict[str, int | None]:
    """Absolute heights of what is stored, and the best that a ready peer announced; null where there is nothing."""
    target = max((peer.start_height for peer in client.peers), default=0)
    return {
        "base": marks.base,
        "tip": marks.tip,
        "target": max(target, marks.tip),
        "masternodes": marks.masternodes,
        "filter_headers": _or_none(marks.filter_headers, marks.base),
        "filters": _or_none(marks.filters, marks.filters_base),
        "matched": _or_none(marks.matched, marks.filters_base),
        "chainlock": marks.chainlock,
    }


def _or_none(height: int, least: int) -> int | None:
    return height if height >= least else None


def phases_of(board: Board) -> list[Document]:
    """The figures of every phase of the configuration, in order; `complete` is the answer of its guard."""
    client = board.client
    running = {figure.phase: figure for figure in client.figures()}
    facts = attrs.evolve(client.facts, outstanding=0)  # what other phases ask for makes this one no less complete
    totals, current = client.totals, client.current
    told = []
    for phase in enabled_phases(client.config):
        figure = running.get(phase) or _resting(client, phase)
        items, seconds = totals.get(phase, (0, 0.0))
        if current is not None and current.phase == phase:
            items, seconds = items + current.items, seconds + trio.current_time() - current.started
        told.append(
            {
                "phase": phase,
                "name": board.anatomy.box(phase).name,
                "active": phase in running,
                "complete": bool(getattr(facts, f"{phase}_complete")),
                "done": max(0, figure.done),
                "total": max(0, figure.total),
                "percent": round(figure.percent, 2),
                "rate": round(figure.rate, 1),
                "eta": None if figure.eta is None else round(figure.eta, 1),
                "items": items,
                "seconds": round(seconds, 1),
            }
        )
    return told


def _resting(client: Client, phase: str) -> Progress:
    """The figures of a phase that is not at work: what is stored of what is known."""
    target = max((peer.start_height for peer in client.peers), default=0)
    done, total = counts(phase, client.status.marks, target, client.network.dip3)
    percent = 100.0 * done / total if total > 0 else 0.0
    return Progress(0.0, phase, done, total, max(0.0, percent), 0.0, None, 0.0)


def overall(phases: list[Document]) -> float:
    """The share of all stored items in all known items of the enabled phases, in percent."""
    total = sum(phase["total"] for phase in phases)
    return round(100.0 * sum(phase["done"] for phase in phases) / total, 2) if total else 0.0


def _peer(client: Client, peer: Peer) -> dict[str, Any]:
    info = peer.info
    services = 0 if info is None else info.services
    return {
        "address": str(peer.address),
        "agent": shown("" if info is None else info.user_agent),
        "version": 0 if info is None else info.negotiated,
        "services": [name.lower() for flag in Services if services & flag and (name := flag.name)],
        "height": peer.start_height,
        "role": peer.role.value,
        "seconds": round(trio.current_time() - peer.ready_at),
        "answers": peer.answers,
        "bytes_in": peer.bytes_in,
        "score": round(client.score(peer.address), 1),
    }


def memory() -> int:
    """Bytes that the process holds in memory; the most that it ever held where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
