"""The transitions of a chart as lines between its states, few enough to be seen at a glance.

A chart has more transitions than a picture can bear. Three rules make them fewer, and none of them tells a lie: all
transitions between the same two states share a line; a transition into the state with which a compound state begins
leads to the border of that compound, as entering it is the same; and lines from or to each state of a compound are one
line from or to the compound. Every line keeps the labels of the transitions that it stands for.

Lines that would run through states arch over them, and what leads past a whole compound goes around everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import attrs

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box
from phasegate.web.layout import Rect

Point = tuple[float, float]
Ends = tuple[str, str]
Stroke = tuple[str, tuple[Point, ...]]
"""A command of an SVG path (`M`, `L`, `Q` or `C`) with its points, along and across the way."""

MARGIN = 14.0
"""Between the whole chart and the lines that go around it."""


def merged(anatomy: Anatomy) -> dict[Ends, list[Arrow]]:
    """The lines of a chart by the states that they join, each with its transitions."""
    lines: dict[Ends, list[Arrow]] = {}
    for arrow in anatomy.arrows:
        lines.setdefault((arrow.source, arrow.target), []).append(arrow)
    for box in anatomy.walk():
        if len(box.inside) > 1 and not box.parallel and not any(inner.inside for inner in box.inside):
            _join(lines, anatomy, box)
    entered: dict[Ends, list[Arrow]] = {}
    for (source, target), arrows in lines.items():
        entered.setdefault((source, _entered(anatomy, source, target)), []).extend(arrows)
    return entered


def _entered(anatomy: Anatomy, source: str, target: str) -> str:
    """The outermost state that is entered by going to the target, and that does not hold the source."""
    entered = target
    for outer in reversed(anatomy.path(target)[:-1]):
        if outer in anatomy.path(source) or anatomy.box(outer).begin != anatomy.box(target).begin:
            break
        entered = outer
    return entered


def _join(lines: dict[Ends, list[Arrow]], anatomy: Anatomy, box: Box) -> None:
    leaves = [leaf.id for leaf in box.inside]
    for other in [state.id for state in anatomy.walk() if box.id not in anatomy.path(state.id)]:
        if other in anatomy.path(box.id):
            continue
        for ends in ([(other, leaf) for leaf in leaves], [(leaf, other) for leaf in leaves]):
            if all(end in lines for end in ends):
                joint = (other, box.id) if ends[0][0] == other else (box.id, other)
                lines.setdefault(joint, []).extend(arrow for end in ends for arrow in lines.pop(end))


@attrs.define
class Router:
    """Finds the way of each line.

    Args:
        anatomy: of the chart.
        places: where its states stand.
        bounds: length and breadth of the whole.
        lines: all that will be drawn, by the states that they join.
    """

    anatomy: Anatomy
    places: Mapping[str, Rect]
    bounds: Point
    lines: Collection[Ends]
    _around: int = 0
    _ports: Counter[tuple[str, bool]] = attrs.field(factory=Counter)

    @property
    def room(self) -> float:
        """How far lines go beyond the whole chart."""
        return MARGIN + 10.0 * self._around

    def route(self, source: str, target: str) -> list[Stroke]:
        """From one state to another."""
        a, b = self.places[source], self.places[target]
        if source in self.anatomy.path(target):
            return _inward(a, b)
        if self._whole_between(a, b):
            return self._past_all(a, b)
        shift = 8.0 if self._comes_back(source, target) else 0.0
        between = [self.places[box.id] for box in self.anatomy.walk() if self._apart(box.id, source, target)]
        if _overlap(a.cross, a.side, b.cross, b.side):
            return self._along(a, b, shift, between)
        if _overlap(a.main, a.end, b.main, b.end):
            return _turn(self._along(_flip(a), _flip(b), shift, [_flip(place) for place in between]))
        return self._bent(source, target)

    def _related(self, one: str, other: str) -> bool:
        return one in self.anatomy.path(other) or other in self.anatomy.path(one)

    def _comes_back(self, source: str, target: str) -> bool:
        """Whether another line leads back, from or to the same states or parts of them."""
        return any(
            self._related(begin, target) and self._related(end, source) and begin not in self.anatomy.path(source)
            for begin, end in self.lines
        )

    def _apart(self, box: str, source: str, target: str) -> bool:
        return not self._related(box, source) and not self._related(box, target)

    def _whole_between(self, a: Rect, b: Rect) -> bool:
        """Whether an outermost compound state stands between two outermost states."""
        outermost = [self.places[box.id] for box in self.anatomy.boxes if box.inside]
        return any(min(a.end, b.end) <= o.main and o.end <= max(a.main, b.main) for o in outermost)

    def _along(self, a: Rect, b: Rect, shift: float, others: Iterable[Rect]) -> list[Stroke]:
        """Between states that stand one behind the other."""
        forward = a.main < b.main
        at = (max(a.cross, b.cross) + min(a.side, b.side)) / 2 + (-shift if forward else shift)
        start, stop = (a.end, b.main) if forward else (a.main, b.end)
        near, far = sorted((start, stop))
        between = [o for o in others if near < o.middle[0] < far and o.cross <= at <= o.side]
        if not between:
            return [("M", ((start, at),)), ("L", ((stop, at),))]
        top = min(o.cross for o in between)
        return _over(a, b, top - 12.0) if top < min(a.cross, b.cross) - 20.0 else _arch(a, b, forward)

    def _past_all(self, a: Rect, b: Rect) -> list[Stroke]:
        self._around += 1
        main, cross = self.bounds[0] + self.room, self.bounds[1] + self.room
        at = a.middle[0] + 9.0 * self._around - 14.0
        return _rounded([(at, a.side), (at, cross), (main, cross), (main, b.middle[1]), (b.end, b.middle[1])])

    def _bent(self, source: str, target: str) -> list[Stroke]:
        """Between states of two lanes, by the corridor between them."""
        a, b = self.places[source], self.places[target]
        down, forward = a.cross < b.cross, a.middle[0] < b.middle[0]
        port = self._ports[target, forward]
        self._ports[target, forward] += 1
        taken = self._ports[source, not forward]
        start = a.end - 18.0 if forward or taken else a.main + 18.0
        stop = b.main + 14.0 + 9.0 * port if forward else b.end - (26.0 if down else 42.0) - 9.0 * port
        half = self._corridor(source, target, down) + (14.0 - 6.0 * port if forward else -8.0 if down else -18.0)
        ends = (a.side, b.cross) if down else (a.cross, b.side)
        return _rounded([(start, ends[0]), (start, half), (stop, half), (stop, ends[1])])

    def _corridor(self, source: str, target: str, down: bool) -> float:
        """The middle between the lanes of two states: where the lower one's begins, and all that is above it ends."""
        lower, upper = (target, source) if down else (source, target)
        beside = [self.places[box.id] for box in self._beside(source, target)]
        edge = self.places[next(one for one in self.anatomy.path(lower) if one not in self.anatomy.path(upper))].cross
        ceiling = max(place.side for place in beside if place.side <= edge)
        return (ceiling + min(place.cross for place in beside if place.cross >= ceiling)) / 2

    def _beside(self, one: str, other: str) -> tuple[Box, ...]:
        """All states of the innermost one that holds both."""
        shared = [state for state in self.anatomy.path(one) if state in self.anatomy.path(other)]
        return self.anatomy.box(shared[-1]).inside if shared else self.anatomy.boxes


