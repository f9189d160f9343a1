"""`phasegate transactions`: the wallet's history as it is stored, without connecting to anyone."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from phasegate.cli import options
from phasegate.cli.refusal import one_line, refusals
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

    from phasegate.consensus.params import Network
    from phasegate.engine.config import Config
    from phasegate.store import LostTransaction, Store, WalletTransaction

WIDE = 10_000
"""Columns of output that is no terminal: what reads it cuts nothing off, so neither do we."""


def transactions(
    script: Annotated[
        str | None,
        typer.Argument(metavar="[ITEM]", help="Only those that concern it: an address, script hex or masternode."),
    ] = None,
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the newest N of the chain; default: all.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what was found. Depth, amount, locks, labels; what left the chain comes last; no sync may be running."""
    with refusals("transactions"):
        config = options.stored_config(network, datadir, activation, devnet_name)

        from phasegate.store import Store

        store = Store.open(config.datadir, config.network)
        try:
            wanted = None if script is None else _watched(store, config, script)
            found = store.history(script=wanted)
            gone = [record for record in store.lost_transactions() if wanted is None or wanted in record.scripts]
            labels = {item.script: item.label for item in store.watch_items()}
        finally:
            store.close()
    told = found[-limit:] if limit else found
    if as_json:
        _say_json(told, missing(gone), labels)
    else:
        _say(told, missing(gone), _Names(labels, config.network))


def _watched(store: Store, config: Config, text: str) -> bytes:
    from phasegate.engine.config import watch_script

    script = watch_script(text, config.network)
    if not store.watched([script]):
        raise ConfigError(f"not watched: {text}")
    return script


def missing(records: Sequence[LostTransaction]) -> list[LostTransaction]:
    """What left the chain and has not come back, each transaction once, as it was lost last."""
    newest = {record.txid: record for record in records}
    return [record for record in newest.values() if record.returned is None]


def _say_json(found: Sequence[WalletTransaction], gone: Sequence[LostTransaction], labels: dict[bytes, str]) -> None:
    from phasegate.cli.output import write_line

    for tx in found:
        write_line("entry", None, {**_both(tx), "labels": list(tx.labels), **_depth(tx)})
    for record in gone:
        write_line("missing", None, {**_both(record), "labels": _labels(record, labels), "lost_at": record.time})


def _both(tx: WalletTransaction | LostTransaction) -> dict[str, Any]:
    from phasegate.cli.summary import hexed

    return {
        "row_id": tx.row_id,
        "txid": hexed(tx.txid),
        "height": tx.height,
        "block_hash": hexed(tx.block_hash),
        "coinbase": tx.coinbase,
        "scripts": [script.hex() for script in tx.scripts],
        "received": tx.received,
        "sent": tx.sent,
        "amount": tx.received - tx.sent,
        "conflict": None if tx.conflict is None else hexed(tx.conflict),
    }


def _depth(tx: WalletTransaction) -> dict[str, Any]:
    return {
        "block_time": tx.time,
        "confirmations": tx.confirmations,
        "chainlock": tx.chainlock,
        "instantlock": tx.instantlock,
    }


def _labels(record: LostTransaction, labels: dict[bytes, str]) -> list[str]:
    named = [labels.get(script, "") for script in record.scripts]
    return list(dict.fromkeys([label for label in named if label]))


@attrs.frozen
class _Names:
    """How a person is told what a transaction concerns: by its labels, and a masternode without one by its item."""

    labels: dict[bytes, str]
    network: Network

    def of(self, tx: WalletTransaction | LostTransaction) -> Text:
        from rich.text import Text

        from phasegate.consensus.watch_elements import element_text, is_of_masternode

        items = {script: element_text(script, self.network) for script in tx.scripts if is_of_masternode(script)}
        named = [self.labels.get(script) or items.get(script, "") for script in tx.scripts]
        return Text(one_line(", ".join(dict.fromkeys(filter(None, named)))))


def _say(found: Sequence[WalletTransaction], gone: Sequence[LostTransaction], names: _Names) -> None:
    from rich.console import Console

    if not found and not gone:
        typer.echo("no transaction was found")
        return
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=WIDE)
    table = _empty_table()
    for tx in found:
        chainlock = "locked" if tx.chainlock else "-"
        cells = str(tx.height), str(tx.confirmations), *_named(tx), chainlock, _INSTANT[tx.instantlock]
        table.add_row(_date(tx.time), *cells, names.of(tx))
    for record in gone:
        cells = f"was {record.height}", "0", *_named(record), "-", _fate(record)
        table.add_row(_date(record.time), *cells, names.of(record))
    console.print(table)


def _empty_table() -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("date", "height", "conf.", "transaction", "duffs", "DASH", "ChainLock", "InstantSend", "label"):
        wraps = title in ("transaction", "label")
        table.add_column(title, no_wrap=not wraps, overflow="fold", justify="right" if title in _NUMBERS else "left")
    return table


_NUMBERS = ("height", "conf.", "duffs", "DASH")
_INSTANT = {True: "locked", False: "conflict", None: "-"}


def _fate(record: LostTransaction) -> str:
    """What can be said of a transaction in no block."""
    if record.coinbase:
        return "void"
    return "-" if record.conflict is None else "conflict"


def _named(tx: WalletTransaction | LostTransaction) -> tuple[str, str, str]:
    """Its txid, and what it adds to the balance, in duffs and in Dash."""
    from phasegate.cli.summary import dash, hexed

    amount = tx.received - tx.sent
    return hexed(tx.txid), f"{amount:+}", dash(amount, sign="+").removesuffix(" DASH")


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
