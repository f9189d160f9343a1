"""`phasegate status`: what is stored, without connecting to anyone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from phasegate.cli import options
from phasegate.cli.refusal import refusals

if TYPE_CHECKING:
    from phasegate.cli.summary import Holdings
    from phasegate.consensus.params import Network
    from phasegate.engine.config import Config
    from phasegate.store import JournalRow, KeyChainUse, WatchItem, Watermarks


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
        held, items, chains = Holdings.read(store), store.watch_items(), store.key_chain_uses()
        last = store.journal(store.journal_end() - 1, 1)
        fingerprint = store.digest() if digest else None
    finally:
        store.close()
    (_say_json if as_json else _say)(config, held, _Watched(items, chains), last, fingerprint)


@attrs.frozen
class _Watched:
    items: list[WatchItem]
    chains: list[KeyChainUse]


def _say(config: Config, held: Holdings, watched: _Watched, last: list[JournalRow], fingerprint: str | None) -> None:
    from phasegate.cli.summary import holdings_lines

    typer.echo(f"{config.network.file_name} in {config.datadir}" + (f", {_standing(last[0])}" if last else ""))
    for line in holdings_lines(held, config.network):
        typer.echo(line)
    marks = held.marks
    reached = marks.matched >= marks.filters_base
    matched = f"matched to {marks.matched}{_of(marks)}" if reached else "not searched for yet"
    typer.echo(f"watched        {_counted(watched.items)}" + (f", {matched}" if watched.items else ""))
    for chain in watched.chains:
        typer.echo(f"key chain      {chain.descriptor}\n               {_reach(chain, held.marks)}")
    if held.marks.pending_blocks:
        typer.echo(f"pending        {held.marks.pending_blocks} blocks")
    if fingerprint is not None:
        typer.echo(fingerprint)


def _of(marks: Watermarks) -> str:
    """What is told of watched items is true only of the blocks that were searched."""
    return f" of {marks.tip}: later blocks are not searched" if marks.matched < marks.tip else ""


def _standing(last: JournalRow) -> str:
    return f"stopped when {last.source}" if last.target == "stopped" else f"last {last.target}"


def _counted(items: list[WatchItem]) -> str:
    from phasegate.consensus.watch_elements import is_of_masternode

    others = sum([is_of_masternode(item.script) for item in items])
    return f"{len(items) - others} scripts" + (f", {others} of masternodes" if others else "")


def _reach(chain: KeyChainUse, marks: Watermarks) -> str:
    used = "none used yet" if chain.highest_used is None else f"{chain.highest_used} the highest used"
    matched = f"matched to {chain.matched_to}" if chain.matched_to >= marks.filters_base else "not searched for yet"
    return f"0 to {chain.derived - 1} watched, {used}, gap limit {chain.gap}, {matched}"


def _say_json(
    config: Config, held: Holdings, watched: _Watched, last: list[JournalRow], fingerprint: str | None
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
        "watch": [_item(item, config.network) for item in watched.items],
        "key_chains": [_chain(chain) for chain in watched.chains],
        **found_dict(held),
    }
    write_line("status", None, fields if fingerprint is None else {**fields, "digest": fingerprint})


def _item(item: WatchItem, chain: Network) -> dict[str, Any]:
    from phasegate.consensus.addresses import address_of
    from phasegate.consensus.watch_elements import element_text

    return {
        "script": item.script.hex(),
        "item": element_text(item.script, chain),
        "address": address_of(item.script, chain),
        "label": item.label,
        "matched_to": item.matched_to,
    }


def _chain(chain: KeyChainUse) -> dict[str, Any]:
    return {
        "descriptor": chain.descriptor,
        "watched": chain.derived,
        "highest_used": chain.highest_used,
        "gap": chain.gap,
        "matched_to": chain.matched_to,
    }
