"""A recorded journal, run again: does the chart go where the journal says, and does that keep the law?

What happened to a user's client is known only by its journal. Each row says which leaf was left on which event for
which, and which guards said yes. So every step can be taken again, by the chart itself, and judged by the law, without
network, store or clock. Four things are judged of a step, and three of its place among the others:

- `chart`: the real chart, asked with these answers, goes exactly there;
- `response`: the law has a line for what was asked, and it says the same;
- `guarded`, `enabling`, `ordering`: what the law demands of the leaf that is entered; proofs count as in the
  exploration (`statecharts.walk`): by a yes of the completion guard in the step that leaves the phase, until a leaf is
  entered that requires nothing;
- `continuity`: a step begins where the one before ended, or the program began again; no row is missing;
- `evidence`: the recorded facts support what the guards said (`evidence.py`; of the sync chart only).

What cannot be known is not judged, and is counted: after lost rows, and in a journal whose beginning was trimmed away,
what is proven is unknown until a walk begins. Rows of an earlier version have no `holding`; then it is enough if some
answers lead there, and what all of these answers have in common is taken as heard. A client runs one of two charts, and
may run the other the next time; each run is judged by its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from phasegate.statecharts.catalogue import Ruled, is_sync, other_of
from phasegate.statecharts.law import Law
from phasegate.statecharts.places import leaves_of
from phasegate.verification.articles import Article, Breach, Judge
from phasegate.verification.evidence import examine, moved_back
from phasegate.verification.moves import moves_of
from phasegate.verification.recorded import Recorded

__all__ = ["Article", "Breach", "Replay", "replay"]


@attrs.frozen
class Replay:
    """The outcome; the journal keeps the law if there are no breaches.

    Args:
        rows: how many were read.
        restarts: how often the program began again.
        walks: how often a walk began.
        completed: how often the goal (`synced`) was entered.
        gaps: how often the journal itself says that rows before one are missing.
        missing: how many rows it says are.
        unstored: rows that were told, found not stored when the program began again, and their ids used again.
        clock_back: how often the clock went back.
        unjudged: rows of which something could not be judged.
        foreign: another chart wrote the journal; None if it does not tell.
        breaches: in the order of the rows.
    """

    rows: int
    restarts: int
    walks: int
    completed: int
    gaps: int
    missing: int
    unstored: int
    clock_back: int
    unjudged: int
    foreign: bool | None
    breaches: tuple[Breach, ...]


def replay(
    rows: Iterable[Recorded],
    ruled: Ruled,
    *,
    fingerprint: str | None = None,
    complete: bool = True,
    first_row: int | None = None,
) -> Replay:
    """Run a journal again and say where it breaks the law.

    Args:
        rows: in the order of the journal; read once.
        ruled: the chart and its law.
        fingerprint: of the chart that wrote the journal, if that is known; another one is judged all the same.
        complete: the journal goes back to the very first row; else it may begin in the middle of everything.
        first_row: the id that the first row has to have; 1 if the journal is complete, else any.

    Raises:
        NotAJournal: `rows` comes upon a line that is none.
        ValueError: the chart uses what no chart here uses.
    """
    trial = _Trial(ruled, complete=complete, first_row=1 if complete and first_row is None else first_row)
    for row in rows:
        trial.hear(row)
    foreign = None if fingerprint is None else fingerprint != moves_of(ruled.chart).fingerprint
    return Replay(**attrs.asdict(trial.counts), foreign=foreign, breaches=tuple(trial.breaches))


@attrs.define
class _Counts:
    """The counts of `Replay`, while they grow."""

    rows: int = 0
    restarts: int = 0
    walks: int = 0
    completed: int = 0
    gaps: int = 0
    missing: int = 0
    unstored: int = 0
    clock_back: int = 0
    unjudged: int = 0


class _Trial:
    """Hears the rows of one journal, one after the other."""

    def __init__(self, ruled: Ruled, *, complete: bool, first_row: int | None) -> None:
        self._ruled = self._first = ruled
        self._judge = Judge(ruled.law, moves_of(ruled.chart))
        self._complete = complete
        self._expected = first_row
        self._last: Recorded | None = None
        self.counts = _Counts()
        self.breaches: list[Breach] = []

    def hear(self, row: Recorded) -> None:
        """Judge the next row."""
        self.counts.rows += 1
        joined = self._join(row)
        self._choose(row)
        for article, text in self._judge.judge(row):
            self._charge(row, article, text)
        examined = not is_sync(self._law.name) or self._examine(row, joined)
        self.counts.unjudged += not (self._judge.sure and examined)
        self.counts.walks += self._law.requires.get(row.target) == ()
        self.counts.completed += row.target == self._law.goal
        self._last, self._expected = row, row.row_id + 1

    @property
    def _law(self) -> Law:
        return self._ruled.law

    def _choose(self, row: Recorded) -> None:
        """A client runs one chart or the other, run by run; the first place that only one of them has tells which."""
        other = other_of(self._law.name)
        if other is not None and not self._knows(row, self._law) and self._knows(row, other.law):
            self._ruled, self._judge = other, self._judge.under(other.law, moves_of(other.chart))

    def _knows(self, row: Recorded, law: Law) -> bool:
        return law.fits(leaves_of(row.source)) and law.fits(leaves_of(row.target))

    def _charge(self, row: Recorded, article: Article, text: str) -> None:
        self.breaches.append(Breach(row.row_id, article, text))

    # -- the place of a row among the others ---------------------------------------------------------------------

    def _join(self, row: Recorded) -> bool:
        """Hold a row against the one before it; whether it goes on in the same run, and nothing is missing between."""
        began = row.source == self._law.initial
        unbroken = self._count_ids(row, began=began) and not self._told_gap(row)
        broken = "" if began or not unbroken else self._misplaced(row)
        if broken:
            self._charge(row, Article.CONTINUITY, broken)
        if self._last is not None:
            self.counts.restarts += began
            self.counts.clock_back += row.time < self._last.time
        if began:
            self._ruled, self._judge = self._first, Judge(self._first.law, moves_of(self._first.chart))
            self._judge.begin()
        elif broken or not unbroken or self._last is None:
            self._judge.forget()
        return self._last is not None and not (began or broken) and unbroken

    def _told_gap(self, row: Recorded) -> bool:
        self.counts.gaps += row.missing > 0
        self.counts.missing += row.missing
        return row.missing > 0

    def _count_ids(self, row: Recorded, *, began: bool) -> bool:
        """Whether the row has the id that follows; if not that is a breach, unless something accounts for it."""
        ahead = 0 if self._expected is None else row.row_id - self._expected
        if ahead > 0 and row.lagged:
            self.counts.gaps += 1
            self.counts.missing += ahead
        elif ahead > 0:
            lost = f"rows {self._expected} to {row.row_id - 1} are" if ahead > 1 else f"row {self._expected} is"
            self._charge(row, Article.CONTINUITY, f"{lost} lost")
        elif ahead < 0 and began and self._last is not None:
            self.counts.unstored -= ahead
        elif ahead < 0:
            self._charge(row, Article.CONTINUITY, f"row {self._expected} was to follow, not row {row.row_id}")
        return ahead == 0

    def _misplaced(self, row: Recorded) -> str:
        """What is wrong with the place where the step begins; "" if nothing is."""
        if self._last is None:
            return f"the first row begins in {row.source}, not in {self._law.initial}" if self._complete else ""
        if self._last.target in self._law.ends:
            return f"{self._last.target} is an end, and only a restart can follow, no step from {row.source}"
        if self._last.target != row.source:
            return f"the step begins in {row.source}, the one before ended in {self._last.target}"
        return ""

    # -- what the facts say --------------------------------------------------------------------------------------

    def _examine(self, row: Recorded, joined: bool) -> bool:
        """Hold a row against its own facts, and those of the row before; whether it had all the facts for that."""
        enabled = frozenset(name for name, on in self._judge.switches.items() if on)
        finding = examine(row.source, row.event, row.target, row.facts, row.holding, enabled)
        before: Mapping[str, Any] = self._last.facts if joined and self._last is not None else {}
        for text in (*finding.against, *moved_back(row.source, row.event, before, row.facts)):
            self._charge(row, Article.EVIDENCE, text)
        return finding.whole
