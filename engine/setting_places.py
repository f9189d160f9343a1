"""Where settings stand: in a file, in the environment, in words of a command line, in the arguments of a program.

Each place is read strictly: a name that is no setting, or a value of the wrong type, is refused with the place it
stands in. A file is bounded before it is parsed.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import attrs

from phasegate.consensus.private_keys import hushed
from phasegate.engine.config import Config, Devnet, Limits
from phasegate.engine.errors import ConfigError
from phasegate.engine.setting_kinds import DECLARED, NAMED, Kind, Unfitting

PREFIX = "PHASEGATE_"
FILE_VARIABLE = "PHASEGATE_CONFIG"
"""Names the file to read, if nothing else does."""
_OF_TESTS = ("PHASEGATE_VECTORS", "PHASEGATE_REQUIRE_VECTORS", "PHASEGATE_SEED", "PHASEGATE_SOURCES")
_OF_SERVICES = ("PHASEGATE_WEB_TOKEN", "PHASEGATE_OPTIONS")
OTHERS = frozenset({FILE_VARIABLE, *_OF_SERVICES, *_OF_TESTS})
"""Variables that are no settings: the file's name, what visitors of the view show, the options of a service."""
LARGEST_FILE = 1 << 20
"""Bytes of a file that is read at all."""
NETWORK_ARGUMENT = "network_name"
GROUPS: Mapping[str, type[Limits | Devnet]] = {"limits": Limits, "devnet": Devnet}
"""Settings that have settings of their own."""


@attrs.frozen
class Setting:
    """One setting: its `key` in a file, what it is, and its default (None: whatever the network or system has)."""

    key: str
    kind: Kind
    default: object

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.key.upper().replace(".", "_")


@attrs.frozen
class Chosen:
    """A value that was found somewhere: `place` is the file, the variable, or what else it was given by."""

    value: Any
    place: str


def settings() -> dict[str, Setting]:
    """All settings by key, in the order of `Config.create`."""
    found = [setting for name, one in _arguments().items() for setting in _of(name, one)]
    return {setting.key: setting for setting in found}


def _arguments() -> Mapping[str, inspect.Parameter]:
    return inspect.signature(Config.create).parameters


def _of(name: str, argument: inspect.Parameter) -> Iterator[Setting]:
    if name in GROUPS:
        usual = GROUPS[name]()
        for field in attrs.fields(type(usual)):
            yield Setting(f"{name}.{field.name}", DECLARED[str(field.type)], getattr(usual, field.name))
    else:
        default = None if argument.default is inspect.Parameter.empty else argument.default
        kind = NAMED.get(name) or DECLARED[str(argument.annotation)]
        yield Setting("network" if name == NETWORK_ARGUMENT else name, kind, default)


def in_file(known: Mapping[str, Setting], file: Path) -> Iterator[tuple[str, Chosen]]:
    """What a TOML file says.

    Raises:
        ConfigError: it cannot be read, or says what is no setting, or of another type.
    """
    for key, value in _flat(_read(file)):
        if key not in known:
            raise ConfigError(f"{file}: unknown setting {hushed(repr(key))}{_meant(key, known)}")
        yield key, _taken(known[key], value, str(file), key)


def _taken(setting: Setting, value: object, place: str, key: str) -> Chosen:
    try:
        return Chosen(setting.kind.read(value), place)
    except Unfitting as wrong:
        raise ConfigError(f"{place}: {key} {wrong}") from wrong


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"{file} has more than {LARGEST_FILE} bytes: it is no configuration")
    return _tables(raw, file)


def _tables(raw: bytes, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{file} is no TOML: it is nested too deeply") from error
    except ValueError as error:  # of `int`, for thousands of digits
        raise ConfigError(f"{file} has a number that is too long") from error


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings of a file by key, those of a group as `GROUP.NAME`."""
    for name, value in tables.items():
        if name in GROUPS and isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def in_environment(known: Mapping[str, Setting], environ: Mapping[str, str]) -> Iterator[tuple[str, Chosen]]:
    """What variables that begin with `PHASEGATE_` say.

    Raises:
        ConfigError: as `in_file`.
    """
    by_variable = {setting.variable: setting for setting in known.values()}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OTHERS:
            continue
        if name not in by_variable:
            raise ConfigError(f"{name} is no setting{_meant(name, by_variable)}")
        yield by_variable[name].key, _parsed(by_variable[name], environ[name], name)


def _parsed(setting: Setting, text: str, place: str) -> Chosen:
    try:
        return Chosen(setting.kind.parse(text), place)
    except Unfitting as wrong:
        raise ConfigError(f"{place}: {wrong}") from wrong


def in_words(known: Mapping[str, Setting], words: Iterable[str]) -> Iterator[tuple[str, Chosen]]:
    """What `KEY=VALUE` words of a command line say.

    Raises:
        ConfigError: as `in_file`.
    """
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in known:
            raise ConfigError(f"--set {hushed(repr(word))} is not KEY=VALUE of a setting{_meant(key, known)}")
        yield key, _parsed(known[key], text, f"--set {key}")


def in_arguments(known: Mapping[str, Setting], given: Mapping[str, object], giver: str) -> Iterator[tuple[str, Chosen]]:
    """What a program gives, as to `Config.create`; None is not given.

    Raises:
        ConfigError: there is no such setting.
    """
    for name, value in given.items():
        if name in GROUPS and value is not None:
            fields = value if isinstance(value, Mapping) else attrs.asdict(_group(name, value), recurse=False)
            for inner, one in fields.items():
                yield _known(known, f"{name}.{inner}"), Chosen(one, giver)
        else:
            key = _known(known, "network" if name == NETWORK_ARGUMENT else name)
            if value is not None:
                yield key, Chosen(value, giver)


def _group(name: str, value: object) -> Any:
    if not isinstance(value, GROUPS[name]):
        raise ConfigError(f"{name} {value!r} is neither a table nor a {GROUPS[name].__name__}")
    return value


def _known(known: Mapping[str, Setting], key: str) -> str:
    if key not in known:
        raise ConfigError(f"unknown setting {key!r}{_meant(key, known)}")
    return key


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f": is {close[0]!r} meant?" if close else ""
