"""Holds a node's request log against what was stored at each kill: who asked for what that he had?

A log line belongs to the run that was the last to enter a phase: a node may still be answering a killed client when the
next one starts, but it is done long before that one has come so far. Lines before the first run are not looked at.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.soak.standing import Standing

PHASE_OF = {
    "getheaders": "headers",
    "getheaders2": "headers",
    "getmnlistd": "mnlist",
    "getqrinfo": "mnlist",
    "getcfheaders": "cfheaders",
    "getcfilters": "filters",
    "getdata": "blocks",
}
UNSTORED = ("getcfcheckpt",)
"""What is asked again at each start of its phase: the peers' claims, which are held against the stored chain."""
IN_FLIGHT = {"headers": 2, "mnlist": 2, "cfheaders": 8, "filters": 8, "blocks": 32}
"""Requests that may be under way, or answered and not yet stored in order: one headers batch is asked for while the
one before it is verified; of the others, what the engine asks of one peer (`Limits.in_flight`)."""


@attrs.frozen
class Request:
    """One line: when what was asked for had been sent, the phase that it is data of, and its heights.

    `lowest` is the first of `heights`, or, where nothing was to be had, the height that it would have had.
    """

    time: float
    phase: str
    heights: frozenset[int]
    lowest: int


def requests(log: Path) -> Iterator[Request]:
    """The lines of a log, oldest first.

    Raises:
        KeyError: a command that no phase sends.
    """
    for line in log.read_text().splitlines():
        fields = json.loads(line)
        if fields["command"] not in UNSTORED and not _is_errand(fields) and not _is_claim(fields):
            yield _request(fields)


def _is_errand(fields: dict[str, Any]) -> bool:
    """Whether only locks were asked for, which belong to no phase."""
    return fields["command"] == "getdata" and "heights" not in fields


def _is_claim(fields: dict[str, Any]) -> bool:
    """Whether a peer was only asked to state one filter header, as in a cfcheckpt: that of the tip."""
    return fields["command"] == "getcfheaders" and bool(fields["from"] == fields["to"])


def _request(fields: dict[str, Any]) -> Request:
    phase = PHASE_OF[fields["command"]]
    if phase == "blocks":
        heights = frozenset(fields["heights"])
        lowest = min(heights)
    elif phase == "mnlist":
        told = fields["command"] == "getmnlistd"  # of rotation nothing is kept but the verdicts that it leads to
        heights, lowest = frozenset([fields["block"]] if told else []), fields["block"] if told else -1
    else:
        lowest, end = fields["from"], fields["to"]
        heights = frozenset(range(lowest, end + 1))
    return Request(fields["time"], phase, heights, lowest)


@attrs.frozen
class Run:
    """One run of a client on one data directory: what was stored when it started, and what at its end."""

    directory: int
    number: int
    killed: bool
    before: Standing
    after: Standing

    def __str__(self) -> str:
        return f"directory {self.directory}, run {self.number}"


@attrs.define
class Findings:
    """What the log proves.

    `asked` are the requests of each phase, `lost` those that were in flight at a kill, `most_lost` the most of them at
    one kill, `again` the requests for what had been in flight at an earlier kill.
    """

    violations: list[str] = attrs.field(factory=list)
    asked: Counter[str] = attrs.field(factory=Counter)
    lost: Counter[str] = attrs.field(factory=Counter)
    most_lost: Counter[str] = attrs.field(factory=Counter)
    again: Counter[str] = attrs.field(factory=Counter)


def audit(log: Path, runs: Sequence[Run]) -> Findings:
    """Go through all runs and what they asked, in order; the runs of one directory follow each other."""
    findings, auditor = Findings(), None
    for run, own in zip(runs, _by_run(requests(log), runs), strict=True):
        if auditor is None or run.number == 0:
            auditor = _Auditor(findings)
        auditor.look(run, own)
    return findings


def _by_run(lines: Iterable[Request], runs: Sequence[Run]) -> list[list[Request]]:
    """The requests of each run: those after its first transition and before that of the next run that had one."""
    found: list[list[Request]] = [[] for _ in runs]
    begun = [(run.after.began, index) for index, run in enumerate(runs) if run.after.began is not None]
    for line in lines:
        earlier = bisect_right(begun, line.time, key=lambda start: start[0])
        if earlier:
            found[begun[earlier - 1][1]].append(line)
    return found


@attrs.define
class _Auditor:
    """The runs of one data directory; `asked` is what earlier ones asked for."""

    findings: Findings
    asked: dict[str, set[int]] = attrs.field(factory=lambda: {phase: set() for phase in IN_FLIGHT})

    def look(self, run: Run, own: Sequence[Request]) -> None:
        now: dict[str, set[int]] = {phase: set() for phase in IN_FLIGHT}
        for request in own:
            self.findings.asked[request.phase] += 1
            self.findings.again[request.phase] += not self.asked[request.phase].isdisjoint(request.heights)
            self.findings.violations += _wrongs(run, request, now[request.phase])
            now[request.phase] |= request.heights
        for phase, heights in now.items():
            self.asked[phase] |= heights
        self._count_lost(run, own)

    def _count_lost(self, run: Run, own: Sequence[Request]) -> None:
        kept = [r for r in own if r.phase != "mnlist"]  # most lists leave verdicts, and are not kept themselves
        lost = Counter([r.phase for r in kept if r.heights and not run.after.stored(r.phase, r.heights)])
        self.findings.lost += lost
        self.findings.most_lost |= lost
        self.findings.violations += [
            f"{run}: {number} requests of {phase} were lost"
            for phase, number in lost.items()
            if number > IN_FLIGHT[phase] or not run.killed
        ]


def _wrongs(run: Run, request: Request, asked_now: set[int]) -> Iterator[str]:
    """What is wrong with a request."""
    phase, heights = request.phase, request.heights
    what = f"{run}: {phase} from {request.lowest} ({len(heights)} heights)"
    if run.before.stored(phase, heights | {request.lowest}):
        yield f"{what}: stored before the run began"
    if phase != "mnlist" and not asked_now.isdisjoint(heights):  # a list may serve one walk, and a lock's later one
        yield f"{what}: asked twice in one run"
    if phase != "headers" and 0 < len(run.after.stored(phase, heights)) < len(heights):  # 8000 headers: 4 commits
        yield f"{what}: half stored at its end"