def _overlap(a: float, a_end: float, b: float, b_end: float) -> bool:
    return min(a_end, b_end) - max(a, b) > 12.0


def _inward(a: Rect, b: Rect) -> list[Stroke]:
    """From a border to a state inside it."""
    at = b.middle[1] + min(14.0, b.breadth / 4)
    return [("M", ((a.main, at),)), ("L", ((b.main, at),))]


def _arch(a: Rect, b: Rect, forward: bool) -> list[Stroke]:
    """Over states that stand between; backward on the other side."""
    start, stop = (a.middle[0], a.cross if forward else a.side), (b.middle[0], b.cross if forward else b.side)
    height = min(14.0 + 0.035 * abs(stop[0] - start[0]), 40.0) * (-1.0 if forward else 1.0)
    top = (min if forward else max)(start[1], stop[1]) + height
    lean = min(40.0, abs(stop[0] - start[0]) / 3) * (1.0 if forward else -1.0)
    return [("M", (start,)), ("C", ((start[0] + lean / 2, top), (stop[0] - lean / 2, top), stop))]


def _over(a: Rect, b: Rect, top: float) -> list[Stroke]:
    """Over a compound state that stands between, inside the one that holds all three."""
    return _rounded([(a.middle[0], a.cross), (a.middle[0], top), (b.middle[0], top), (b.middle[0], b.cross)])


def _rounded(corners: list[Point], radius: float = 12.0) -> list[Stroke]:
    """Straight pieces between corners that are cut round."""
    strokes: list[Stroke] = [("M", (corners[0],))]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        strokes.append(("L", (_towards(corner, before, radius),)))
        strokes.append(("Q", (corner, _towards(corner, after, radius))))
    return [*strokes, ("L", (corners[-1],))]


def _towards(start: Point, stop: Point, distance: float) -> Point:
    whole = abs(stop[0] - start[0]) + abs(stop[1] - start[1])
    share = min(distance, whole / 2) / whole if whole else 0.0
    return start[0] + (stop[0] - start[0]) * share, start[1] + (stop[1] - start[1]) * share


def _flip(place: Rect) -> Rect:
    return Rect(place.cross, place.main, place.breadth, place.length)


def _turn(strokes: list[Stroke]) -> list[Stroke]:
    return [(command, tuple((cross, main) for main, cross in points)) for command, points in strokes]
