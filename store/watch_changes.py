"""What can be written of what a user watches; see `changes.py`."""

from __future__ import annotations

import attrs


@attrs.frozen
class RecordLost:
    """What was found above `above` is remembered, before a `RollBack` takes it; `time` in seconds since 1970."""

    above: int
    time: float


@attrs.frozen
class AddWatch:
    """Scripts to watch, as (script, label); they are matched from the first wanted filter on, known ones stay."""

    items: tuple[tuple[bytes, str], ...]


@attrs.frozen
class LabelWatch:
    """Other labels for watched scripts, as (script, label); unknown ones are ignored."""

    items: tuple[tuple[bytes, str], ...]


@attrs.frozen
class RemoveWatch:
    """Scripts to forget, with their coins and the transactions that concern no other item; unknown ones are ignored.

    A script of a chain of keys stays watched for that.
    """

    scripts: tuple[bytes, ...]


WatchChange = AddWatch | LabelWatch | RecordLost | RemoveWatch
