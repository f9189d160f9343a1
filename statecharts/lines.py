"""What the response lines of a law say of one step: which of them are about it, and which leaves they let be entered.

Where one leaf is active one line has to fit exactly: the same guards, asked in the same order. Where regions are active
each leaf has a line of its own, and what no region takes for itself is the business of the state that holds them. Then
the lines share the guards that were asked: every guard of each has to have been asked, and none beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from phasegate.statecharts.law import Answers, Law, Response


@attrs.frozen
class Said:
    """What a law says of one step.

    Args:
        known: the law has lines about this event here, be it in one region only.
        lines: those that are about this step; none if it is a case that the law does not know.
        entered: the leaves that have to be entered, each once; none for a refusal.
    """

    known: bool
    lines: tuple[Response, ...] = ()
    entered: tuple[str, ...] = ()


class Lines:
    """The response lines of a law, to be looked up."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._exact = {(line.leaf, line.event, line.answers): line for line in law.responses}
        self._of: dict[tuple[str, str], list[tuple[Response, Mapping[str, bool]]]] = {}
        for line in law.responses:
            self._of.setdefault((line.leaf, line.event), []).append((line, dict(line.answers)))

    def about(self, leaves: Sequence[str], event: str, answers: Answers) -> Said:
        """What the law says of `event` where `leaves` are active, after `answers`."""
        if self._law.beside is not None and not self._law.beside.leaves.isdisjoint(leaves):
            return self._about_regions(leaves, event, dict(answers))
        leaf = leaves[0] if len(leaves) == 1 else ""
        line = self._exact.get((leaf, event, answers))
        known = (leaf, event) in self._of
        return Said(known) if line is None else Said(known, (line,), self._entered_by(line))

    def answered(self, leaves: Sequence[str], event: str) -> bool:
        """Whether the law has any line about `event` where `leaves` are active."""
        return any((owner, event) in self._of for owner in self._owners(leaves))

    def leading(self, leaves: Sequence[str], event: str) -> list[tuple[str, ...]]:
        """The leaves that each line about `event` lets be entered where `leaves` are active."""
        lines = [line for owner in self._owners(leaves) for line, _ in self._of.get((owner, event), ())]
        return [self._entered_by(line) for line in lines if line.target is not None]

    def _owners(self, leaves: Sequence[str]) -> tuple[str, ...]:
        beside = self._law.beside
        held = beside is not None and not beside.leaves.isdisjoint(leaves)
        return (*leaves, beside.state) if beside is not None and held else tuple(leaves)

    def _about_regions(self, leaves: Sequence[str], event: str, asked: Mapping[str, bool]) -> Said:
        *inner, outer = self._owners(leaves)
        fitting: list[Response] = []
        stays = False
        for leaf in inner:
            line = self._fitting(leaf, event, asked)
            if line is None and (leaf, event) in self._of:
                return Said(known=True)
            stays = stays or line is None or line.target is None
            fitting += [] if line is None else [line]
        taken = [line for line in fitting if line.target is not None]
        if stays and (outer, event) in self._of:
            line = self._fitting(outer, event, asked)
            if line is None:
                return Said(known=True)
            fitting.append(line)
            taken = taken or ([line] if line.target is not None else [])
        if {name for line in fitting for name, _ in line.answers} != asked.keys():
            return Said(self.answered(leaves, event))
        return Said(bool(fitting), tuple(fitting), tuple(leaf for line in taken for leaf in self._entered_by(line)))

    def _fitting(self, owner: str, event: str, asked: Mapping[str, bool]) -> Response | None:
        for line, answers in self._of.get((owner, event), ()):
            if answers.items() <= asked.items():
                return line
        return None

    def _entered_by(self, line: Response) -> tuple[str, ...]:
        beside = self._law.beside
        if line.target is None:
            return ()
        return beside.begin if beside is not None and line.target == beside.state else (line.target,)
