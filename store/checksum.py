"""One CRC-32 for a row of several fields."""

from __future__ import annotations

import zlib

from phasegate.store.database import Value


def checksum(*fields: Value) -> int:
    """CRC-32 over `fields` with their lengths, so that no byte can pass from one to its neighbour."""
    crc = 0
    for field in fields:
        raw = field if isinstance(field, bytes) else str(field).encode()
        crc = zlib.crc32(raw, zlib.crc32(b"%d:" % len(raw), crc))
    return crc
