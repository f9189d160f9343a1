"""What a remembered row must look like, for those who write one and for those who find one.

Hints of peers carry no checksum: a wrong one costs a connection that fails, and nothing is believed for it. So a row is
judged by what it says. One that nobody would have written is skipped by every reader, named by `check` and dropped by
`repair`, and never keeps a client from starting. Texts are read as bytes for that: SQLite hands out any bytes as text.
"""

from __future__ import annotations

import math

TEXT_LENGTH = 255
"""Characters of a host or of a word, at most."""
_UNREADABLE = "\ufffd"


def read_text(raw: bytes) -> str:
    """A stored text; bytes that are none become replacement characters."""
    return raw.decode("utf-8", "replace")


def fits_address(host: str, port: int) -> bool:
    """Whether this can be the host and port of a peer."""
    readable = host.isprintable() and _UNREADABLE not in host
    return 0 < len(host) <= TEXT_LENGTH and readable and 0 <= port <= 0xFFFF


def fits_word(*words: str) -> bool:
    """Whether each is short enough; an empty one is."""
    return all(len(word) <= TEXT_LENGTH for word in words)


def is_finite(*numbers: float) -> bool:
    """Whether each is a number that can be counted with."""
    return all(map(math.isfinite, numbers))
