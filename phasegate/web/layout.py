"""Where each state of a chart stands in its picture, worked out from the chart itself.

The picture of the live view is drawn when the server starts, from the chart object that runs, without another program.
It comes in two flows: wide, in which time goes from left to right, and tall for a phone, in which it goes down. Both
are one layout: everything is measured along the way (`main`) and across it (`cross`), and only at the end it is said
which of them is x.

The rules are few. States beside each other stand in a row. Where a state holds several compound states, each of these
begins a lane, and simple states that follow end one lane each, or stand in a stack behind all when there are more of
them than lanes. Regions that are active together are stacked. Compound states of one column are equally long.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import attrs

from phasegate.statecharts.anatomy import Anatomy, Box


class Flow(StrEnum):
    """Which way time goes."""

    WIDE = "wide"
    TALL = "tall"


LETTER = 7.1
"""How wide a letter of a name is, in the picture's units, on the average."""
ONE_LINE = 12
"""Letters of a name that is not broken."""
PAD = 16.0
TITLE = 34.0
"""Room for the title of a compound state, and for the lines that arch over its row."""


@attrs.frozen
class Rect:
    """A place along and across the way."""

    main: float
    cross: float
    length: float
    breadth: float

    @property
    def end(self) -> float:
        """Where it ends along the way."""
        return self.main + self.length

    @property
    def side(self) -> float:
        """Where it ends across the way."""
        return self.cross + self.breadth

    @property
    def middle(self) -> tuple[float, float]:
        """Its middle."""
        return self.main + self.length / 2, self.cross + self.breadth / 2

    def moved(self, main: float, cross: float) -> Rect:
        """The same elsewhere."""
        return attrs.evolve(self, main=self.main + main, cross=self.cross + cross)


@attrs.frozen
class Block:
    """A part of the picture: how large it is, and where its states stand in it."""

    length: float
    breadth: float
    places: dict[str, Rect]

    def moved(self, main: float, cross: float) -> dict[str, Rect]:
        """Its states, when it stands there."""
        return {name: place.moved(main, cross) for name, place in self.places.items()}


def words(name: str) -> tuple[str, ...]:
    """The name of a state in one line or two of about the same length."""
    parts = name.split()
    if len(name) <= ONE_LINE or len(parts) == 1:
        return (name,)
    breaks = [(" ".join(parts[:at]), " ".join(parts[at:])) for at in range(1, len(parts))]
    return min(breaks, key=lambda lines: max(map(len, lines)))


def lay_out(anatomy: Anatomy, flow: Flow, phases: Sequence[str]) -> Block:
    """The places of all states; `phases` are leaves with room for figures."""
    return _Layout(flow, frozenset(phases)).among(anatomy.boxes)


@attrs.frozen
class _Layout:
    flow: Flow
    phases: frozenset[str]

    @property
    def gap(self) -> float:
        """Between states of a row."""
        return 36.0 if self.flow is Flow.WIDE else 26.0

    @property
    def lane_gap(self) -> float:
        """Between lanes, and between what is stacked."""
        return 58.0 if self.flow is Flow.WIDE else 42.0

    def among(self, boxes: Sequence[Box], least: float = 0.0) -> Block:
        """States that lie in the same one, at least so long together."""
        first = next((at for at, box in enumerate(boxes) if box.inside), None)
        if first is None:
            return _row(self._leaves(boxes), self.gap, least)
        heads = [box for box in boxes if box.inside]
        tails = self._leaves([box for box in boxes[first:] if not box.inside])
        longest = max(self._compound(head).length for head in heads)
        rows = [self._compound(head, longest) for head in heads]
        if len(tails) == len(rows):
            rows = [_row([row, tail], self.gap) for row, tail in zip(rows, tails, strict=True)]
            tails = []
        lanes = _stack(rows, self.lane_gap)
        behind = [_stack(tails, 18.0, least=lanes.breadth * 0.62)] if tails else []
        return _row([*self._leaves(boxes[:first]), lanes, *behind], self.gap + 8, least)

    def _compound(self, box: Box, least: float = 0.0) -> Block:
        along, across = (PAD, TITLE) if self.flow is Flow.WIDE else (TITLE, PAD)
        inside = self.regions(box.inside, least) if box.parallel else self.among(box.inside, least - along - PAD)
        length, breadth = inside.length + along + PAD, inside.breadth + across + PAD
        own = Rect(0.0, 0.0, length, breadth)
        return Block(length, breadth, {box.id: own, **inside.moved(along, across)})

    def regions(self, boxes: Sequence[Box], least: float) -> Block:
        """Regions beside each other; on a phone they lie one below the other, and the way inside them is across."""
        if self.flow is Flow.TALL:
            return _turned(_Layout(Flow.WIDE, self.phases).regions(boxes, 0.0))
        regions = [self._compound(box) for box in boxes]
        longest = max([least, *[region.length for region in regions]])
        return _stack([self._compound(box, longest) for box in boxes], 10.0)

    def _leaves(self, boxes: Sequence[Box]) -> list[Block]:
        """Simple states of one row are equally large."""
        if not boxes:
            return []
        width = max(self._width(box) for box in boxes)
        height = max(self._height(box) for box in boxes)
        length, breadth = (width, height) if self.flow is Flow.WIDE else (height, width)
        return [Block(length, breadth, {box.id: Rect(0.0, 0.0, length, breadth)}) for box in boxes]

    def _width(self, box: Box) -> float:
        letters = max(map(len, words(box.name)))
        return max(148.0 if box.id in self.phases else 76.0, letters * LETTER + 26.0)

    def _height(self, box: Box) -> float:
        return 68.0 if box.id in self.phases else 24.0 + 17.0 * len(words(box.name))


def _row(blocks: Sequence[Block], gap: float, least: float = 0.0) -> Block:
    """One behind the other, each in the middle of the way; the gaps grow when it has to be longer."""
    taken = sum(block.length for block in blocks)
    gaps = len(blocks) - 1
    length, breadth = max(taken + gap * gaps, least), max(block.breadth for block in blocks)
    wide = (length - taken) / gaps if gaps else 0.0
    places: dict[str, Rect] = {}
    at = 0.0 if gaps else (length - taken) / 2
    for block in blocks:
        places |= block.moved(at, (breadth - block.breadth) / 2)
        at += block.length + wide
    return Block(length, breadth, places)


def _stack(blocks: Sequence[Block], gap: float, least: float = 0.0) -> Block:
    """One beside the other across the way."""
    turned = _row([_turned(block) for block in blocks], gap, least)
    return _turned(turned)


def _turned(block: Block) -> Block:
    places = {name: Rect(at.cross, at.main, at.breadth, at.length) for name, at in block.places.items()}
    return Block(block.breadth, block.length, places)
