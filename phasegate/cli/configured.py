"""The configuration of a command: its options before the environment, that before the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from phasegate.engine.config import Config
    from phasegate.engine.settings import Choice

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings in TOML; default: the file that PHASEGATE_CONFIG names, or phasegate.toml in the user's "
        "configuration directory.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, as limits.tick=1 (may be repeated); phasegate config lists all.",
    ),
]


def chosen(file: Path | None, words: Sequence[str] | None, **given: Any) -> Choice:
    """What is chosen by the file, the environment, `--set` words, and options; one that is not given is None or empty.

    Raises:
        ConfigError: one of them is no setting, or of a wrong type.
    """
    from phasegate.engine.settings import choose

    return choose(file, os.environ, _told(given), words or (), "the command line")


def configured(file: Path | None, words: Sequence[str] | None, **given: Any) -> Config:
    """The configuration that is chosen; see `chosen`.

    Raises:
        ConfigError: one of the settings is wrong.
    """
    from phasegate.engine.settings import build

    return build(chosen(file, words, **given))


def _told(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; those of a group likewise."""
    kept = {name: _told(one) if isinstance(one, dict) else one for name, one in given.items()}
    return {name: one for name, one in kept.items() if one is not None and one not in ("", (), {})}


def peer_limits(max_peers: int | None) -> dict[str, int | None]:
    """The limits that go with the number of peers: no more of them can serve filters."""
    from phasegate.engine.limits import Limits

    few = max_peers is not None and max_peers < Limits().filter_peers
    return {"max_peers": max_peers, "filter_peers": max_peers if few else None}


def usual_store(
    network: str | None, devnet_name: str, heights: Mapping[str, int]
) -> tuple[Path | None, str | None, str, Mapping[str, int]]:
    """Where the file and the environment have the store, and of which chain, as far as options do not say that.

    Raises:
        ConfigError: one of the settings cannot be read.
    """
    choice = {key: one.value for key, one in chosen(None, ()).items()}
    place = choice.get("datadir")
    if not (network or devnet_name):
        network, devnet_name = choice.get("network"), choice.get("devnet.name", "")
    return None if place is None else Path(place), network, devnet_name, heights or choice.get("activations", {})
