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
from phasegate.statecharts.lines import Lines
from phasegate.statecharts.places import leaves_of, place
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
        self._lines = Lines(law)
        self.proven: set[str] | None = set()
        self.switches: dict[str, bool] = {}
        self.sure = True
        """Whether the last step could be judged wholly."""

    def under(self, law: Law, moves: Moves) -> Judge:
        """Another judge, by another law, who knows what this one knows."""
        judge = Judge(law, moves)
        judge.proven, judge.switches = self.proven, self.switches
        return judge

    def begin(self) -> None:
        """The program begins: nothing is proven, any configuration may be chosen."""
        self.proven, self.switches = set(), {}

    def forget(self) -> None:
        """Something is missing in the journal here: what is proven, and how the switches stand, is unknown."""
        self.proven, self.switches = None, {}

    def judge(self, row: Recorded) -> list[tuple[Article, str]]:
        """All that speaks against a step, article by article."""
        self.sure = True
        strange = self._strange(row.source) or self._strange(row.target)
        if strange or row.event not in self._moves.events:
            self.forget()
            what = f"no state {strange}" if strange else f"no event {row.event}"
            return [(Article.CHART, f"the chart has {what}")]
        heard: Mapping[str, bool]
        if (holding := row.holding) is None:
            candidates = self._moves.leading(row.source, row.event, row.target)
            charges, heard = self._by_some_answers(row, candidates), heard_in_all(candidates)
        else:
            move = self._moves.taken(row.source, row.event, holding)
            charges, heard = self._by_answers(row, move), move.heard
        return [*charges, *self._enabling(row, heard), *self._guarded(row, heard), *self._ordering(row, heard)]

    def _strange(self, place: str) -> str:
        """What is no place of the chart: a leaf that it does not have, or leaves that are never active together."""
        leaves = leaves_of(place)
        unknown = sorted({*leaves} - self._moves.leaves)
        return unknown[0] if unknown else "" if self._law.fits(leaves) else place

    # -- where the step leads ------------------------------------------------------------------------------------

    def _by_answers(self, row: Recorded, move: Move) -> Charges:
        case = _case(row, move.answers)
        if move.target != row.target:
            yield Article.CHART, f"{case} {_outcome(move.target)}, it does not lead to {row.target}"
        source, target = leaves_of(row.source), leaves_of(row.target)
        about = self._lines.about(source, row.event, move.answers)
        if not self._lines.answered(source, row.event):
            yield Article.RESPONSE, f"no line of the law allows {case}"
        elif not about.lines:
            yield Article.RESPONSE, f"the law does not know {case}"
        elif (lawful := self._law.after(source, about.entered)) != target:
            led = None if lawful is None else place(lawful)
            yield Article.RESPONSE, f"by the law {case} {_outcome(led)}, not to {row.target}"

    def _by_some_answers(self, row: Recorded, candidates: tuple[Move, ...]) -> Charges:
        case = _case(row, ())
        if not candidates:
            yield Article.CHART, f"{case} never leads to {row.target}, whatever the guards say"
        source, target = leaves_of(row.source), leaves_of(row.target)
        if not self._law.may_lead(source, target, self._lines.leading(source, row.event)):
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
        for leaf in _entered(row):
            switch = self._law.enabled_by.get(leaf, "")
            if self.switches.get(switch) is False:
                yield Article.ENABLING, f"{leaf} is entered although {switch} is off"

    def _guarded(self, row: Recorded, heard: Mapping[str, bool]) -> Charges:
        for leaf in _entered(row):
            for guard in self._law.guarded.get(leaf, ()):
                if not heard.get(guard):
                    yield Article.GUARDED, f"{leaf} is entered without a yes from {guard}"

    def _ordering(self, row: Recorded, heard: Mapping[str, bool]) -> Charges:
        entered = _entered(row)
        if not all(self._law.requires.get(leaf) for leaf in entered):
            self.proven = set()
        elif self.proven is None:
            self.sure = False
        else:
            left = self._left(row)
            self.proven.update(
                phase for phase, guard in self._law.completed_by.items()
                if heard.get(guard) and self._law.left_with(phase) in left
            )  # fmt: skip
            for leaf in entered:
                for phase in self._law.requires[leaf]:
                    if phase not in self.proven and self._enabled(phase):
                        yield Article.ORDERING, f"{leaf} is entered before {phase} is proven complete"
                        self.proven.add(phase)  # told once a walk

    def _left(self, row: Recorded) -> set[str]:
        """The leaves that are left, and what holds regions if it is."""
        source, target, beside = leaves_of(row.source), leaves_of(row.target), self._law.beside
        left = set(source) if len(target) == 1 else set(source) - set(target)
        out = beside is not None and not beside.leaves.isdisjoint(source) and beside.leaves.isdisjoint(target)
        return left | ({beside.state} if beside is not None and out else set())

    def _enabled(self, phase: str) -> bool:
        """Whether a phase is known to be enabled."""
        switch = self._law.enabled_by.get(phase)
        return switch is None or self.switches.get(switch, False)


def _entered(row: Recorded) -> tuple[str, ...]:
    """The leaves that are entered: of regions those that were not active before."""
    source, target = leaves_of(row.source), leaves_of(row.target)
    return target if len(target) == 1 else tuple(leaf for leaf in target if leaf not in source)


def _case(row: Recorded, answers: Answers) -> str:
    return f"{row.event} in {row.source}" + (f" [{said(answers)}]" if answers else "")


def _outcome(target: str | None) -> str:
    return "is refused" if target is None else f"leads to {target}"
