"""A journal drawn as a Mermaid sequence diagram: the states as lifelines, each transition an arrow with its reason.

A reason may be anybody's words, those of a peer too. So only letters, digits and a little punctuation of ASCII stand in
the text as they are; everything else becomes an entity code (`#59;` is a semicolon), which Mermaid shows as the
character and never reads as syntax. Control characters and line breaks are gone before that, and long reasons are cut.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from phasegate.statecharts.anatomy import Anatomy
from phasegate.statecharts.places import leaves_of
from phasegate.verification.recorded import Recorded

LONGEST_REASON = 120
"""Characters of a reason that are shown."""
_PLAIN = frozenset(string.ascii_letters + string.digits + " .,-_/()")
REGIONS = "interleaved"
"""The lifeline of all places in which phases run beside each other."""
_MARKS = ("tip", "masternodes", "filter_headers", "filters", "matched", "pending_blocks")


def sequence(rows: Iterable[Recorded], anatomy: Anatomy) -> str:
    """What happened, as the text of a Mermaid sequence diagram.

    Args:
        rows: in the order of the journal; of those before the first one a note tells how many there are.
        anatomy: of the chart, for its states' names.
    """
    lines = _Lines({box.id: box.name for box in anatomy.walk()})
    for row in rows:
        lines.add(row)
    return "".join(f"{line}\n" for line in lines.all())


def escaped(text: str, longest: int = LONGEST_REASON) -> str:
    """`text` as one line that Mermaid shows as it is, cut to so many characters."""
    line = " ".join(text.split())
    shown = line if len(line) <= longest else line[: longest - 3] + "..."
    return "".join(c if c in _PLAIN else f"#{ord(c)};" if c.isprintable() else "?" for c in shown)


class _Lines:
    """The lines of a diagram, row by row."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._lifelines: dict[str, str] = {}
        self._body: list[str] = []
        self._last: Recorded | None = None

    def all(self) -> Iterator[str]:
        """The whole diagram."""
        yield "sequenceDiagram"
        if not self._lifelines:
            yield f"    Note over {self._lifeline('idle')}: nothing is recorded"
        yield from self._lifelines.values()
        yield from self._body

    def add(self, row: Recorded) -> None:
        """One more transition."""
        source, target = self._lifeline(row.source), self._lifeline(row.target)
        if before := self._before(row):
            self._body.append(f"    Note over {source}: {before}")
        reason = f" ({escaped(row.reason)})" if row.reason.strip() else ""
        self._body.append(f"    {source}->>{target}: {row.event}{reason}")
        told = ", ".join([self._moment(row), *self._at_work(row.target), *self._news(row)])
        self._body.append(f"    Note over {target}: {told}")
        self._last = row

    def _lifeline(self, state: str) -> str:
        """The word for a state in the text; one that the chart does not have could be a word of Mermaid's own."""
        if len(leaves_of(state)) > 1:
            self._lifelines.setdefault(REGIONS, f"    participant {REGIONS} as Interleaved")
            return REGIONS
        word = state if state in self._names else f"unknown_{state}"
        name = escaped(self._names.get(state, state))
        self._lifelines.setdefault(state, f"    participant {word} as {name}")
        return word

    def _before(self, row: Recorded) -> str:
        """What happened before a row without being drawn."""
        last = 0 if self._last is None else self._last.row_id
        skipped = row.row_id - last - 1
        if skipped > 0:
            verb = "left out" if self._last is None else "missing"
            return f"{skipped} {'earlier ' if self._last is None else ''}transitions are {verb}"
        if self._last is not None and row.source != self._last.target:
            return "the program began again"
        return ""

    def _moment(self, row: Recorded) -> str:
        when = _utc(row)
        same_day = self._last is not None and _utc(self._last).date() == when.date()
        return when.strftime("%H:%M:%S UTC" if same_day else "%Y-%m-%d %H:%M:%S UTC")

    def _at_work(self, place: str) -> Iterator[str]:
        """The phases that are running beside each other."""
        leaves = leaves_of(place)
        if len(leaves) > 1:
            yield from (escaped(self._names[leaf]) for leaf in leaves if leaf in self._names)

    def _news(self, row: Recorded) -> Iterator[str]:
        """The watermarks that are not those of the row before; what there is none of yet is left out."""
        before = {} if self._last is None else self._last.facts
        for mark in _MARKS:
            value = row.facts.get(mark)
            if value is not None and value >= 0 and value != before.get(mark, 0):
                yield f"{mark.replace('_', ' ')} {value}"


def _utc(row: Recorded) -> datetime:
    return datetime.fromtimestamp(row.time, UTC)
