"""What the law says of one recorded step, with what the steps before it have proven.

The articles, as the exploration has them: `chart` is the machine itself, which must go where the journal went; the
others are the parts of the law (`statecharts.law`). The judge remembers two things: which phases are proven complete in
this walk, and how the switches of the configuration stand. Both may be unknown, as in the middle of a journal whose
beginning is lost; then what rests on them is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

import attrs

from phasegate.statecharts.law import Answers, Law
from phasegate.statecharts.walk import said
from phasegate.verification.moves import Move, Moves, heard_in_all
from phasegate.verification.recorded import Recorded


class Article(StrEnum):
    """The articles of law that a journal can break."""

    ORDERING = "ordering"
    ENABLING = "enabling"
    GUARDED = "guarded"
    RESPONSE = "response"
    CONTINUITY = "continuity"
    CHART = "chart"
    EVIDENCE = "evidence"


@attrs.frozen
class Breach:
    """The row that breaks an article of the law, and how, in one line."""

    row_id: int
    law: Article
    text: str


Charges = Iterator[tuple[Article, str]]


class Judge:
    """Judges the steps of one journal, in their order.

    Args:
        law: the law.
        moves: what the chart does.
    """

    def __init__(self, law: Law, moves: Moves) -> None:
        self._law = law
        self._moves = moves
        self._names = law.switches
        self._lines = {(line.leaf, line.event, line.answers): line.target for line in law.responses}
        self._ways = {(line.leaf, line.event, line.target) for line in law.responses}
        self._answered = {(line.leaf, line.event) for line in law.responses}
        self.proven: set[str] | None = set()
        self.switches: dict[str, bool] = {}
        self.sure = True
        """Whether the last step could be judged wholly."""

    def begin(self) -> None:
        """The program begins: nothing is proven, any configuration may be chosen."""
        self.proven, self.switches = set(), {}

    def forget(self) -> None:
        """Something is missing in the journal here: what is proven, and how the switches stand, is unknown."""
        self.proven, self.switches = None, {}

    def judge(self, row: Recorded) -> list[tuple[Article, str]]:
        """All that speaks against a step, article by article."""
        self.sure = True
        strange = sorted({row.source, row.target} - self._moves.leaves)
        if strange or row.event not in self._moves.events:
            self.forget()
            what = f"no state {strange[0]}" if strange else f"no event {row.event}"
            return [(Article.CHART, f"the chart has {what}")]
        heard: Mapping[str, bool]
        if (holding := row.holding) is None:
            candidates = self._moves.leading(row.source, row.event, row.target)
            charges, heard = self._by_some_answers(row, candidates), heard_in_all(candidates)
        else:
            move = self._moves.taken(row.source, row.event, holding)
            charges, heard = self._by_answers(row, move), move.heard
        return [*charges, *self._enabling(row, heard), *self._guarded(row, heard), *self._ordering(row, heard)]

    # -- where the step leads ------------------------------------------------------------------------------------

    def _by_answers(self, row: Recorded, move: Move) -> Charges:
        case = _case(row, move.answers)
        if move.target != row.target:
            yield Article.CHART, f"{case} {_outcome(move.target)}, it does not lead to {row.target}"
        line = row.source, row.event, move.answers
        if (row.source, row.event) not in self._answered:
            yield Article.RESPONSE, f"no line of the law allows {case}"
        elif line not in self._lines:
            yield Article.RESPONSE, f"the law does not know {case}"
        elif self._lines[line] != row.target:
            yield Article.RESPONSE, f"by the law {case} {_outcome(self._lines[line])}, not to {row.target}"

    def _by_some_answers(self, row: Recorded, candidates: tuple[Move, ...]) -> Charges:
        case = _case(row, ())
        if not candidates:
            yield Article.CHART, f"{case} never leads to {row.target}, whatever the guards say"
        if (row.source, row.event, row.target) not in self._ways:
            yield Article.RESPONSE, f"no line of the law leads by {case} to {row.target}"

    # -- what the law demands of the leaf that is entered --------------------------------------------------------

    def _enabling(self, row: Recorded, heard: Mapping[str, bool]) -> Charges:
        holding = row.holding
        for name in self._names:
            answer = heard.get(name) if holding is None else name in holding
            if answer is not None:
                if self.switches.get(name, answer) is not answer:
                    yield Article.ENABLING, f"{name} was turned {'on' if answer else 'off'} without a restart"
                self.switches[name] = answer
        switch = self._law.enabled_by.get(row.target, "")
        if self.switches.get(switch) is False:
            yield Article.ENABLING, f"{row.target} is entered although {switch} is off"

    def _guarded(self, row: Recorded, heard: Mapping[str, bool]) -> Charges:
        for guard in self._law.guarded.get(row.target, ()):
            if not heard.get(guard):
                yield Article.GUARDED, f"{row.target} is entered without a yes from {guard}"

    def _ordering(self, row: Recorded, heard: Mapping[str, bool]) -> Charges:
        required = self._law.requires.get(row.target)
        if not required:
            self.proven = set()
        elif self.proven is None:
            self.sure = False
        else:
            if heard.get(self._law.completed_by.get(row.source, "")):
                self.proven.add(row.source)
            for phase in required:
                if phase not in self.proven and self._enabled(phase):
                    yield Article.ORDERING, f"{row.target} is entered before {phase} is proven complete"
                    self.proven.add(phase)  # told once a walk

    def _enabled(self, phase: str) -> bool:
        """Whether a phase is known to be enabled."""
        switch = self._law.enabled_by.get(phase)
        return switch is None or self.switches.get(switch, False)


def _case(row: Recorded, answers: Answers) -> str:
    return f"{row.event} in {row.source}" + (f" [{said(answers)}]" if answers else "")


def _outcome(target: str | None) -> str:
    return "is refused" if target is None else f"leads to {target}"
