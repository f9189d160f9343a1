"""The settings of a client from where people keep them: a TOML file, the environment, and what a program gives.

Each argument of `Config.create` is a setting, each field of `Limits` and `Devnet` one too (`limits.max_peers`). A
setting is taken from the strongest place that has it: what is given, as by the command line, before the environment
(`PHASEGATE_LIMITS_MAX_PEERS`), before the file, before the default. A list or table is taken whole. Nothing is passed
over: an unknown name, a wrong type or a value with which no client can be made is refused, with the place it stood in.

A value can be wrong only beside others, or for one network. Then the place is found by leaving settings out: the one
without which the refusal is gone, or another, is at fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import platformdirs

from phasegate.engine.config import Config
from phasegate.engine.errors import ConfigError
from phasegate.engine.setting_places import (
    FILE_VARIABLE,
    GROUPS,
    NETWORK_ARGUMENT,
    PREFIX,
    Chosen,
    in_arguments,
    in_environment,
    in_file,
    in_words,
    settings,
)

GIVEN = "given"
"""The place of what a program gives."""
DEFAULT = "default"
Choice = Mapping[str, Chosen]
"""What was found for the settings, by key; those with their default are left out."""


def load(path: Path | str | None, environ: Mapping[str, str], given: Mapping[str, object]) -> Config:
    """As `Config.load`."""
    return build(choose(path, environ, given))


def choose(
    path: Path | str | None,
    environ: Mapping[str, str],
    given: Mapping[str, object],
    words: Iterable[str] = (),
    giver: str = GIVEN,
) -> Choice:
    """What the file, the environment, `words` (`KEY=VALUE`) and `given` say, the later ones before the earlier.

    Raises:
        ConfigError: one of them cannot be read, or has an unknown setting or one of the wrong type.
    """
    known = settings()
    file, wanted = file_named(path, environ)
    there = wanted or os.path.isfile(file)  # noqa: PTH113 - no error where the directory may not be looked into
    found = dict(in_file(known, file)) if there else {}
    found.update(in_environment(known, environ))
    found.update(in_words(known, words))
    found.update(in_arguments(known, given, giver))
    return found


def build(choice: Choice) -> Config:
    """The configuration that was chosen.

    Raises:
        ConfigError: no client can be made with it; the text says where the setting at fault stands.
    """
    if "network" not in choice:
        raise ConfigError(f"no network is chosen: give --network, {PREFIX}NETWORK, or `network` in {default_file()}")
    try:
        return _built(choice)
    except ConfigError as error:
        raise _placed(choice, error) from error


def _built(choice: Choice) -> Config:
    arguments: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, chosen in choice.items():
        group, dot, name = key.partition(".")
        if dot:
            groups.setdefault(group, {})[name] = chosen.value
        else:
            arguments[NETWORK_ARGUMENT if key == "network" else key] = chosen.value
    arguments.update({group: GROUPS[group](**fields) for group, fields in groups.items()})
    return Config.create(**arguments)


def _placed(choice: Choice, error: ConfigError) -> ConfigError:
    """`error` with the place of the setting that it is about; what a program gave, it knows itself."""
    others = [key for key in choice if key != "network"]
    key = next((key for key in others if _refusal_without(choice, key) != str(error)), "network")
    place = choice[key].place
    if not (Path(place).is_absolute() or place.startswith((PREFIX, "--set"))):
        return error
    name = key.rpartition(".")[2]
    named = name in str(error) or name.replace("_", "-") in str(error)
    return ConfigError(f"{place}: {error}" if named else f"{place}: {key}: {error}")


def _refusal_without(choice: Choice, key: str) -> str:
    try:
        _built({name: chosen for name, chosen in choice.items() if name != key})
    except ConfigError as error:
        return str(error)
    return ""


def default_file() -> Path:
    """Where the file is if nothing says otherwise."""
    return platformdirs.user_config_path("phasegate", appauthor=False) / "phasegate.toml"


def file_named(path: Path | str | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """The file to read, and whether it has to be there."""
    named = path or environ.get(FILE_VARIABLE)
    return (Path(named).absolute(), True) if named else (default_file(), False)


def effective(choice: Choice) -> Iterator[tuple[str, Chosen]]:
    """Every setting with the value that it has in the end; a value of None is that nothing is set.

    Raises:
        ConfigError: no client can be made with what was chosen.
    """
    derived = _derived(build(choice), choice) if "network" in choice else {}
    for key, setting in settings().items():
        chosen = choice.get(key) or Chosen(setting.default, DEFAULT)
        follows = derived.get(key, chosen)
        by_itself = chosen.place == DEFAULT and follows.value != chosen.value
        yield key, follows if by_itself else Chosen(follows.value, chosen.place)


def _derived(config: Config, choice: Choice) -> Choice:
    """What follows from other settings, and from the network."""
    network, seeds = f"default of {config.network.file_name}", config.dns_seeds
    found = {
        "dns_seeds": Chosen(config.network.dns_seeds if seeds is None else seeds, network),
        "max_tip_age": Chosen(config.max_tip_age or 0, network),
        "min_chainwork": Chosen(f"{config.least_work:x}", network),
        "datadir": Chosen(str(config.datadir), DEFAULT),
    }
    limits: dict[str, Any] = attrs.asdict(config.limits, recurse=False)
    place = f"follows from memory_limit of {choice['memory_limit'].place}" if "memory_limit" in choice else DEFAULT
    return {**found, **{f"limits.{name}": Chosen(value, place) for name, value in limits.items()}}
