"""Frames in a buffer, compiled: where one ends that begins as wanted, and whether its checksum is right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.sha256_kernel import Addresses, dsha_into

Bytes = NDArray[np.uint8]

HEAD, NAME = 24, 16
"""Bytes of a frame's head, and of magic and command in it."""


@jit
def frame_end(buffer: Bytes, at: Any, prefix: Bytes) -> Any:
    """Where the frame at `at` ends; 0 if its head does not begin with the 16 bytes of `prefix`, or it is not whole."""
    if at + HEAD > len(buffer):
        return np.int64(0)
    for i in range(NAME):
        if buffer[at + i] != prefix[i]:
            return np.int64(0)
    length = np.int64(0)
    for i in range(4):
        length |= np.int64(buffer[at + NAME + i]) << (8 * i)
    end = np.int64(at + HEAD + length)
    return end if end <= len(buffer) else np.int64(0)


@jit
def is_intact(sha: Addresses, room: Bytes, buffer: Bytes, at: Any, end: Any) -> bool:
    """Whether the whole frame from `at` to `end` has the checksum that it states."""
    checksum = np.empty(32, np.uint8)
    dsha_into(sha, room, buffer, at + HEAD, end, checksum, 0)
    same = True
    for i in range(4):
        same &= checksum[i] == buffer[at + NAME + 4 + i]
    return same
