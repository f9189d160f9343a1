"""Charts drawn: golden files, nesting, guards and actions, the active state, and pictures."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from statemachine import State

from phasegate.statecharts.anatomy import Anatomy, read
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.diagram import draw, draw_way, markdown, mermaid
from phasegate.statecharts.dot import GraphvizError, dot, picture
from phasegate.statecharts.form import Form
from phasegate.statecharts.relation import Step
from phasegate.statecharts.sync import SyncChart
from phasegate.statecharts.table import Table

GOLDEN = Path(__file__).parent.parent.parent / "docs" / "charts"
SUFFIX = {Form.MERMAID: "mmd", Form.MD: "md"}

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


class Twice(Chart[Any]):
    """Two ways between the same two states on the same event, by different guards, and an action."""

    a = State("A <b>", initial=True, exit="tidy")
    b = State(final=True)
    go = a.to(b, cond="first", on="note") | a.to(b, cond="second")


def clusters(text: str) -> dict[str, list[str]]:
    """Which leaves stand in which cluster of a DOT drawing, found by counting braces."""
    inside: list[str] = []
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"\s*subgraph cluster_(\w+) {", line):
            inside.append(match[1])
        elif line.strip() == "}" and inside:
            inside.pop()
        elif (match := re.match(r"\s*(\w+) \[label=<", line)) and match[1] != "graph":
            found[match[1]] = list(inside)
    return found


def outside_clusters(text: str) -> list[str]:
    """The edges that a DOT drawing writes in its root graph."""
    return [line for line in text.splitlines() if re.match(r"  \w+ -> \w+", line)]


@pytest.mark.parametrize("name", sorted(CHARTS))
@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_drawings_in_the_docs_are_those_of_the_charts(name: str, form: Form) -> None:
    """Redraw after a change: phasegate diagram --chart NAME --format FORM -o docs/charts/NAME.SUFFIX."""
    golden = GOLDEN / f"{name}.{SUFFIX[form]}"
    assert draw(CHARTS[name].chart, form).decode() == golden.read_text()


@needs_dot
@pytest.mark.parametrize("name", sorted(CHARTS))
def test_pictures_in_the_docs_show_the_charts(name: str) -> None:
    """The stored picture has the nodes, edges and words of a new one, whatever graphviz drew it."""
    stored, fresh = (GOLDEN / f"{name}.svg").read_text(), draw(CHARTS[name].chart, Form.SVG).decode()
    for pattern in (r"<title>(.*?)</title>", r"<text[^>]*>(.*?)</text>"):
        assert sorted(re.findall(pattern, stored)) == sorted(re.findall(pattern, fresh))


def test_dot_nests_each_state_where_the_chart_does(anatomy: Anatomy) -> None:
    """Every leaf stands in the clusters of the states around it, and in no other."""
    expected = {leaf.id: list(anatomy.path(leaf.id)[:-1]) for box in anatomy.boxes for leaf in box.leaves}
    assert clusters(dot(anatomy)) == expected


def test_dot_ties_edges_to_the_borders_of_states_that_hold_others() -> None:
    """An edge from a compound is clipped at its border; one into itself begins at its own small node."""
    edges = outside_clusters(dot(read(SyncChart)))
    assert any("headers -> paused" in edge and "ltail=cluster_online" in edge for edge in edges)
    assert any("idle -> headers" in edge and "lhead=cluster_online" in edge for edge in edges)
    assert any("any_syncing -> headers" in edge and "rewalk" in edge for edge in edges)
    assert not any("ltail=cluster_syncing" in edge and "-> headers" in edge for edge in edges)


def test_every_transition_is_drawn_in_every_text_form(anatomy: Anatomy) -> None:
    """Event, guards and actions of each transition stand in Mermaid, DOT and the table."""
    lines = mermaid(anatomy), markdown(anatomy), dot(anatomy).replace("\\n", " ").replace("  ", " ")
    for arrow in anatomy.arrows:
        assert arrow.label in lines[0]
        assert arrow.label in lines[2]
        assert all(f"`{guard}`" in lines[1] for guard in arrow.guards)


def test_two_ways_between_two_states_keep_both_guards() -> None:
    """Equal source, target and event do not swallow the second guard, and actions are shown."""
    tables = read(Twice)
    assert "a --> b : go [first] / note" in mermaid(tables)
    assert "a --> b : go [second]" in mermaid(tables)
    assert "a : exit / tidy" in mermaid(tables)
    assert 'label="go\\n[first] / note\\ngo\\n[second]"' in dot(tables)
    assert markdown(tables).count("| `go`") == 2
    assert "A &lt;b&gt;" in dot(tables)


def test_mermaid_never_ties_a_state_to_a_part_of_itself() -> None:
    """Mermaid cannot draw such an arrow; it is drawn from each leaf instead."""
    text = mermaid(read(SyncChart))
    assert "syncing --> headers" not in text
    for leaf in ("headers", "mnlist", "cfheaders", "filters", "blocks"):
        assert f"    {leaf} --> headers : rewalk" in text


def test_the_active_state_is_highlighted_with_those_around_it() -> None:
    """Each text form shows the active state, and none shows one unasked."""
    assert "    class cfheaders active" in draw(SyncChart, Form.MERMAID, "cfheaders").decode()
    assert "**Downloading filter headers**" in draw(SyncChart, Form.MD, "cfheaders").decode()
    shown = draw(SyncChart, Form.DOT, "cfheaders").decode()
    assert shown.count("#7fe3d8") == 1
    assert shown.count("penwidth=2") == 3  # the leaf, Syncing, Online
    assert "active" not in draw(SyncChart, Form.MERMAID).decode()
    assert "#7fe3d8" not in draw(SyncChart, Form.DOT).decode()


def test_a_state_that_holds_others_can_be_active_too() -> None:
    """Highlighting a compound highlights its border."""
    assert draw(SyncChart, Form.DOT, "recovering").decode().count("penwidth=2") == 2


def test_an_unknown_active_state_is_named() -> None:
    """The error names what was asked for and what there is."""
    with pytest.raises(ValueError, match=r"no state 'sync'; its states are idle, online, syncing"):
        draw(SyncChart, Form.MD, "sync")


@needs_dot
def test_pictures_are_drawn_where_graphviz_is(anatomy: Anatomy) -> None:
    """SVG and PNG come out as such, without a word of complaint for the text."""
    assert b"<svg" in picture(dot(anatomy), "svg")
    assert picture(dot(anatomy), "png").startswith(b"\x89PNG")


@needs_dot
def test_a_text_that_graphviz_refuses_is_an_error() -> None:
    """What graphviz wrote is in the error."""
    with pytest.raises(GraphvizError, match="syntax error"):
        picture("digraph {", "svg")


def test_without_graphviz_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only SVG and PNG need graphviz, and the error names it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert draw(SyncChart, Form.DOT)
    with pytest.raises(GraphvizError, match="graphviz, which is not installed"):
        draw(SyncChart, Form.SVG)


def _way(anatomy: Anatomy, *events: str) -> list[Step]:
    table, steps = Table(anatomy, {"mn_enabled": False, "filters_enabled": True}), list[Step]()
    place = table.initial
    for event in events:
        answered = [step for step in table.steps(place) if step.event == event]
        steps.append(next((step for step in answered if step.moved), answered[0]))
        place = steps[-1].target
    return steps


def test_a_way_is_numbered_on_its_arrows() -> None:
    """Each step that moved has its number, an arrow taken twice has two, and the last state is highlighted."""
    anatomy = read(SyncChart)
    way = _way(anatomy, "start", "resume", "rewalk", "rewalk", "advance")
    text = draw_way(anatomy, way).decode()
    assert "    idle --> online : (1) start" in text
    assert "(3, 4) rewalk" in text
    assert "headers --> cfheaders : (5) advance [headers_complete, !mn_enabled, filters_enabled]" in text
    assert "(2)" not in text
    assert text.endswith("class cfheaders active\n")


def test_a_way_is_red_in_dot_and_impossible_in_a_table() -> None:
    """Its arrows are drawn thick and red, all others as ever."""
    anatomy = read(SyncChart)
    text = draw_way(anatomy, _way(anatomy, "start"), Form.DOT).decode()
    marked = [line for line in text.splitlines() if "penwidth=3" in line]
    assert len(marked) == 1
    assert '(1) start"' in marked[0]
    with pytest.raises(ValueError, match="a table cannot show"):
        draw_way(anatomy, _way(anatomy, "start"), Form.MD)
    assert draw_way(anatomy, []) == draw(SyncChart, Form.MERMAID)
