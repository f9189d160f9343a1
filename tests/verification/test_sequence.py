"""The journal as a Mermaid sequence diagram: what happened stands in it, and no reason can be anything but text."""

from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phasegate.statecharts.anatomy import read
from phasegate.statecharts.sync import SyncChart
from phasegate.store import JournalRow
from phasegate.verification.recorded import Recorded
from phasegate.verification.sequence import LONGEST_REASON, escaped, sequence

ANATOMY = read(SyncChart)
TEXT = r"(?:[A-Za-z0-9 .,\-_/()?]|#\d+;)*"
FORMS = (
    r"    participant [a-z_]+ as " + TEXT,
    r"    [a-z_]+->>[a-z_]+: [a-z_]+(?: \(" + TEXT + r"\))?",
    r"    Note over [a-z_]+: " + TEXT.replace("()?", "():?"),
)
ROW = Recorded(1, 1_800_000_000.0, "headers", "backoff", "fail", "", {"tip": 3})
NASTY = [
    "a\nb->>c: x", "; end", "#59; # x", "<script>alert(1)</script>", "\"quoted\" 'x'", "%% note", "%%{init: {}}%%",
    "\x00\x1b[31m", "style a fill:#fff;", "classDef x:#1;", "$$x$$", "ﬂ°°59¶ß", "x" * 5000, "\u202eabc", "\ud800",
    "&lt;", "end", "\r\n", "`**`", "wrap: x",
]  # fmt: skip


def decoded(text: str) -> str:
    """What Mermaid shows for entity codes."""
    return re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)


def well_formed(drawing: str) -> bool:
    first, *lines = drawing.splitlines()
    return first == "sequenceDiagram" and all(any(re.fullmatch(form, line) for form in FORMS) for line in lines)


def test_what_happened_is_drawn(lived: tuple[JournalRow, ...]) -> None:
    """States by their shown names, an arrow a transition, notes with times and what was stored, restarts."""
    rows = [Recorded.from_row(row) for row in lived]
    drawing = sequence(rows, ANATOMY)
    assert well_formed(drawing)
    arrows = re.findall(r"^    (\w+)->>(\w+): (\w+)", drawing, re.MULTILINE)
    assert arrows == [(row.source, row.target, row.event) for row in rows]
    shown = dict(re.findall(r"participant (\w+) as (.*)", drawing))
    visited = {row.source for row in rows} | {row.target for row in rows}
    assert shown == {state: ANATOMY.box(state).name for state in visited}
    assert drawing.count("the program began again") == 3
    assert "    synced->>headers: rewalk (watch items added)" in drawing
    assert re.search(r"Note over headers: 2027-01-15 08:00:0\d UTC$", drawing, re.MULTILINE)
    assert re.search(r"Note over mnlist: 08:00:\d\d UTC, tip 100$", drawing, re.MULTILINE)
    assert re.search(r"Note over blocks: .*, filters 100, matched 100", drawing)


def test_what_is_left_out_is_counted(lived: tuple[JournalRow, ...]) -> None:
    """Rows before the first one, and rows that are missing between."""
    rows = [Recorded.from_row(row) for row in lived]
    drawing = sequence(rows[40:], ANATOMY)
    assert "Note over headers: 40 earlier transitions are left out" in drawing
    assert "2 transitions are missing" in sequence([*rows[:3], *rows[5:]], ANATOMY)
    assert "left out" not in sequence(rows, ANATOMY)


def test_nothing_is_drawn_too() -> None:
    """A diagram without a participant would be none."""
    drawing = sequence([], ANATOMY)
    assert well_formed(drawing)
    assert "nothing is recorded" in drawing


@pytest.mark.parametrize("reason", NASTY, ids=range(len(NASTY)))
def test_no_reason_is_syntax(reason: str) -> None:
    """Breaks, comments, directives, entities, markup, control characters and length leave the form as it is."""
    drawing = sequence([attrs.evolve(ROW, reason=reason)], ANATOMY)
    assert well_formed(drawing)
    assert len(drawing.splitlines()) == len(sequence([ROW], ANATOMY).splitlines())


@example("x" * 5000)
@example("; " * LONGEST_REASON)
@given(st.text(max_size=300))
def test_any_text_is_shown_as_it_is(reason: str) -> None:
    """What Mermaid shows is the text on one line, without what cannot be printed, cut if it is long."""
    text = escaped(reason)
    assert re.fullmatch(TEXT, text)
    line = " ".join(reason.split())
    expected = "".join(c if c.isprintable() else "?" for c in line)
    shown = decoded(text)
    assert len(shown) <= LONGEST_REASON
    assert shown == expected if len(line) <= LONGEST_REASON else shown == expected[: LONGEST_REASON - 3] + "..."


def test_a_state_that_the_chart_does_not_have_is_no_word_of_mermaid() -> None:
    """A journal of another version may have states that would end a block here."""
    drawing = sequence([attrs.evolve(ROW, source="end", target="loop")], ANATOMY)
    assert well_formed(drawing)
    assert "unknown_end->>unknown_loop: fail" in drawing
    assert "participant unknown_end as end" in drawing
