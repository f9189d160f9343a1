"""`phasegate backup`: a copy of a store, also while a client is running on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import name_left_behind, refusals


def backup(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="The file to write, which must not be there; or a directory, to be a data directory."
        ),
    ],
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    as_json: options.AsJson = False,
) -> None:
    """Copy a store as it is at this moment. A sync may be running; the copy appears whole or not at all."""
    from phasegate.store.backup import back_up

    with refusals("backup"):
        config = options.stored_config(network, datadir, activation, devnet_name)
        name = f"{config.network.file_name}.sqlite"
        place = target / name if target.is_dir() else target
        copied = back_up(config.datadir / name, place)
    name_left_behind("backup", place.parent)
    if as_json:
        from phasegate.cli.output import write_line

        fields = {"height": copied.height, "schema": copied.schema, "bytes": copied.size}
        write_line("backup", None, {"network": config.network.file_name, "file": str(place), **fields})
        return
    typer.echo(f"{config.network.file_name} up to height {copied.height} in {place}, {copied.size} bytes")
