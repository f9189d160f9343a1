"""The configuration of a command: its options before the environment, that before the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
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


@attrs.frozen
class Usual:
    """Where a store is, and of which chain: what options say, and else the settings; None or empty if neither does."""

    datadir: Path | None
    network: str | None
    devnet_name: str
    heights: Mapping[str, int]
    min_difficulty_blocks: int
    birthday: str


def usual_store(network: str | None, devnet_name: str, heights: Mapping[str, int]) -> Usual:
    """Where the file and the environment have the store, and of which chain, as far as options do not say that.

    Activations and what else belongs to one chain are taken from there only if no other chain is named.

    Raises:
        ConfigError: one of the settings cannot be read.
    """
    choice = {key: one.value for key, one in chosen(None, ()).items()}
    named = choice.get("network"), choice.get("devnet.name", "")
    if not (network or devnet_name):
        network, devnet_name = named
    elif network == named[0] and not devnet_name:
        devnet_name = named[1]
    if not same_chain(named, network, devnet_name):
        choice = {key: choice[key] for key in choice if key == "datadir"}
    place = choice.get("datadir")
    blocks = choice.get("devnet.min_difficulty_blocks", 0)
    heights = heights or choice.get("activations", {})
    return Usual(
        None if place is None else Path(place), network, devnet_name, heights, blocks, choice.get("birthday", "")
    )


def same_chain(named: tuple[str | None, str], network: str | None, devnet_name: str) -> bool:
    """Whether settings that name a network and a devnet are about this one; those that name none are about any."""
    return named[0] is None or named == (network or "devnet", devnet_name)
