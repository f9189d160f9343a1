"""A journal as a file: JSON lines, the first of which may say which chart, of which version, wrote it.

Both outputs are read: that of `history --json`, and the whole log of `sync --json`, where transitions stand among all
that else happened; several runs may have written into one log. Lines are read one at a time and each is bounded, so
that a file of any size takes little memory. The last line may be cut off, as a program that was killed leaves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import attrs

from phasegate.statecharts.catalogue import is_sync
from phasegate.verification.recorded import (
    HASH,
    LONGEST_LINE,
    NAME,
    ROW_ID,
    TEXT,
    TIME,
    Kind,
    NotAJournal,
    Recorded,
    checked,
    parsed,
)

_HEADER: Mapping[str, Kind] = {
    "chart": NAME, "fingerprint": HASH, "version": TEXT, "network": TEXT, "first_row": ROW_ID, "time": TIME,
}  # fmt: skip


@attrs.frozen
class Header:
    """What a journal says of itself.

    Args:
        chart: the name of the chart.
        fingerprint: of the chart, as the program that wrote the journal has it.
        version: of that program.
        network: the name of the chain.
        first_row: the id of the first row that follows.
    """

    chart: str
    fingerprint: str
    version: str
    network: str
    first_row: int


class Journal:
    """A journal that is being read; `headers` grows while `rows` go on.

    `cut` is the number of the last line if that was cut off and not read.

    Args:
        stream: where the lines come from.

    Raises:
        NotAJournal: there is neither a transition nor a line that says that a journal begins.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.headers: list[Header] = []
        self.cut: int | None = None
        self._read = self._rows()
        self._first = next(self._read, None)
        if self._first is None and not self.headers:
            raise NotAJournal("there is no transition in it")

    @property
    def begins(self) -> int | None:
        """The id of the first row as the journal, or else that row itself, says it; None without either."""
        if self.headers:
            return self.headers[0].first_row
        return self._first.row_id if self._first else None

    def rows(self) -> Iterator[Recorded]:
        """The transitions in the order of the file, once.

        Raises:
            NotAJournal: a line is none of a journal.
        """
        if self._first is not None:
            yield self._first
            yield from self._read

    def _rows(self) -> Iterator[Recorded]:
        lagged = False
        for number, fields in self._lines():
            kind, where = fields.get("event"), f"line {number}"
            if kind == "journal":
                self._begin(fields, where)
            elif kind == "warning" and fields.get("code") == "lagged":
                lagged = True
            elif kind == "transition":
                yield Recorded.from_fields(fields, where, lagged=lagged)
                lagged = False

    def _begin(self, fields: dict[str, Any], where: str) -> None:
        checked(fields, _HEADER, where)
        header = Header(*(fields[key] for key in ("chart", "fingerprint", "version", "network", "first_row")))
        first = self.headers[0] if self.headers else header
        alike = header.chart == first.chart or (is_sync(header.chart) and is_sync(first.chart))
        if not alike or header.network != first.network:
            raise NotAJournal(f"{where} begins another journal, of chart {header.chart} on {header.network!r}")
        self.headers.append(header)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        while line := self._stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) <= LONGEST_LINE:
                try:
                    fields = parsed(line, f"line {number}")
                except NotAJournal:
                    if line.endswith(b"\n") or number == 1:
                        raise
                    self.cut = number
                else:
                    yield number, fields
            elif _may_be_long(line):
                self._skip(line)
            else:
                raise NotAJournal(f"line {number} is longer than {LONGEST_LINE} bytes")

    def _skip(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(LONGEST_LINE)


def _may_be_long(beginning: bytes) -> bool:
    """Whether a line is a summary, which names everything that was found."""
    return beginning.startswith(b'{"event": "summary"')
