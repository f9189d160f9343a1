"""Whom `phasegate doctor` examines: a data directory of one network, and the seams through which it is looked at."""

from __future__ import annotations

from pathlib import Path

import attrs

from phasegate.cli.configured import chosen
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
    """The patient that the options name, and where they are silent the file and the environment.

    A proxy that is set up there is used in any case, for it is there to hide this machine. Peers and seeds belong to
    the network that is named beside them.

    Raises:
        ConfigError: one of them is wrong, or several networks are stored and none is chosen.
    """
    usual = {key: one.value for key, one in chosen(None, ()).items()}
    if datadir is None:
        datadir = usual.get("datadir")
        if not (network or devnet_name):
            network, devnet_name = usual.get("network"), usual.get("devnet.name", "")
    place = Config(network=MAINNET).datadir if datadir is None else Path(datadir)
    if not (network or devnet_name):
        network, devnet_name = _stored(place)
    network = network or "devnet"
    ours = network == usual.get("network", network) and devnet_name == usual.get("devnet.name", devnet_name)
    config = Config.create(
        network,
        datadir=place,
        devnet=Devnet(devnet_name),
        peers=peers or (usual.get("peers", ()) if ours else ()),
        proxy=proxy or usual.get("proxy", ""),
        dns_seeds=usual.get("dns_seeds") if dns_seeds is None and ours else dns_seeds,
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
