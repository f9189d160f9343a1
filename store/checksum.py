"""One CRC-32 for a row of several fields."""

from __future__ import annotations

from zlib_ng.zlib_ng import crc32

from phasegate.store.database import Value


def checksum(*fields: Value) -> int:
    """CRC-32 over `fields` with their lengths, so that no byte can pass from one to its neighbour."""
    crc = 0
    for field in fields:
        raw = field if isinstance(field, bytes) else str(field).encode()
        crc = crc32(raw, crc32(b"%d:" % len(raw), crc))
    return crc
