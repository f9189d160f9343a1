"""One row of a transition journal, wherever it was kept: a line that a user sends, or a row of the store.

What is read here comes from a stranger's file. Every value is held against its kind before anything relies on it, and
the refusal names the place and what is wrong there. Keys that are not known are let pass: later versions add some. Keys
of the facts may be missing: earlier versions had fewer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self

import attrs

from phasegate.engine.journal import told_missing
from phasegate.statecharts.places import leaves_of
from phasegate.store import JournalRow

LONGEST_LINE = 1 << 20
"""Bytes of a line of a journal."""
MOST_REGIONS = 16
"""Leaves that may be active together."""
MOST_NAMES = 256
"""Names in a list, and keys in the facts."""
END_OF_TIME = 253_402_300_800
"""The first second of the year 10000."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")

Kind = tuple[Callable[[Any], bool], str]
"""A test of a value, and what it is that the value is not."""


class NotAJournal(Exception):
    """What was given is not a transition journal; the text names the place and what is wrong there."""


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 63


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and len(leaves := leaves_of(value)) <= MOST_REGIONS and all(map(_is_name, leaves))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_NAMES and all(map(_is_name, value))


def _is_time(value: Any) -> bool:
    return (_is_integer(value) or type(value) is float) and 0 <= value < END_OF_TIME  # which NaN is not


INTEGER: Kind = _is_integer, "an integer"
COUNT: Kind = (lambda value: _is_integer(value) and value >= 0), "an integer from 0 on"
ROW_ID: Kind = (lambda value: _is_integer(value) and value > 0), "an integer from 1 on"
HEIGHT_OR_NONE: Kind = (lambda value: value is None or _is_integer(value)), "an integer or null"
BOOLEAN: Kind = (lambda value: isinstance(value, bool)), "true or false"
TEXT: Kind = (lambda value: isinstance(value, str)), "a text"
TEXT_OR_NONE: Kind = (lambda value: value is None or isinstance(value, str)), "a text or null"
HASH: Kind = (lambda value: isinstance(value, str) and _HASH.fullmatch(value) is not None), "a hash of 64 hex digits"
NAME: Kind = _is_name, "a name"
PLACE: Kind = _is_place, "a name, or several joined by +"
NAMES: Kind = _are_names, "a list of names"
COUNTS: Kind = (
    (lambda value: isinstance(value, dict) and len(value) <= MOST_NAMES and all(map(COUNT[0], value.values()))),
    "an object of counts",
)
TIME: Kind = _is_time, "a time in seconds from 1970 to the year 9999"
FACTS: Kind = (
    (lambda value: isinstance(value, dict) and len(value) <= MOST_NAMES),
    f"an object of at most {MOST_NAMES} keys",
)

_ROW: Mapping[str, Kind] = {
    "row_id": ROW_ID, "time": TIME, "from": PLACE, "to": PLACE, "trigger": NAME, "reason": TEXT, "facts": FACTS,
}  # fmt: skip
_FACTS: Mapping[str, Kind] = {
    "tip": INTEGER, "tip_hash": HASH, "masternodes": HEIGHT_OR_NONE, "filter_headers": INTEGER, "filters": INTEGER,
    "matched": INTEGER, "pending_blocks": COUNT, "ready_peers": COUNT, "agreed": BOOLEAN, "outstanding": COUNT,
    "tip_hint": BOOLEAN, "misgiving": TEXT, "advice": TEXT_OR_NONE, "mn_floor": COUNT, "holding": NAMES,
    "under_way": COUNTS,
}  # fmt: skip


@attrs.frozen
class Recorded:
    """One transition as a journal tells it, names and known facts of the right kinds.

    Args:
        row_id: the id of the row; ids grow by one.
        time: seconds since 1970.
        source: the leaf that was left; with regions the leaves of all, before the step (`statecharts.places`).
        target: the leaf that was entered; with regions the leaves of all, after it.
        event: of the chart.
        reason: why, in words that may be anybody's.
        facts: what the guards saw; of an earlier version perhaps without `holding`.
        lagged: rows right before it may be missing, and whoever wrote the journal said so.
    """

    row_id: int
    time: float
    source: str
    target: str
    event: str
    reason: str
    facts: Mapping[str, Any]
    lagged: bool = False

    @classmethod
    def from_line(cls, text: str | bytes, line: int = 1) -> Self:
        """From a JSON line as `history --json` and `sync --json` print it; `line` counts from 1.

        Raises:
            NotAJournal: it is none, or no transition.
        """
        fields = parsed(text, f"line {line}")
        if fields.get("event") != "transition":
            raise NotAJournal(f"line {line} is no transition")
        return cls.from_fields(fields, f"line {line}")

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], where: str, *, lagged: bool = False) -> Self:
        """From the keys of such a line; `where` names the place.

        Raises:
            NotAJournal: a key is missing, or its value is not of its kind.
        """
        checked(fields, _ROW, where)
        facts = fields["facts"]
        checked({key: facts[key] for key in _FACTS if key in facts}, _FACTS, f"{where}: facts", whole=False)
        row_id, time, source, target, event, reason, _ = (fields[key] for key in _ROW)
        return cls(row_id, time, source, target, event, reason, facts, lagged)

    @classmethod
    def from_row(cls, row: JournalRow) -> Self:
        """From a row of the store.

        Raises:
            NotAJournal: a value in it is not of its kind.
        """
        where = f"row {row.row_id}"
        facts = parsed(row.facts_json, f"{where}: facts")
        return cls.from_fields(dict(zip(_ROW, (*attrs.astuple(row)[:6], facts), strict=True)), where)

    @property
    def holding(self) -> frozenset[str] | None:
        """The guards that said yes; None if that was not recorded."""
        return frozenset(self.facts["holding"]) if "holding" in self.facts else None

    @property
    def missing(self) -> int:
        """How many transitions before it were not stored, as the row itself says."""
        return told_missing(self.reason)


def parsed(text: str | bytes, where: str) -> dict[str, Any]:
    """A JSON object, with each key once and finite numbers.

    Raises:
        NotAJournal: it is none.
    """
    if len(text) > LONGEST_LINE:
        raise NotAJournal(f"{where} is longer than {LONGEST_LINE} bytes")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotAJournal(f"{where} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise NotAJournal(f"{where} is no JSON object")
    return value


def checked(fields: Mapping[str, Any], kinds: Mapping[str, Kind], where: str, *, whole: bool = True) -> None:
    """Hold each value against its kind; with `whole` every key has to be there.

    Raises:
        NotAJournal: a key is missing, or its value is not of its kind.
    """
    for key, (fits, what) in kinds.items():
        if key not in fields:
            if whole:
                raise NotAJournal(f"{where} has no {key}")
        elif not fits(fields[key]):
            raise NotAJournal(f"{where}: {key} is not {what}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
