"""`phasegate export`: headers, filter headers and filters into a file, for a fast start elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import name_left_behind, refusals
from phasegate.cli.work_bar import work_bar

if TYPE_CHECKING:
    from phasegate.engine.chain_export import Reach
    from phasegate.engine.config import Config


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not be there yet.")],
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    no_filters: Annotated[bool, typer.Option("--no-filters", help="Headers only.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the stored chain to a file. Nothing of its owner; `import` verifies it. No sync may be running."""
    with refusals("export"):
        config = options.stored_config(network, datadir, activation, devnet_name)
        reach = _export(config, file, filters=not no_filters, hidden=as_json)
    name_left_behind("export", file.parent)
    size = file.stat().st_size
    if as_json:
        from phasegate.cli.output import write_line

        write_line("exported", None, {"network": config.network.file_name, **chain_fields(reach), "bytes": size})
        return
    typer.echo(f"{config.network.file_name}: {chain_told(reach)} in {file}, {size} bytes")


def _export(config: Config, file: Path, *, filters: bool, hidden: bool) -> Reach:
    from phasegate.engine.chain_export import export_chain, reach_of
    from phasegate.store import Store
    from phasegate.store.aside import made_whole

    store = Store.open(config.datadir, config.network)
    try:
        reach = reach_of(store.marks, filters=filters)
        with (
            made_whole(file) as partial,
            partial.open("xb") as target,
            work_bar("items", hidden=hidden) as report,
        ):
            export_chain(store, config.network, target, reach, report)
    finally:
        store.close()
    return reach


def chain_fields(reach: Reach) -> dict[str, int | None]:
    """The keys of a line about a file: heights, and null where there are no filters."""
    some = reach.filter_count > 0
    return {
        "start_height": reach.base,
        "end_height": reach.tip,
        "filters_from": reach.birthday if some else None,
        "filters_to": reach.filters if some else None,
    }


def chain_told(reach: Reach) -> str:
    """What a file holds, for people."""
    headers = f"headers {reach.base}..{reach.tip}"
    return f"{headers}, filters {reach.birthday}..{reach.filters}" if reach.filter_count else f"{headers}, no filters"
