"""What a setting may be, as it stands in a TOML file, and as it is written in one text: a variable, or an option.

A kind reads either form into what `Config.create` takes, or says what it wanted instead. It is told by how the argument
is declared, so that an argument that is added there is a setting at once; a few arguments are written in more than one
way. In one text a list is divided by commas or spaces, and a table is `NAME=VALUE` divided by commas.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import attrs

from phasegate.consensus.private_keys import hushed

MIB = 1 << 20
LARGEST_BITS = 256


class Unfitting(ValueError):
    """A value is not what its setting takes; the text says what it should be."""


@attrs.frozen
class Kind:
    """How one kind of setting is read.

    Args:
        wanted: what it is, in words.
        take: from a TOML value; raises Unfitting.
        split: makes a TOML value of a text; raises ValueError.
        blank: an example.
    """

    wanted: str
    take: Callable[[Any], Any]
    split: Callable[[str], Any]
    blank: Any

    def read(self, value: object) -> Any:
        """The argument for a TOML value.

        Raises:
            Unfitting: it is of another type.
        """
        try:
            return self.take(value)
        except Unfitting:
            raise Unfitting(f"{_shown(value)} is not {self.wanted}") from None

    def parse(self, text: str) -> Any:
        """The argument for a text.

        Raises:
            Unfitting: it cannot be read as that.
        """
        try:
            return self.take(self.split(text))
        except ValueError:
            raise Unfitting(f"{hushed(repr(text))} is not {self.wanted}") from None


def _shown(value: object) -> str:
    told = hushed(repr(value))
    return told if len(told) <= 60 else f"{told[:57]}..."


def _exactly(*types: type) -> Callable[[Any], Any]:
    """Takes values of these types; a truth value is no number, and no number is larger than a chainwork."""

    def take(value: Any) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise Unfitting
        return value if not isinstance(value, int) or value.bit_length() <= LARGEST_BITS else _refused()

    return take


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise Unfitting
    return tuple(map(_exactly(str), value))


def _table(take: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def take_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Unfitting
        return {str(name): take(one) for name, one in value.items()}

    return take_all


def _pairs(split: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    def split_all(text: str) -> dict[str, Any]:
        pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
        if not all(name.strip() and equals for name, equals, _ in pairs):
            raise Unfitting
        return {name.strip(): split(value.strip()) for name, _, value in pairs}

    return split_all


def _words(text: str) -> list[str]:
    return re.split(r"[,\s]+", text.strip(", \t\r\n")) if text.strip(", \t\r\n") else []


def _truth(text: str) -> bool:
    return _TRUTHS[text.strip().lower()] if text.strip().lower() in _TRUTHS else _refused()


def _refused() -> Any:
    raise Unfitting


_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _whole(text: str) -> int:
    plain = text.strip().replace("_", "")
    return int(plain) if plain.isascii() and len(plain) < 32 else _refused()


def _work(value: Any) -> int:
    """A chainwork: a number, or hex digits as `getblockheader` shows them."""
    if isinstance(value, str) and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,64}", value):
        return int(value, 16)
    work = int(_exactly(int)(value))
    return work if 0 <= work < 1 << 256 else _refused()


def _size(value: Any) -> int:
    """Bytes: a number, or a text such as `256 MB`."""
    if isinstance(value, str) and (told := re.fullmatch(r"(\d{1,9}) ?([MG])B", value.strip())):
        return int(told[1]) * (MIB if told[2] == "M" else 1024 * MIB)
    return int(_exactly(int)(int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value) else value))


def _seconds(value: Any) -> Any:
    return value if 0 <= _exactly(int, float)(value) < float("inf") else _refused()


def _path(value: Any) -> str:
    if value == "" or "\0" in str(value):  # a variable that is set to nothing would stand for wherever the program runs
        _refused()
    return os.path.expanduser(str(_exactly(str)(value)))  # noqa: PTH111 - it stays the text that was written


def _spot(value: Any) -> str:
    """A height, a date or a word."""
    if isinstance(value, date):
        return value.isoformat()
    return str(_exactly(str, int)(value))


TEXT = Kind("a text", _exactly(str), str, "")
TEXTS = Kind("a list of texts", _list, _words, ())
FLAG = Kind("true or false", _exactly(bool), _truth, False)
WHOLE = Kind("a whole number", _exactly(int), _whole, 0)
NUMBER = Kind("a number", _exactly(int, float), float, 0.0)
WHOLES = Kind("a table of whole numbers", _table(_exactly(int)), _pairs(_whole), {})
NUMBERS = Kind("a table of numbers", _table(_exactly(int, float)), _pairs(float), {})
WORDS = Kind("a table of texts", _table(_exactly(str)), _pairs(str), {})
WORK = Kind("a number or hex digits", _work, str, "0")
SIZE = Kind("a number of bytes, or a text like 256 MB", _size, str, "256 MB")
SECONDS = Kind("a number of seconds", _seconds, float, 86400.0)
PATH = Kind("a path", _path, str, "~/phasegate")
SPOT = Kind("a height, a date or a word", _spot, str, "")

DECLARED: Mapping[str, Kind] = {
    "str": TEXT,
    "tuple[str, ...]": TEXTS,
    "tuple[str, ...] | None": TEXTS,
    "tuple[str | bytes, ...]": TEXTS,
    "bool": FLAG,
    "int": WHOLE,
    "int | None": WHOLE,
    "float": NUMBER,
    "float | None": NUMBER,
    "Mapping[str, int]": WHOLES,
    "Mapping[str, int] | None": WHOLES,
    "Mapping[str, float]": NUMBERS,
    "Mapping[str, str]": WORDS,
}
"""The kind of an argument by how it is declared."""
NAMED: Mapping[str, Kind] = {
    "datadir": PATH,
    "min_chainwork": WORK,
    "max_tip_age": SECONDS,
    "memory_limit": SIZE,
    "birthday": SPOT,
    "checkpoint": SPOT,
}
"""Those that are written in more ways than one."""


def written(value: object) -> str:
    """`value` as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inside = ", ".join([f"{_key(name)} = {written(one)}" for name, one in value.items()])
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else written(name)
