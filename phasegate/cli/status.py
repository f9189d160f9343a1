"""`phasegate status`: what is stored, without connecting to anyone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from phasegate.cli import options
from phasegate.cli.refusal import refusals

if TYPE_CHECKING:
    from phasegate.cli.summary import Holdings
    from phasegate.consensus.params import Network
    from phasegate.engine.config import Config
    from phasegate.store import JournalRow, WatchItem


def status(
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    as_json: options.AsJson = False,
    digest: Annotated[
        bool,
        typer.Option(
            "--digest", help="The SHA-256 over all that is stored, alone on the last line; with --json as a key."
        ),
    ] = False,
) -> None:
    """Show what is stored. How far, what is watched, what was found; no sync may be running."""
    with refusals("status"):
        config = options.stored_config(network, datadir, activation, devnet_name)
        _show(config, as_json, digest)


def _show(config: Config, as_json: bool, digest: bool) -> None:
    from phasegate.cli.summary import Holdings
    from phasegate.store import Store

    store = Store.open(config.datadir, config.network)
    try:
        held, items = Holdings.read(store), store.watch_items()
        last = store.journal(store.journal_end() - 1, 1)
        fingerprint = store.digest() if digest else None
    finally:
        store.close()
    (_say_json if as_json else _say)(config, held, items, last, fingerprint)


def _say(
    config: Config, held: Holdings, items: list[WatchItem], last: list[JournalRow], fingerprint: str | None
) -> None:
    from phasegate.cli.summary import holdings_lines

    typer.echo(f"{config.network.file_name} in {config.datadir}" + (f", {_standing(last[0])}" if last else ""))
    for line in holdings_lines(held, config.network):
        typer.echo(line)
    matched = (
        f"matched to {held.marks.matched}" if held.marks.matched >= held.marks.filters_base else "not searched for yet"
    )
    typer.echo(f"watched        {len(items)} scripts" + (f", {matched}" if items else ""))
    if held.marks.pending_blocks:
        typer.echo(f"pending        {held.marks.pending_blocks} blocks")
    if fingerprint is not None:
        typer.echo(fingerprint)


def _standing(last: JournalRow) -> str:
    return f"stopped when {last.source}" if last.target == "stopped" else f"last {last.target}"


def _say_json(
    config: Config, held: Holdings, items: list[WatchItem], last: list[JournalRow], fingerprint: str | None
) -> None:
    from phasegate.cli.output import write_line
    from phasegate.cli.summary import found_dict, hexed, masternodes_dict

    marks = held.marks
    fields: dict[str, Any] = {
        "network": config.network.name,
        "datadir": str(config.datadir),
        "state": last[0].target if last else None,
        "height": marks.tip,
        "tip": hexed(marks.tip_hash),
        "chainlock_height": marks.chainlock,
        "masternodes": masternodes_dict(held.masternodes),
        "filter_headers": marks.filter_headers - marks.base + 1,
        "filter_header": held.filter_header,
        "filters": held.filters,
        "matched_to": marks.matched,
        "pending_blocks": marks.pending_blocks,
        "watch": [_item(item, config.network) for item in items],
        **found_dict(held),
    }
    write_line("status", None, fields if fingerprint is None else {**fields, "digest": fingerprint})


def _item(item: WatchItem, chain: Network) -> dict[str, Any]:
    from phasegate.consensus.addresses import address_of

    address = address_of(item.script, chain)
    return {"script": item.script.hex(), "address": address, "label": item.label, "matched_to": item.matched_to}
