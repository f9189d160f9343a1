"""A mapping with a past: its content at any height, from its changes.

A list of masternodes changes by an entry or two every few dozen blocks, and a node is asked for the difference between
any two heights. So the changes are kept, and a full copy only every `KEYFRAME` of them: a past content is the copy
before it plus a few changes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, TypeVar

import attrs

K = TypeVar("K")
V = TypeVar("V")
KEYFRAME = 64


@attrs.define
class Timeline(Generic[K, V]):
    """Values by key and height; heights must be put in ascending order. `now` is the newest content."""

    now: dict[K, V] = attrs.field(factory=dict)
    _heights: list[int] = attrs.field(factory=list)
    _changes: list[tuple[K, V | None]] = attrs.field(factory=list)
    _frames: list[dict[K, V]] = attrs.field(factory=lambda: [{}])

    def put(self, height: int, key: K, value: V | None) -> None:
        """Set (or with None delete) `key` from `height` on."""
        _apply(self.now, key, value)
        self._heights.append(height)
        self._changes.append((key, value))
        if len(self._changes) % KEYFRAME == 0:
            self._frames.append(dict(self.now))

    def at(self, height: int) -> dict[K, V]:
        """The content after every change at or below `height`."""
        end = bisect_right(self._heights, height)
        frame = end // KEYFRAME
        content = dict(self._frames[frame])
        for key, value in self._changes[frame * KEYFRAME : end]:
            _apply(content, key, value)
        return content

    @property
    def changes(self) -> int:
        """How many changes there have been."""
        return len(self._changes)


def _apply(content: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        del content[key]
    else:
        content[key] = value
