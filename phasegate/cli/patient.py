"""Whom `phasegate doctor` examines: a data directory of one network, and the seams through which it is looked at."""

from __future__ import annotations

from pathlib import Path

import attrs

from phasegate.consensus.params import MAINNET, NETWORKS
from phasegate.engine.config import Config, Devnet
from phasegate.engine.errors import ConfigError
from phasegate.engine.seams import Seams, proxied
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
    """The patient that the options name.

    Raises:
        ConfigError: one of them is wrong, or several networks are stored and none is chosen.
    """
    place = Config(network=MAINNET).datadir if datadir is None else datadir
    if not (network or devnet_name):
        network, devnet_name = _stored(place)
    config = Config.create(
        network or "devnet",
        datadir=place,
        devnet=Devnet(devnet_name),
        peers=peers,
        proxy=proxy,
        dns_seeds=dns_seeds,
    )
    seams = real_seams()
    return Patient(config, seams if config.proxy is None else proxied(seams, config.proxy))


def _stored(place: Path) -> tuple[str, str]:
    """Network and devnet name of the one store there; mainnet when there is none."""
    try:
        names = sorted([file.stem for file in place.glob("*.sqlite")])
    except OSError:
        names = []  # what is wrong with the directory is found later, and told as a finding
    held = [name for name in names if name in NETWORKS or name.startswith("devnet-")]
    if len(held) > 1:
        raise ConfigError(f"{place} holds stores of {', '.join(held)}: choose one with --network")
    name, _, own = (held[0] if held else MAINNET.name).partition("-")
    return name, own
