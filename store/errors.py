"""What can go wrong with a store, named by what the owner of the directory can do about it."""

from __future__ import annotations


class StoreError(Exception):
    """Anything that keeps the store from being used; the text is one line for the user."""


class StoreLocked(StoreError):
    """Another client has the directory open; the text names the file and the process."""


class StoreMismatch(StoreError):
    """The directory belongs to another network, another activation set, another base or a newer phasegate."""


class StoreCorrupt(StoreError):
    """Stored bytes are not what was written.

    Args:
        detail: one line naming the table and the heights.
        table: the damaged table, or the file when its structure is broken.
        start: the first damaged height, None when the damage has no height.
        end: the last damaged height.
    """

    def __init__(self, detail: str, table: str = "", start: int | None = None, end: int | None = None) -> None:
        super().__init__(detail)
        self.table = table
        self.start = start
        self.end = end


class StoreFailed(StoreError):
    """The disk refused: full, unreadable, read-only, gone. Nothing of the batch was stored; trying again may help."""
