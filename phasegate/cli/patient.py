"""Whom `phasegate doctor` examines: a data directory of one network, and the seams through which it is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from phasegate.cli.configured import chosen, same_chain
from phasegate.cli.options import held_in, the_only
from phasegate.consensus.params import MAINNET
from phasegate.engine.config import Config
from phasegate.engine.seams import Seams, proxied
from phasegate.engine.setting_places import Chosen
from phasegate.engine.settings import Choice, build
from phasegate.store import StoreFailed
from phasegate.store.examination import Examination


@attrs.define
class Patient:
    """One examination; `seen` is what the stored database tells, once it was looked at and could be read."""

    config: Config
    seams: Seams
    seen: Examination | None = None

    @property
    def directory(self) -> Path:
        """The data directory."""
        return self.config.datadir

    @property
    def database(self) -> Path:
        """The file of the store."""
        return self.directory / f"{self.config.network.file_name}.sqlite"


def real_seams() -> Seams:
    """The seams of a real examination."""
    return Seams()


def admitted(
    network: str | None,
    datadir: Path | None,
    devnet_name: str,
    *,
    peers: tuple[str, ...],
    proxy: str,
    dns_seeds: tuple[str, ...] | None,
) -> Patient:
    """The patient that the options name, and where they do not, the environment and the file.

    Raises:
        ConfigError: one of them is wrong, or several networks are stored and none is chosen.
    """
    choice = chosen(None, (), datadir=datadir, peers=peers, proxy=proxy, dns_seeds=dns_seeds)
    named = _value(choice, "network", None), _value(choice, "devnet.name", "")
    if not (network or devnet_name):
        told = datadir is None and named[0] is not None
        network, devnet_name = named if told else _stored(_value(choice, "datadir", None), named)
    elif network == named[0]:
        devnet_name = devnet_name or named[1]
    config = build({**_kept(choice, alike=same_chain(named, network, devnet_name)), **_chain(network, devnet_name)})
    seams = real_seams()
    return Patient(config, seams if config.proxy is None else proxied(seams, config.proxy))


_PLACES = ("datadir", "peers", "connect_only", "proxy", "dns_seeds")
"""The settings that an examination is about, whichever the chain is."""


def _kept(choice: Choice, *, alike: bool) -> Choice:
    """What is needed of the settings; what belongs to a chain only if they are about the one that is examined."""
    of_chain = {key for key in choice if key == "activations" or key.startswith("devnet.")}
    return {key: one for key, one in choice.items() if key in _PLACES or (alike and key in of_chain)}


def _chain(network: str | None, devnet_name: str) -> Choice:
    named = {"network": network or "devnet", "devnet.name": devnet_name}
    return {key: Chosen(value, "the command line") for key, value in named.items() if value}


def _value(choice: Choice, key: str, otherwise: Any) -> Any:
    return choice[key].value if key in choice else otherwise


def _stored(place: str | Path | None, otherwise: tuple[str | None, str]) -> tuple[str | None, str]:
    """Network and devnet name of the one store there; when there is none, what is named otherwise, or mainnet."""
    directory = Config(network=MAINNET).datadir if place is None else Path(place)
    try:
        held = held_in(directory)
    except StoreFailed:
        held = []  # what is wrong with the directory is found later, and told as a finding
    return the_only(held, directory) if held else (otherwise[0] or MAINNET.name, otherwise[1])
