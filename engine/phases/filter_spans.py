"""Spans of heights, in which filters and their headers are asked for, stored and matched."""

from __future__ import annotations

from itertools import pairwise

import attrs

BASIC = 0
"""The only filter type [BIP158]."""


@attrs.frozen
class Span:
    """Heights from `start` to `end`, both included."""

    start: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.start + 1


def spans(start: int, end: int, size: int) -> list[Span]:
    """`start..end` cut into spans of at most `size`, each but the first beginning at a multiple of `size`."""
    cuts = [start, *range((start // size + 1) * size, end + 1, size), end + 1]
    return [Span(a, b - 1) for a, b in pairwise(cuts) if a < b]
