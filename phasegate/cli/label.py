"""`phasegate label`: how a watched script or item of a masternode is called."""

from __future__ import annotations

from typing import Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import one_line, refusals
from phasegate.engine.errors import ConfigError


def label(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="What is watched, as for sync --watch.")],
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="How it is to be called; '' takes the label away.")
    ] = None,
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
) -> None:
    """Label a watched item. Without TEXT its label is shown; nothing may be syncing."""
    with refusals("label"):
        config = options.stored_config(network, datadir, activation, devnet_name)

        from phasegate.engine.config import watched
        from phasegate.engine.watching import to_label
        from phasegate.store import Store

        watch = watched([item], config.network)
        if watch.chains:
            raise ConfigError("a label is for a script, and a descriptor with a * or an extended key stands for many")
        store = Store.open(config.datadir, config.network)
        try:
            labels = {known.script: known.label for known in store.watch_items() if known.script in watch.scripts}
            if len(labels) < len(watch.scripts):
                raise ConfigError(f"not watched: {item}")
            if text is not None:
                store.commit([to_label({item: text}, config.network)])
        finally:
            store.close()
    if text is None:
        typer.echo(one_line(", ".join(dict.fromkeys(filter(None, labels.values())))))
    else:
        typer.echo("labelled" if text else "label removed")
