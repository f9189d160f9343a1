"""The file in which headers, filter headers and filters travel from one machine to another, and nothing is believed.

    file     = magic | format | section ... | end section
    section  = kind | first height | count | payload size | payload | CRC-32 of all that stands before it in the section

All numbers are little-endian, of 4 bytes, the kind of 1. First comes the description (JSON: network and reach), then
what it announces, in this order: the headers below a base above genesis, headers, filter headers, filters, the end. So
a reader needs no more memory than the longest section takes, and knows at each byte what must come next. Headers are
80 bytes each, filter headers 32; filters are their lengths, 4 bytes each, and then the filters.

The checksums find what a disk or a line has changed, and name the place; a file cut short at a border lacks its end.
They say nothing about who wrote it: what is in an intact file may still be a lie, and `chain_import` judges it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import BinaryIO

import attrs
from zlib_ng.zlib_ng import crc32

MAGIC = b"phgchain"
FORMAT = 1
LARGEST = 8 << 20
"""Bytes of the largest payload that is read."""

_HEAD = struct.Struct("<BIII")
_NUMBER = struct.Struct("<I")


class Kind(IntEnum):
    """What a section holds."""

    DESCRIPTION = 1
    CONTEXT = 2
    HEADERS = 3
    FILTER_HEADERS = 4
    FILTERS = 5
    END = 6

    @property
    def title(self) -> str:
        """As people say it."""
        return {self.CONTEXT: "headers below the base"}.get(self, self.name.lower().replace("_", " "))


_KINDS = frozenset(map(int, Kind))


class BadChainFile(Exception):
    """The file is not what it should be; the text is one line that names the place and what is wrong there."""


@attrs.frozen
class Section:
    """One section: `number` counts from 1, `place` is the byte of the file at which it begins."""

    number: int
    place: int
    kind: Kind
    start: int
    count: int
    payload: bytes

    @property
    def end(self) -> int:
        """The last height."""
        return self.start + self.count - 1

    def __str__(self) -> str:
        heights = f" {self.start}..{self.end}" if self.kind not in (Kind.DESCRIPTION, Kind.END) else ""
        return f"section {self.number} ({self.kind.title}{heights}, at byte {self.place})"

    def refused(self, reason: str) -> BadChainFile:
        """The error that says what is wrong with it."""
        return BadChainFile(f"{self}: {reason}")


class ChainFileWriter:
    """Writes sections one after another."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sections = 0
        file.write(MAGIC + _NUMBER.pack(FORMAT))

    def write(self, kind: Kind, start: int, count: int, payload: bytes) -> None:
        """Add a section of `count` items from height `start` on."""
        head = _HEAD.pack(kind, start, count, len(payload))
        self._sections += 1
        for piece in (head, payload, _NUMBER.pack(crc32(payload, crc32(head)))):
            self._file.write(piece)

    def close(self) -> None:
        """Write the end; nothing follows."""
        self.write(Kind.END, 0, self._sections, b"")


def read_sections(file: BinaryIO) -> Iterator[Section]:
    """The sections of a file, the end left out, each proven to be as it was written.

    Raises:
        BadChainFile: it is no such file, of a later format, damaged, cut short, or something follows its end; or it
            cannot be read.
    """
    place = _read_preamble(file)
    for number in range(1, 1 << 32):
        section = _read_section(file, number, place)
        if section.kind is Kind.END:
            _check_end(file, section)
            return
        yield section
        place += _HEAD.size + len(section.payload) + _NUMBER.size


def _read_preamble(file: BinaryIO) -> int:
    found = _read(file, len(MAGIC) + _NUMBER.size, 0)
    if found[: len(MAGIC)] != MAGIC or len(found) < len(MAGIC) + _NUMBER.size:
        raise BadChainFile("its first bytes are not those of an exported chain")
    (version,) = _NUMBER.unpack_from(found, len(MAGIC))
    if version != FORMAT:
        raise BadChainFile(f"it is written in format {version}, this phasegate reads format {FORMAT}")
    return len(found)


def _read_section(file: BinaryIO, number: int, place: int) -> Section:
    head = _exactly(file, _HEAD.size, number, place)
    kind, start, count, size = _HEAD.unpack(head)
    if size > LARGEST:
        raise BadChainFile(f"section {number}, at byte {place}, is damaged: a size of {size} bytes is impossible")
    payload = _exactly(file, size, number, place)
    (told,) = _NUMBER.unpack(_exactly(file, _NUMBER.size, number, place))
    if told != crc32(payload, crc32(head)):
        where = f"section {number}, at bytes {place}..{place + size + 16}"
        raise BadChainFile(f"{where}, is damaged: its checksum is wrong")
    if kind not in _KINDS:
        raise BadChainFile(f"section {number}, at byte {place}, is of the unknown kind {kind}")
    return Section(number, place, Kind(kind), start, count, payload)


def _exactly(file: BinaryIO, size: int, number: int, place: int) -> bytes:
    found = _read(file, size, place)
    if len(found) != size:
        raise BadChainFile(f"it ends in the middle of section {number}, which begins at byte {place}")
    return found


def _read(file: BinaryIO, size: int, place: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise BadChainFile(f"it cannot be read at byte {place}: {error.strerror or error}") from error


def _check_end(file: BinaryIO, end: Section) -> None:
    if end.payload or end.start or end.count != end.number - 1:
        raise end.refused(f"it closes {end.count} sections, not {end.number - 1}")
    if _read(file, 1, end.place):
        raise BadChainFile(f"something follows its end, {end}")
