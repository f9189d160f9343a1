"""What is found damaged, in a form that can be told."""

from __future__ import annotations

import attrs


@attrs.frozen
class Damage:
    """One damaged piece: what it is, in which table, and its first and last height; without any of its own, the tip."""

    what: str
    table: str
    start: int
    end: int
