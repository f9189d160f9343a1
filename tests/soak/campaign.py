"""Kill syncs until enough of them were killed in every phase and inside transactions, and keep the tally.

One data directory is killed again and again until its sync completes, then a fresh one begins. Each run of a directory
is aimed at the phase that has work left, until the directory's share of kills for that phase is used up; then the next
phase has its turn. Where a kill really landed is read from the store afterwards. A kill counts if the store then holds
more than the genesis block, and if the run had journalled its entry into one of the five phases.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.soak.attempts import Aim, Ended, Inside, Moment, Node, digest
from tests.soak.audit import Findings, Run, audit
from tests.soak.standing import PHASES, Standing, standing

BATCH = {"headers": 2000, "mnlist": 1, "cfheaders": 2000, "filters": 1000, "blocks": 400}
"""Items of one transaction, about."""
WALK = {*PHASES, "synced", "stopped"}
"""The states of a run that meets no trouble."""


@attrs.frozen
class Quota:
    """How many kills there must be: in all, in each phase while it had work left, inside a transaction."""

    kills: int
    each_phase: int
    inside: int


@attrs.frozen
class Undisturbed:
    """A sync that nobody killed: its digest, seconds and transactions of each phase, seconds to the first phase."""

    digest: str
    seconds: dict[str, float]
    transactions: dict[str, float]
    start: float


def undisturbed(node: Node, place: Path) -> Undisturbed:
    """Sync once in peace, and find what the node says is to be found."""
    node.run(place / "first")  # compiles the filter kernel
    ended = node.run(place / "undisturbed")
    phases, expected = ended.summary["phases"], node.listening["expected"]
    assert tuple(phases) == PHASES
    assert ended.summary["balances"] == expected["balances"]
    assert {tx["txid"] for tx in ended.summary["transactions"]} == set(expected["transactions"])
    seconds = {phase: figures["seconds"] for phase, figures in phases.items()}
    transactions = {phase: phases[phase]["items"] / BATCH[phase] for phase in PHASES}
    start = ended.summary["time"] - ended.started - sum(seconds.values())
    return Undisturbed(digest(place / "undisturbed"), seconds, transactions, max(start, 0.1))


@attrs.frozen
class Kill:
    """One kill: where it landed, whether that phase had work left, and how many rows its transaction had changed."""

    where: str
    at_work: bool
    counts: bool
    changes: int | None

    @property
    def inside(self) -> bool:
        return self.changes is not None


@attrs.define
class Campaign:
    """The whole: `runs` and `kills` in order, the digests of all directories that were completed."""

    node: Node
    place: Path
    quota: Quota
    random: random.Random
    peace: Undisturbed
    runs: list[Run] = attrs.field(factory=list)
    kills: list[Kill] = attrs.field(factory=list)
    digests: list[str] = attrs.field(factory=list)

    def run(self) -> Findings:
        """Kill until the quota is met, complete the last directory, and audit the node's log.

        Raises:
            AssertionError: a run failed, a kill lost or half stored something, a digest differs, the log shows that
                something stored was asked for, or the quota cannot be met.
        """
        while not self.met:
            assert len(self.runs) < 5 * self.quota.kills, self.table(Findings())
            self._wear_out(self.place / f"killed-{len(self.digests)}")
        findings = audit(self.node.log, self.runs)
        assert not findings.violations, "\n".join(findings.violations)
        assert set(self.digests) == {self.peace.digest}
        return findings

    @property
    def counted(self) -> list[Kill]:
        """The kills that count."""
        return [kill for kill in self.kills if kill.counts]

    @property
    def met(self) -> bool:
        """Whether the quota is met."""
        at_work = Counter([kill.where for kill in self.counted if kill.at_work])
        return (
            len(self.counted) >= self.quota.kills
            and sum(kill.inside for kill in self.counted) >= self.quota.inside
            and all(at_work[phase] >= self.quota.each_phase for phase in PHASES)
        )

    def _wear_out(self, datadir: Path) -> None:
        """Kill the sync of one directory until it completes."""
        shares = {phase: self.random.randint(3, 7) for phase in PHASES}
        before, ended, number = Standing(), None, 0
        while ended is None or ended.killed:
            ended = self.node.run(datadir, None if self.met else self._aim(before, shares))
            after = standing(datadir, before)
            self._check(ended, before, after)
            self.runs.append(Run(len(self.digests), number, ended.killed, before, after))
            before, number = after, number + 1
        self.digests.append(digest(datadir))
        shutil.rmtree(datadir)

    def _aim(self, now: Standing, shares: dict[str, int]) -> Aim:
        """At a moment after the start now and then; else at the first phase with work and a share left."""
        if self.random.random() < 0.04:
            return Moment("", self.random.uniform(0, self.peace.start))
        for phase in PHASES:
            if (left := now.left(phase, self.node.listening["height"])) and shares[phase]:
                shares[phase] -= 1
                return self._aim_at(phase, left)
        return None

    def _aim_at(self, phase: str, left: float) -> Aim:
        if self.random.random() < 0.7:
            return Moment(phase, self.random.uniform(0, left * self.peace.seconds[phase]))
        transactions = max(1, round(left * self.peace.transactions[phase]))
        steps = self.random.choice([0, 4, 16, 64, 2**20])
        return Inside(phase, self.random.randint(1, transactions), self.random.randint(steps // 4, steps))

    def _check(self, ended: Ended, before: Standing, after: Standing) -> None:
        """A kill took nothing away, the run met no trouble, and what was inside a transaction left no trace."""
        assert after.keeps(before), (before, after)
        assert set(ended.states) <= WALK, ended.states
        if not ended.killed:
            return
        changes = None
        if ended.note is not None:
            assert ended.note["writing"]
            assert ended.note["sequence"] == after.sequence, (ended.note, after)
            changes = ended.note["changes"]
        self.kills.append(self._kill(after, changes))

    def _kill(self, after: Standing, changes: int | None) -> Kill:
        where = (after.phase or "start") if after.tip else "nothing stored"
        at_work = where in PHASES and after.left(where, self.node.listening["height"]) > 0
        return Kill(where, at_work, where in PHASES, changes)

    def table(self, findings: Findings) -> str:
        """The counts, for people."""
        return "\n".join([*self._kill_lines(), "", *self._request_lines(findings)])

    def _kill_lines(self) -> Iterator[str]:
        yield f"{'kills':<16}{'at a moment':>12}{'in a transaction':>18}{'all':>6}{'with work left':>16}"
        for title in (*PHASES, "all that count", "start", "synced", "stopped", "nothing stored"):
            kills = self.counted if title == "all that count" else [kill for kill in self.kills if kill.where == title]
            inside = sum(kill.inside for kill in kills)
            if kills or title in PHASES:
                at_work = sum(kill.at_work for kill in kills)
                yield f"{title:<16}{len(kills) - inside:>12}{inside:>18}{len(kills):>6}{at_work:>16}"
        written = sum(bool(kill.changes) for kill in self.counted)
        yield f"transactions killed after they had changed rows: {written}"
        yield f"data directories killed until synced: {len(self.digests)}, all with digest {self.peace.digest[:16]}…"

    def _request_lines(self, findings: Findings) -> Iterator[str]:
        yield f"{'requests':<16}{'served':>12}{'in flight at kills':>20}{'most':>6}{'asked again':>13}"
        for phase in PHASES:
            asked, lost, most = findings.asked[phase], findings.lost[phase], findings.most_lost[phase]
            yield f"{phase:<16}{asked:>12}{lost:>20}{most:>6}{findings.again[phase]:>13}"
        yield f"requests for what was stored: {len(findings.violations)}"
