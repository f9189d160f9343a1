"""The picture of the page is the chart: nothing is left out, nothing is drawn twice, nothing covers anything else."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from phasegate.engine.progress import PHASES
from phasegate.statecharts.anatomy import Anatomy, read
from phasegate.statecharts.interleaved import InterleavedChart
from phasegate.statecharts.relation import Step
from phasegate.statecharts.sync import SyncChart
from phasegate.web.layout import Flow, Rect, lay_out, words
from phasegate.web.lines import merged
from phasegate.web.picture import draw

CHARTS = {"sync": read(SyncChart), "interleaved": read(InterleavedChart)}
SVG = "{http://www.w3.org/2000/svg}"

each = pytest.mark.parametrize("anatomy", CHARTS.values(), ids=CHARTS)
flows = pytest.mark.parametrize("flow", Flow)


@each
@flows
def test_every_state_and_every_line_is_drawn_once(anatomy: Anatomy, flow: Flow) -> None:
    """It is well-formed, has each state by its id, and each line by those that it joins."""
    picture = draw(anatomy, PHASES)
    drawn = ElementTree.fromstring(getattr(picture, flow.value))  # noqa: S314 - our own text
    groups = list(drawn.iter(f"{SVG}g"))
    states = [group.get("data-state") for group in groups if group.get("data-state")]
    assert sorted(map(str, states)) == sorted(box.id for box in anatomy.walk())
    lines = [group.get("data-line") for group in groups if group.get("data-line")]
    assert len(lines) == len(set(lines))
    assert set(lines) == set(picture.keys.values())


@each
def test_every_transition_is_told_by_a_line(anatomy: Anatomy) -> None:
    """Each stands for some line, and the title of that line has its event and guards."""
    picture = draw(anatomy, PHASES)
    titles = dict(re.findall(r'data-line="([^"]+)"><title>(.*?)</title>', picture.wide, re.DOTALL))
    assert set(picture.keys) == set(anatomy.arrows)
    for arrow, key in picture.keys.items():
        assert arrow.label.replace(">", "&gt;") in titles[key].replace("&amp;", "&")


@each
def test_lines_lead_where_their_transitions_lead(anatomy: Anatomy) -> None:
    """From the same state, or one around it; to one that is entered by the same leaves, or holds them."""
    for (source, target), arrows in merged(anatomy).items():
        for arrow in arrows:
            assert source in anatomy.path(arrow.source)
            begun, entered = anatomy.box(target).begin, anatomy.box(arrow.target).begin
            assert begun == entered or target in anatomy.path(arrow.target)


@each
@flows
def test_nothing_covers_anything_else(anatomy: Anatomy, flow: Flow) -> None:
    """States lie inside those that hold them, and apart from all others."""
    block = lay_out(anatomy, flow, PHASES)
    for one, other in combinations([box.id for box in anatomy.walk()], 2):
        a, b = block.places[one], block.places[other]
        if one in anatomy.path(other):
            assert _holds(a, b), (one, other)
        else:
            assert a.end <= b.main or b.end <= a.main or a.side <= b.cross or b.side <= a.cross, (one, other)
    for place in block.places.values():
        assert _holds(Rect(0.0, 0.0, block.length, block.breadth), place)


def _holds(outer: Rect, inner: Rect) -> bool:
    slack = 1e-6
    return (
        outer.main <= inner.main + slack
        and outer.cross <= inner.cross + slack
        and inner.end <= outer.end + slack
        and inner.side <= outer.side + slack
    )


def test_a_step_lights_the_line_that_it_took() -> None:
    """By what the guards said, as the chart's own rules have it."""
    anatomy = CHARTS["sync"]
    picture = draw(anatomy, PHASES)
    before, after = anatomy.configuration(["headers"]), anatomy.configuration(["mnlist"])
    said = dict.fromkeys(anatomy.guards, False) | {"headers_complete": True, "mn_enabled": True}
    step = Step(before, "advance", tuple(said.items()), after, ("headers",), ("mnlist",))
    assert picture.lines(anatomy, step) == ["headers>mnlist"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Idle", ("Idle",)),
        ("Fully synced", ("Fully synced",)),
        ("Downloading masternode lists", ("Downloading", "masternode lists")),
        ("Waiting for network", ("Waiting", "for network")),
        ("Incomprehensibilities", ("Incomprehensibilities",)),
    ],
)
def test_names_are_broken_in_two(name: str, lines: tuple[str, ...]) -> None:
    """Long names take two lines of about the same length."""
    assert words(name) == lines
