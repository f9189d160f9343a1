"""`phasegate unwatch`: forget watched scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import refusals
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.store import Store


def unwatch(
    items: Annotated[
        list[str], typer.Argument(metavar="ADDRESS_OR_SCRIPT_HEX...", help="What is not to be watched any more.")
    ],
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
) -> None:
    """Remove stored watch items. Also the coins and transactions that concern no other; nothing may be syncing."""
    with refusals("unwatch"):
        config = options.stored_config(network, datadir, activation, devnet_name)

        from phasegate.engine.config import watch_script
        from phasegate.store import Store

        wanted = {watch_script(item, config.network): item for item in items}
        store = Store.open(config.datadir, config.network)
        try:
            _remove(store, wanted)
        finally:
            store.close()
    typer.echo(f"{len(wanted)} removed")


def _remove(store: Store, wanted: dict[bytes, str]) -> None:
    from phasegate.store import RemoveWatch

    watched = {item.script for item in store.watch_items()}
    if strangers := [text for script, text in wanted.items() if script not in watched]:
        raise ConfigError(f"not watched: {', '.join(strangers)}; nothing was removed")
    store.commit([RemoveWatch(tuple(wanted))])
