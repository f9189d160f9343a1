"""Charts in the DOT language, and as pictures where graphviz is present.

The stock drawing of a nested chart is wrong: it adds edges inside the cluster of their source, which drags foreign
targets into that cluster. Here every edge belongs to the root graph. An edge from or to a state that holds others is
tied to the first leaf inside and clipped at the border; one that leads from such a state into itself starts at a small
"any" node, since a border cannot be its own tail. Edges between the same two states share one line. Edges that lead
back in document order do not push states downwards, so the picture reads from top to bottom.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box

GRAPH = """  compound=true; rankdir=TB; nodesep=0.35; ranksep=0.45; fontname="Helvetica"; fontsize=13;
  node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica", fontsize=12, margin="0.12,0.06"];
  edge [fontname="Helvetica", fontsize=10, arrowsize=0.8, labeldistance=2.5];"""
POINT = 'shape=circle, style=filled, fillcolor=black, label="", width=0.13, fixedsize=true'
ANY = 'shape=plaintext, style="", margin="0.02,0.02", fontsize=10'
COLORS = ("#1a6b3c", "#222222", "#b02a2a", "#6b6b6b", "#1f5fa8", "#6a3d9a", "#8a5a00", "#007a7a", "#555555")
FILL = "#7fe3d8"
BORDER = "#00909e"
MARKED = "#d00000"

Numbered = Mapping[Arrow, Sequence[int]]
"""The numbers of the steps of a way, by the arrow that each takes."""


class GraphvizError(Exception):
    """The program `dot` of graphviz, which draws SVG and PNG, is missing or refused; the message tells which."""


def dot(anatomy: Anatomy, active: tuple[str, ...] = (), steps: Numbered | None = None) -> str:
    """The chart in the DOT language, with the `active` states highlighted and the arrows of a way marked."""
    lines = [f"digraph {anatomy.name} {{", GRAPH]
    lines += _level(anatomy, anatomy.boxes, "", active, "  ")
    for source, target in dict.fromkeys((arrow.source, arrow.target) for arrow in anatomy.arrows):
        shared = [arrow for arrow in anatomy.arrows if (arrow.source, arrow.target) == (source, target)]
        lines.append(f"  {_edge(anatomy, source, target, shared, steps)};")
    return "\n".join([*lines, "}", ""])


def numbers(steps: Numbered | None, arrow: Arrow) -> str:
    """The numbers of the steps that take an arrow, as they are written before its label."""
    taken = (steps or {}).get(arrow, ())
    return f"({', '.join(map(str, taken))}) " if taken else ""


def picture(source: str, form: str) -> bytes:
    """DOT text drawn by graphviz as `form` (`svg` or `png`).

    Raises:
        GraphvizError: if there is no program `dot`, or it refuses the text.
    """
    try:
        done = subprocess.run(["dot", f"-T{form}"], input=source.encode(), capture_output=True, check=False)  # noqa: S603, S607 - a fixed program, found on PATH
    except FileNotFoundError as error:
        raise GraphvizError("SVG and PNG need the program `dot` of graphviz, which is not installed") from error
    if done.returncode:
        raise GraphvizError(f"dot: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout


def _level(anatomy: Anatomy, boxes: tuple[Box, ...], inside: str, active: tuple[str, ...], pad: str) -> Iterator[str]:
    begin = next((box for box in boxes if box.initial), boxes[0])
    yield f"{pad}start_{inside} [{POINT}];"
    yield from _boxes(anatomy, boxes, active, pad)
    border = f" [lhead=cluster_{begin.id}]" if begin.inside else ""
    yield f"{pad}start_{inside} -> {begin.first.id}{border};"


def _boxes(anatomy: Anatomy, boxes: tuple[Box, ...], active: tuple[str, ...], pad: str) -> Iterator[str]:
    for box in boxes:
        yield from _cluster(anatomy, box, active, pad) if box.inside else (_node(box, box.id in active, pad),)


def _cluster(anatomy: Anatomy, box: Box, active: tuple[str, ...], pad: str) -> Iterator[str]:
    look = f'color="{BORDER}", penwidth=2' if box.id in active else 'color="#888888", penwidth=1'
    yield f"{pad}subgraph cluster_{box.id} {{"
    yield f"{pad}  graph [label=<{_label(box)}>, style=rounded, {look}];"
    if any(_within(anatomy, arrow) for arrow in anatomy.arrows if arrow.source == box.id):
        yield f"{pad}  any_{box.id} [{ANY}, label=<<i>any of {_escape(box.name)}</i>>];"
    if box.parallel:  # its regions are all entered; each has a beginning of its own
        yield from _boxes(anatomy, box.inside, active, pad + "  ")
    else:
        yield from _level(anatomy, box.inside, box.id, active, pad + "  ")
    yield f"{pad}}}"


def _node(box: Box, active: bool, pad: str) -> str:
    look = f', fillcolor="{FILL}", color="{BORDER}", penwidth=2' if active else ""
    ends = ", peripheries=2" if box.final else ""
    return f"{pad}{box.id} [label=<{_label(box)}>{look}{ends}];"


def _label(box: Box) -> str:
    name = f"<b>{_escape(box.name)}</b>" if box.inside else _escape(box.name)
    actions = [f"entry / {name}" for name in box.entry] + [f"exit / {name}" for name in box.exit]
    return name + "".join(f'<br/><font point-size="10" color="#555555">{_escape(text)}</font>' for text in actions)


def _edge(anatomy: Anatomy, source: str, target: str, arrows: list[Arrow], steps: Numbered | None) -> str:
    tail, head = anatomy.box(source), anatomy.box(target)
    where = "taillabel" if head.inside else "label"  # half way to a clipped head may be far inside
    options = [f'{where}="{_text(arrows, steps)}"']
    if tail.inside and not _within(anatomy, arrows[0]):
        options.append(f"ltail=cluster_{source}")
    if head.inside:
        options.append(f"lhead=cluster_{target}")
    order = [box.id for box in anatomy.walk()]
    if order.index(target) < order.index(source):
        options.append("constraint=false")
    marked = any(numbers(steps, arrow) for arrow in arrows)
    color = MARKED if marked else COLORS[anatomy.events.index(arrows[0].event) % len(COLORS)]
    options += ["penwidth=3"] if marked else []
    options.append(f'color="{color}", fontcolor="{color}"')
    begin = f"any_{source}" if _within(anatomy, arrows[0]) else tail.first.id
    return f"{begin} -> {head.first.id} [{', '.join(options)}]"


def _within(anatomy: Anatomy, arrow: Arrow) -> bool:
    """Whether the arrow leads from a state that holds others to itself or into itself."""
    return bool(anatomy.box(arrow.source).inside) and arrow.source in anatomy.path(arrow.target)


def _text(arrows: list[Arrow], steps: Numbered | None) -> str:
    lines = (numbers(steps, arrow) + arrow.label.replace(" [", "\\n[").replace(", ", ",\\n ") for arrow in arrows)
    return "\\n".join(lines)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
