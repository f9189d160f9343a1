"""Charts drawn from the object that runs: Mermaid, Markdown tables, DOT, and with graphviz SVG and PNG.

Mermaid draws nested states well as long as all relations stand outside the states: one written inside a state moves the
states that it names into that one. It cannot tie a state to a part of itself; such an arrow is drawn from each leaf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box, read
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.dot import Numbered, dot, numbers, picture
from phasegate.statecharts.form import Form
from phasegate.statecharts.places import leaves_of
from phasegate.statecharts.relation import Step
from phasegate.statecharts.table import taken


def draw(chart: type[Chart[Any]], form: Form, active: str | None = None) -> bytes:
    """The chart drawn; text forms are UTF-8. With `active`, that state and those around it are highlighted.

    Raises:
        ValueError: if the chart has no state `active`, or uses what no chart here uses.
        GraphvizError: for SVG and PNG if the program `dot` of graphviz is missing or refuses.
    """
    anatomy = read(chart)
    path = _path(anatomy, active)
    if form is Form.MERMAID:
        return mermaid(anatomy, path).encode()
    if form is Form.MD:
        return markdown(anatomy, path).encode()
    text = dot(anatomy, path)
    return text.encode() if form is Form.DOT else picture(text, form.value)


def draw_way(anatomy: Anatomy, way: Sequence[Step], form: Form = Form.MERMAID) -> bytes:
    """The chart drawn with a way through it marked: the steps numbered on their arrows, the last state highlighted.

    Args:
        anatomy: the tables of the chart.
        way: steps of it, from the start; refused ones move nothing and get no number.
        form: text forms are UTF-8; Markdown has no pictures and is refused.

    Raises:
        ValueError: for Markdown.
        GraphvizError: for SVG and PNG if the program `dot` of graphviz is missing or refuses.
    """
    if form is Form.MD:
        raise ValueError("a table cannot show a way through a chart")
    last = [leaf for leaf in anatomy.leaves if way and leaf in way[-1].target]
    path, steps = tuple(dict.fromkeys(s for leaf in last for s in anatomy.path(leaf))), _numbered(anatomy, way)
    if form is Form.MERMAID:
        return mermaid(anatomy, path, steps).encode()
    text = dot(anatomy, path, steps)
    return text.encode() if form is Form.DOT else picture(text, form.value)


def mermaid(anatomy: Anatomy, active: tuple[str, ...] = (), steps: Numbered | None = None) -> str:
    """The chart as a Mermaid state diagram (version 2), with steps numbered on their arrows."""
    lines = ["stateDiagram-v2", "    direction TB", *_states(anatomy.boxes, "    ")]
    for arrow in anatomy.arrows:
        told = numbers(steps, arrow)
        lines += [f"    {tail} --> {arrow.target} : {told}{arrow.label}" for tail in _tails(anatomy, arrow)]
    if active:
        lines.append("    classDef active fill:#7fe3d8,stroke:#00909e,stroke-width:2px")
        lines += [f"    class {state} active" for state in _innermost(anatomy, active)]
    return "\n".join(lines) + "\n"


def _innermost(anatomy: Anatomy, active: tuple[str, ...]) -> list[str]:
    """Of the active states those that hold no other."""
    return [state for state in active if not any(state in anatomy.path(other)[:-1] for other in active)]


def _numbered(anatomy: Anatomy, way: Sequence[Step]) -> Numbered:
    steps: dict[Arrow, list[int]] = {}
    for number, step in enumerate(way, 1):
        for arrow in taken(anatomy, step):
            steps.setdefault(arrow, []).append(number)
    return steps


def markdown(anatomy: Anatomy, active: tuple[str, ...] = ()) -> str:
    """The chart as two Markdown tables: its states with their actions, its transitions with their guards."""
    states = [_state_row(anatomy, box, box.id in active) for box in anatomy.walk()]
    moves = [_move_row(anatomy, arrow) for arrow in anatomy.arrows]
    return "\n".join(
        [
            f"# {anatomy.name}",
            "",
            *_table(("State", "Id", "Inside", "Begins with", "On entry", "On exit"), states),
            "",
            *_table(("From", "Event", "Guards", "Action", "To"), moves),
            "",
        ]
    )


def _path(anatomy: Anatomy, active: str | None) -> tuple[str, ...]:
    """The active states, with those around them; `active` is a state, or a place where several are active."""
    known, named = [box.id for box in anatomy.walk()], leaves_of(active) if active else ()
    for state in named:
        if state not in known:
            raise ValueError(f"{anatomy.name} has no state {state!r}; its states are {', '.join(known)}")
    return tuple(dict.fromkeys(around for state in named for around in anatomy.path(state)))


def _states(boxes: tuple[Box, ...], pad: str) -> Iterator[str]:
    begin = next((box for box in boxes if box.initial), boxes[0])
    yield f"{pad}[*] --> {begin.id}"
    yield from _boxes(boxes, pad)


def _boxes(boxes: tuple[Box, ...], pad: str) -> Iterator[str]:
    for box in boxes:
        yield f'{pad}state "{box.name}" as {box.id}' + (" {" if box.inside else "")
        if box.parallel:
            yield from _regions(box, pad + "    ")
        elif box.inside:
            yield from _states(box.inside, pad + "    ")
        if box.inside:
            yield f"{pad}}}"
        for action in _actions(box):
            yield f"{pad}{box.id} : {action}"
        if box.final:
            yield f"{pad}{box.id} --> [*]"


def _regions(box: Box, pad: str) -> Iterator[str]:
    """The regions of a parallel state, which Mermaid wants to be divided."""
    for place, region in enumerate(box.inside):
        yield from (f"{pad}--",) if place else ()
        yield from _boxes((region,), pad)


def _actions(box: Box) -> Iterator[str]:
    yield from (f"entry / {name}" for name in box.entry)
    yield from (f"exit / {name}" for name in box.exit)


def _tails(anatomy: Anatomy, arrow: Arrow) -> tuple[str, ...]:
    source = anatomy.box(arrow.source)
    if source.inside and arrow.source in anatomy.path(arrow.target):
        return tuple(leaf.id for leaf in source.leaves)
    return (arrow.source,)


def _state_row(anatomy: Anatomy, box: Box, active: bool) -> tuple[str, ...]:
    around = anatomy.path(box.id)[:-1]
    name = f"**{box.name}**" if active else box.name
    begins = ", ".join(leaf.name for leaf in box.begin) if box.inside else "(an end)" if box.final else ""
    inside = anatomy.box(around[-1]).name if around else ""
    return (name, f"`{box.id}`", inside, begins, _code(box.entry), _code(box.exit))


def _move_row(anatomy: Anatomy, arrow: Arrow) -> tuple[str, ...]:
    source, target = anatomy.box(arrow.source).name, anatomy.box(arrow.target).name
    return (source, f"`{arrow.event}`", _code(arrow.guards), _code(arrow.actions), target)


def _code(names: Iterable[object]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)) + " |"
    yield "| " + " | ".join("-" * max(3, width) for width in widths) + " |"
    for row in rows:
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
