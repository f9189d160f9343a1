"""What a program hands to `Config.create`, held against what each setting may be, before anything is made of it.

The same kinds read a file, so what a file may say a program may say as well: a birthday as a number or a date, a memory
limit as a text. A value of any other type is refused by the name of its argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from phasegate.consensus.private_keys import hushed
from phasegate.engine.errors import ConfigError
from phasegate.engine.setting_kinds import Unfitting
from phasegate.engine.setting_places import GROUPS, NETWORK_ARGUMENT, settings


def checked(given: Mapping[str, Any]) -> Any:
    """The arguments of `Config.create`, as attributes, each of its kind.

    Raises:
        ConfigError: one of them is not; the line names it.
    """
    return SimpleNamespace(**{name: _checked(name, value) for name, value in given.items() if name != "cls"})


def _checked(name: str, value: object) -> Any:
    if name in GROUPS:
        if value is not None and not isinstance(value, GROUPS[name]):
            raise ConfigError(f"{name} {value!r} is no {GROUPS[name].__name__}")
        return value
    if name == "datadir":
        return _directory(value)
    if name == "watch":
        return _items(value)
    setting = _SETTINGS["network" if name == NETWORK_ARGUMENT else name]
    if value is None and setting.default is None and name != NETWORK_ARGUMENT:
        return None
    try:
        return setting.kind.read(value)
    except Unfitting as wrong:
        raise ConfigError(f"{setting.key} {wrong}") from wrong


def _directory(value: object) -> object:
    if value is not None and not isinstance(value, str | Path):
        raise ConfigError(f"datadir {value!r} is not a path")
    return value


def _items(value: object) -> tuple[str | bytes, ...]:
    """Texts, and scripts as raw bytes, as `client.watch` takes them."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str | bytes) for item in value):
        raise ConfigError(f"watch {hushed(repr(value))[:80]} is not a list of texts, or of scripts as bytes")
    return tuple(value)


_SETTINGS = settings()
