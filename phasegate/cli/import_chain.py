"""`phasegate import`: a new store from an exported chain, every item of it verified as if a peer had sent it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from phasegate.cli import options
from phasegate.cli.configured import usual_store
from phasegate.cli.export import chain_fields, chain_told
from phasegate.cli.refusal import Code, refusals, refuse
from phasegate.cli.work_bar import work_bar
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phasegate.engine.chain_import import Imported
    from phasegate.engine.config import Config


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `phasegate export` wrote, here or elsewhere.")],
    network: Annotated[
        str | None,
        typer.Option("--network", metavar=options.NAMES, help="Which chain; default: the one that the file is of."),
    ] = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    min_difficulty_blocks: options.MinDifficultyBlocks = 0,
    trusted_header: Annotated[
        str,
        typer.Option(
            metavar="HEIGHT:HEADER:CHAINWORK", help="Take a file that begins at this header, which you vouch for."
        ),
    ] = "",
    birthday: Annotated[
        str,
        typer.Option(
            metavar="HEIGHT|DATE",
            help="Nothing watched is older: take a file that begins no later than this, and search nothing below.",
        ),
    ] = "",
    as_json: options.AsJson = False,
) -> None:
    """Make a new store from an exported chain. The file need not be trusted: all is verified, or nothing is made."""
    from phasegate.engine.chain_file import BadChainFile

    with refusals("import"):
        try:
            with _opened(file) as source:
                choice = _Choice(network, datadir, tuple(activation or ()), devnet_name, min_difficulty_blocks)
                config = choice.config(source, trusted_header, birthday)
                done = _import(config, source, hidden=as_json)
        except BadChainFile as bad:
            refuse("import", f"{file}: {bad}", Code.FAILED)
        except MemoryError:
            refuse("import", f"{file}: there is no memory for it", Code.FAILED)
    told = done.told
    if as_json:
        from phasegate.cli.output import write_line

        place = {"network": told.network, "datadir": str(config.datadir), "birthday": done.birthday}
        write_line("imported", None, {**place, **chain_fields(told.reach)})
        return
    searched = f"; nothing below {done.birthday} is searched" if done.birthday else ""
    if told.reach.filter_count:
        typer.echo("filter headers are as good as one peer's word: the next sync holds them against those of its peers")
    typer.echo(f"{told.network} in {config.datadir}: {chain_told(told.reach)}, all verified{searched}")


def _opened(file: Path) -> BinaryIO:
    try:
        if not (file.is_file() or file.is_dir()) and file.exists():
            raise ConfigError(f"{file} is no regular file: keep what comes out of it in one, and import that")
        return file.open("rb")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


class _Choice:
    """What the user says about the network, completed by what the file says of itself."""

    def __init__(
        self,
        network: str | None,
        datadir: Path | None,
        activation: tuple[str, ...],
        devnet_name: str,
        min_difficulty_blocks: int,
    ) -> None:
        self._network = network
        self._datadir = datadir
        self._activation = activation
        self._devnet = devnet_name, min_difficulty_blocks

    def config(self, source: BinaryIO, trusted_header: str, birthday: str) -> Config:
        """The configuration to import under.

        Raises:
            BadChainFile: the file does not say of which network it is.
            ConfigError: what is chosen is wrong.
        """
        from phasegate.engine.config import Config, Devnet

        name, (devnet_name, blocks) = self._network, self._devnet
        datadir = self._datadir
        heights: Mapping[str, int] = options.activation_heights(self._activation)
        if name is None and devnet_name:
            name = "devnet"
        if name is None:
            name, devnet_name = _told_network(source)
            source.seek(0)
        if datadir is None:
            usual = usual_store(name, devnet_name, heights)
            datadir, devnet_name, heights = usual.datadir, usual.devnet_name, usual.heights
            blocks, birthday = blocks or usual.min_difficulty_blocks, birthday or usual.birthday
        return Config.create(
            name,
            datadir=datadir,
            activations=heights,
            devnet=Devnet(devnet_name, blocks),
            trusted_header=trusted_header,
            birthday=birthday,
        )


def _told_network(source: BinaryIO) -> tuple[str, str]:
    """Network and devnet name that a file says it is of.

    Raises:
        BadChainFile: it does not say, or there is no such network.
    """
    from phasegate.consensus.params import UnfitSetting, UnknownNetwork, network
    from phasegate.engine.chain_description import first_section, network_of
    from phasegate.engine.chain_file import read_sections

    section = first_section(read_sections(source))
    name, _, devnet_name = network_of(section).partition("-")
    try:
        network(name, devnet_name=devnet_name)
    except (UnknownNetwork, UnfitSetting) as error:
        raise section.refused(f"it is of no network that there is: {error}") from error
    return name, devnet_name


def _import(config: Config, source: BinaryIO, *, hidden: bool) -> Imported:
    from phasegate.engine.chain_import import import_chain

    with work_bar("items", hidden=hidden) as report:
        given = config.network, config.datadir, config.anchor, int(time.time()), report, config.birthday
        return import_chain(source, *given)
