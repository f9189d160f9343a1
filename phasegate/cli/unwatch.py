"""`phasegate unwatch`: forget watched scripts and key chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import refusals
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.consensus.watch_texts import Watch
    from phasegate.store import Store


def unwatch(
    items: Annotated[
        list[str], typer.Argument(metavar="ITEM...", help="What is not to be watched any more, as for sync --watch.")
    ],
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
) -> None:
    """Remove stored watch items. Also the coins and transactions that concern no other; nothing may be syncing."""
    with refusals("unwatch"):
        config = options.stored_config(network, datadir, activation, devnet_name)

        from phasegate.engine.config import watched
        from phasegate.store import Store

        wanted = {item: watched([item], config.network) for item in dict.fromkeys(items)}
        store = Store.open(config.datadir, config.network)
        try:
            _remove(store, wanted)
        finally:
            store.close()
    typer.echo(f"{len(wanted)} removed")


def _remove(store: Store, wanted: dict[str, Watch]) -> None:
    from phasegate.consensus.watch_texts import Watch
    from phasegate.engine.watching import to_remove

    own, chains = store.watched_alone(), {chain.descriptor for chain in store.key_chains()}
    strangers = [
        item
        for item, watch in wanted.items()
        if not (own.issuperset(watch.scripts) and chains.issuperset(str(chain.descriptor) for chain in watch.chains))
    ]
    if strangers:
        derived = {script for script in store.balances() if script not in own}
        why = "not watched" if derived.isdisjoint(wanted[strangers[0]].scripts) else "watched for a descriptor alone"
        raise ConfigError(f"{why}: {', '.join(strangers)}; nothing was removed")
    store.commit(to_remove(Watch.joined(wanted.values())))
