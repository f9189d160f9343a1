"""The chart as SVG for the page: no text that is not the chart's own, no colours, no script.

States carry their id as `data-state`, lines the states that they join as `data-line`; style sheet and script of the
page do the rest. A phase has a place for its figures and a fill that grows. What a line stands for is told in its
`title`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import atan2, cos, pi, sin

import attrs

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box
from phasegate.statecharts.relation import Step
from phasegate.statecharts.table import taken
from phasegate.web.layout import Block, Flow, Rect, lay_out, words
from phasegate.web.lines import Ends, Point, Router, Stroke, merged

HEAD = 8.0
"""How long an arrow's head is."""
EDGE = 6.0


@attrs.frozen
class Picture:
    """A chart drawn for the page, and which line each of its transitions became."""

    wide: str
    tall: str
    keys: dict[Arrow, str]

    def lines(self, anatomy: Anatomy, step: Step) -> list[str]:
        """The lines that a step took; none if it was refused."""
        return list(dict.fromkeys(self.keys[arrow] for arrow in taken(anatomy, step)))


def draw(anatomy: Anatomy, phases: Sequence[str]) -> Picture:
    """The chart in both flows; `phases` are the states that have figures."""
    lines = merged(anatomy)
    keys = {arrow: _key(ends) for ends, arrows in lines.items() for arrow in arrows}
    wide, tall = (_Drawing(anatomy, flow, lines, lay_out(anatomy, flow, phases), phases).svg() for flow in Flow)
    return Picture(wide, tall, keys)


def _key(ends: Ends) -> str:
    return f"{ends[0]}>{ends[1]}"


@attrs.frozen
class _Drawing:
    anatomy: Anatomy
    flow: Flow
    lines: dict[Ends, list[Arrow]]
    block: Block
    phases: Sequence[str]

    def svg(self) -> str:
        router = Router(self.anatomy, self.block.places, (self.block.length, self.block.breadth), self.lines)
        drawn = [self._line(router, ends, arrows) for ends, arrows in self.lines.items()]
        start = self._start()
        boxes = [text for box in self.anatomy.boxes for text in self._box(box)]
        length, breadth = self.block.length + router.room + EDGE, self.block.breadth + router.room + EDGE
        lead = 30.0 if self.flow is Flow.WIDE else 24.0
        x, y, width, height = (
            (-lead, -EDGE, length + lead, breadth + EDGE)
            if self.flow is Flow.WIDE
            else (-EDGE, -lead, breadth + EDGE, length + lead)
        )
        name, own = escape(self.anatomy.name), self.flow.value
        return "\n".join(
            [
                f'<svg class="chart {own}" viewBox="{_n(x)} {_n(y)} {_n(width)} {_n(height)}" role="img" '
                f'aria-labelledby="{own}-title {own}-desc" xmlns="http://www.w3.org/2000/svg">',
                f'<title id="{own}-title">{name}</title>',
                f'<desc id="{own}-desc">The states of the sync and the ways between them; the active state is lit. '
                "The same is told by the heading and by the journal.</desc>",
                *(text for text in boxes if 'class="compound"' in text),
                start,
                *drawn,
                *(text for text in boxes if 'class="compound"' not in text),
                "</svg>",
            ]
        )

    def _box(self, box: Box) -> Iterator[str]:
        place = self.block.places[box.id]
        if not box.inside:
            yield self._leaf(box, place)
            return
        x, y, width, height = self._xy(place)
        yield (
            f'<g class="compound" data-state="{box.id}"><rect {_rect(x, y, width, height)} rx="14"/>'
            f'<text x="{_n(x + 14)}" y="{_n(y + 21)}">{escape(box.name)}</text></g>'
        )
        for inner in box.inside:
            yield from self._box(inner)

    def _leaf(self, box: Box, place: Rect) -> str:
        x, y, width, height = self._xy(place)
        phase, lines = box.id in self.phases, words(box.name)
        kind = "state" + (" phase" if phase else "") + (" end" if box.final else "")
        first = y + (22 if phase else height / 2 - 8.5 * (len(lines) - 1) + 4.5)
        text = "".join(
            f'<tspan x="{_n(x + width / 2)}" y="{_n(first + 17 * at)}">{escape(line)}</tspan>'
            for at, line in enumerate(lines)
        )
        clip = f"{self.flow.value}-{box.id}"
        rounded = f'{_rect(x, y, width, height)} rx="9"'
        fill = (
            f'<clipPath id="{clip}"><rect {rounded}/></clipPath>'
            f'<rect class="fill" {_rect(x, y, 0, height)} data-full="{_n(width)}" clip-path="url(#{clip})"/>'
        )
        figure = f'<text class="figure" x="{_n(x + width / 2)}" y="{_n(y + height - 11)}"></text>'
        return (
            f'<g class="{kind}" data-state="{box.id}"><title>{escape(_told(box))}</title><rect class="box" {rounded}/>'
            f'{fill if phase else ""}<text class="name">{text}</text>{figure if phase else ""}</g>'
        )

    def _line(self, router: Router, ends: Ends, arrows: list[Arrow]) -> str:
        source, target = ends
        strokes = router.route(source, target)
        names = {state: self.anatomy.box(state).name for state in ends}
        labels = "\n".join(dict.fromkeys(arrow.label for arrow in arrows))
        told = escape(f"{names[source]} → {names[target]}\n{labels}")
        path, head = self._path(strokes), self._head(strokes)
        return (
            f'<g class="line" data-line="{_key(ends)}"><title>{told}</title><path class="way" d="{path}"/>'
            f'<path class="head" d="{head}"/></g>'
        )

    def _start(self) -> str:
        first = self.block.places[self.anatomy.boxes[0].id]
        strokes: list[Stroke] = [
            ("M", ((first.main - 20.0, first.middle[1]),)),
            ("L", ((first.main, first.middle[1]),)),
        ]
        x, y = self._point(strokes[0][1][0])
        path, head = self._path(strokes), self._head(strokes)
        return (
            f'<g class="start"><circle cx="{_n(x)}" cy="{_n(y)}" r="4"/><path class="way" d="{path}"/>'
            f'<path class="head" d="{head}"/></g>'
        )

    def _point(self, point: Point) -> Point:
        return point if self.flow is Flow.WIDE else (point[1], point[0])

    def _xy(self, place: Rect) -> tuple[float, float, float, float]:
        x, y = self._point((place.main, place.cross))
        width, height = self._point((place.length, place.breadth))
        return x, y, width, height

    def _path(self, strokes: list[Stroke]) -> str:
        return " ".join(
            command + " ".join(f"{_n(x)},{_n(y)}" for x, y in map(self._point, points)) for command, points in strokes
        )

    def _head(self, strokes: list[Stroke]) -> str:
        """A triangle at the end of a line, in its direction."""
        points = [self._point(point) for _, group in strokes for point in group]
        (x, y), (before_x, before_y) = points[-1], points[-2]
        angle = atan2(y - before_y, x - before_x)
        corners = [(x - HEAD * cos(angle + turn), y - HEAD * sin(angle + turn)) for turn in (-pi / 7, pi / 7)]
        return f"M{_n(x)},{_n(y)} " + " ".join(f"L{_n(cx)},{_n(cy)}" for cx, cy in corners) + " Z"


def _told(box: Box) -> str:
    actions = [f"entry / {name}" for name in box.entry] + [f"exit / {name}" for name in box.exit]
    return "\n".join([f"{box.name} ({box.id})", *actions])


def _rect(x: float, y: float, width: float, height: float) -> str:
    return f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
