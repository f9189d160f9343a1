"""How far the client is, measured on what is stored, and nothing else.

A phase's items are those that its watermark counts: headers, filter headers and filters by height, blocks by matched
block, and for masternodes the one verified list of the tip and the verdicts on its quorums. Rates are taken over a
sliding window of receipts. The overall figure is the share of all stored items in all items of the enabled phases that
are known of. Percentages never fall within a walk; a rollback starts a new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from phasegate.engine.config import Config
from phasegate.engine.events import Progress
from phasegate.store import Watermarks

PHASES = ("headers", "mnlist", "cfheaders", "filters", "blocks")
WINDOW = 10.0
"""Seconds over which a rate is taken."""


def enabled_phases(config: Config) -> tuple[str, ...]:
    """The phases that a client of this configuration goes through, in order."""
    wanted = {"headers": True, "mnlist": config.masternodes}
    return tuple(phase for phase in PHASES if wanted.get(phase, config.filters))


@attrs.frozen
class PhaseRun:
    """One finished or running stay in a phase: monotonic seconds; `items` is what this stay stored."""

    phase: str
    started: float
    last_progress: float
    items: int
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long it took, or 0 while it runs."""
        return 0.0 if self.ended is None else self.ended - self.started


def counts(phase: str, marks: Watermarks, target: int, mn_floor: int) -> tuple[int, int]:
    """Stored items and known items of a phase; `target` is the best height that peers announce."""
    if phase == "headers":
        return marks.tip - marks.base, max(target, marks.tip) - marks.base
    if phase == "mnlist":
        return _listed(marks) if marks.tip >= mn_floor else (0, 0)
    if phase == "blocks":
        return marks.matched_blocks - marks.pending_blocks, marks.matched_blocks
    if phase == "cfheaders":
        return marks.filter_headers - marks.base + 1, max(target, marks.tip) - marks.base + 1
    wanted = max(target, marks.tip) - marks.birthday + 1
    return min(marks.filters, marks.matched) - marks.birthday + 1, max(0, wanted)


def _listed(marks: Watermarks) -> tuple[int, int]:
    """The list of the tip and the verdicts on its quorums; how many these are is known once it is stored."""
    if marks.masternodes != marks.tip:
        return 0, 1 + marks.quorums
    return 1 + marks.quorums - marks.quorums_unjudged, 1 + marks.quorums


def _verdicts(before: Watermarks, after: Watermarks) -> int:
    """Items of the phase `mnlist` that a commit stored: a list, also one that replaces another, or verdicts."""
    if before.masternodes_hash != after.masternodes_hash:
        return 1
    return max(0, before.quorums_unjudged - after.quorums_unjudged)


class Meter:
    """Keeps the figures of every phase.

    Args:
        enabled: the phases of this configuration, in order.
        mn_floor: the first height with a masternode list (DIP3).
        keep: how many finished stays the completion history holds.
    """

    def __init__(self, enabled: tuple[str, ...], mn_floor: int, keep: int = 1000) -> None:
        self.enabled = enabled
        self.history: deque[PhaseRun] = deque(maxlen=keep)
        self.totals: dict[str, tuple[int, float]] = {}
        self._mn_floor = mn_floor
        self._runs: dict[str, PhaseRun] = {}
        self._samples: dict[str, deque[tuple[float, int]]] = {}
        self._best: dict[str, float] = {}
        self._overall = 0.0

    @property
    def current(self) -> PhaseRun | None:
        """The stay that is running; of several the first in the order of the phases."""
        return next(iter(self.running), None)

    @property
    def running(self) -> list[PhaseRun]:
        """All stays that are running, in the order of the phases; one but where phases run beside each other."""
        return [self._runs[phase] for phase in PHASES if phase in self._runs]

    def entered(self, phase: str, marks: Watermarks, now: float) -> None:
        """A state was entered, and no other is active: all stays end, and one begins if this is a phase."""
        self.moved(tuple(self._runs), (phase,), marks, now)

    def moved(self, left: Iterable[str], entered: Iterable[str], marks: Watermarks, now: float) -> None:
        """Some states were left, then others entered: stays in phases end and begin."""
        for phase in left:
            self._close(phase, now)
        for phase in entered:
            if phase in PHASES:
                self._close(phase, now)
                self._runs[phase] = PhaseRun(phase, now, now, 0)
                self._samples[phase] = deque([(now, counts(phase, marks, 0, self._mn_floor)[0])])

    def _close(self, phase: str, now: float) -> None:
        if phase not in self._runs:
            return
        run = attrs.evolve(self._runs.pop(phase), ended=now)
        self.history.append(run)
        items, seconds = self.totals.get(phase, (0, 0.0))
        self.totals[phase] = (items + run.items, seconds + run.seconds)

    def stored(self, before: Watermarks, after: Watermarks, now: float) -> None:
        """A commit moved the watermarks; what belongs to an active phase is counted."""
        if after.filter_headers < before.filter_headers:
            self.rewound()
        for phase, run in self._runs.items():
            was, done = (counts(phase, marks, 0, self._mn_floor)[0] for marks in (before, after))
            gained = _verdicts(before, after) if phase == "mnlist" else max(0, done - was)
            if gained:
                self._runs[phase] = attrs.evolve(run, items=run.items + gained, last_progress=now)
            samples = self._samples[phase]
            samples.append((now, done))
            while samples[0][0] < now - WINDOW and len(samples) > 2:
                samples.popleft()

    def rewound(self) -> None:
        """Stored data was rolled back: percentages may fall, once."""
        self._best.clear()
        self._overall = 0.0

    def walk(self) -> None:
        """A new walk for a new tip begins: its percentages are its own."""
        self.rewound()

    def rate(self, now: float, phase: str = "") -> float:
        """Items a second from the oldest receipt of the window to `now` (monotonic); 0 when nothing was measured.

        Of a phase that is running, the current one if none is named.
        """
        named = phase or (self.current.phase if self.current else "")
        samples = self._samples.get(named, deque[tuple[float, int]]())
        if len(samples) < 2:
            return 0.0
        (first, was), (_, done) = samples[0], samples[-1]
        return max(0.0, (done - was) / (now - first)) if now > first else 0.0

    def figure(self, phase: str, marks: Watermarks, target: int, when: float, now: float) -> Progress:
        """The progress event of a phase; `when` in seconds since 1970."""
        done, total = counts(phase, marks, target, self._mn_floor)
        percent = max(self._best.get(phase, 0.0), 100.0 * done / total if total else 100.0)
        self._best[phase] = percent
        rate = self.rate(now, phase) if phase in self._runs else 0.0
        eta = (total - done) / rate if rate > 0 else (0.0 if done >= total else None)
        return Progress(when, phase, done, total, percent, rate, eta, self._overall_percent(marks, target))

    def _overall_percent(self, marks: Watermarks, target: int) -> float:
        pairs = [counts(phase, marks, target, self._mn_floor) for phase in self.enabled]
        total = sum(pair[1] for pair in pairs)
        share = 100.0 * sum(pair[0] for pair in pairs) / total if total else 100.0
        self._overall = max(self._overall, share)
        return self._overall
