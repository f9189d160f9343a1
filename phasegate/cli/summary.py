"""What a run came to, read from the store after it was closed, so that it is what the next run will find."""

from __future__ import annotations

from typing import Any, Self

import attrs

from phasegate.cli.ending import Ending
from phasegate.cli.refusal import Code, one_line
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.params import Network
from phasegate.consensus.watch_elements import element_text, is_of_masternode
from phasegate.engine.client import Client
from phasegate.engine.config import Config
from phasegate.store import Store, StoredTransaction, StoreError, StoreFailed, Watermarks

DASH = 100_000_000
"""Duffs in one Dash."""
SHOWN = 20
"""Transactions that a person is shown."""


@attrs.frozen
class Holdings:
    """What a store holds, as far as a person asks for it; hashes in wire order, amounts in duffs.

    `balances` has only the scripts that have been searched for: of the others nothing is known.
    """

    marks: Watermarks
    masternodes: MasternodeState | None = None
    matched_blocks: tuple[int, ...] = ()
    transactions: tuple[StoredTransaction, ...] = ()
    balances: dict[bytes, int] = attrs.field(factory=dict)
    complete: bool = False
    """Whether the store could be read; else only the marks are known."""

    @classmethod
    def read(cls, store: Store) -> Self:
        """From an open store."""
        state, marks = store.masternode_state(), store.read_marks()
        searched = {item.script for item in store.watch_items() if item.matched_to >= marks.filters_base}
        return cls(
            marks,
            None if state is None else MasternodeState.from_bytes(state),
            tuple(store.matched_heights()),
            tuple(store.transactions()),
            {script: amount for script, amount in store.balances().items() if script in searched},
            complete=True,
        )

    @property
    def filters(self) -> int:
        """How many filters are stored."""
        return self.marks.filters - self.marks.filters_base + 1

    @property
    def corroborated(self) -> int | None:
        """Up to where two or more peers stated the stored filter headers; None when nowhere."""
        return self.marks.corroborated if self.marks.corroborated >= self.marks.base else None

    @property
    def filter_header(self) -> str | None:
        """The newest filter header in display order, None when there is none."""
        return hexed(self.marks.filter_header) if self.marks.filter_headers >= self.marks.base else None


@attrs.frozen
class Summary:
    """The `summary` line."""

    config: Config
    ending: Ending
    holdings: Holdings
    seconds: float
    phases: dict[str, tuple[int, float]]

    def as_dict(self) -> dict[str, Any]:
        """Its keys, but for `event` and `time`."""
        held, config = self.holdings, self.config
        return {
            "state": self.ending.state,
            "reason": self.ending.reason,
            "height": held.marks.tip,
            "tip": hexed(held.marks.tip_hash),
            "chainwork": f"{held.marks.work:064x}",
            "difficulty_from": max(held.marks.base + 1, config.network.linked_until),
            "chainlock_height": held.marks.chainlock if config.masternodes else None,
            "masternodes": masternodes_dict(held.masternodes) if config.masternodes else None,
            "filter_header": held.filter_header if config.filters else None,
            "filters": held.filters if config.filters else 0,
            "filters_from": held.marks.birthday if config.filters else None,
            "corroborated": held.corroborated if config.filters else None,
            "disputed": held.marks.disputed if config.filters else None,
            **self._found(),
            "seconds": round(self.seconds, 3),
            "phases": {
                name: {"items": items, "seconds": round(seconds, 3)} for name, (items, seconds) in self.phases.items()
            },
        }

    def _found(self) -> dict[str, Any]:
        """What was found; what is locked is not known without the masternodes that sign locks."""
        if not self.holdings.complete:
            return dict.fromkeys(("matched_blocks", "transactions", "balances"))
        found = found_dict(self.holdings)
        if not self.config.masternodes:
            found["transactions"] = [{**transaction, "instantlock": None} for transaction in found["transactions"]]
        return found

    def lines(self) -> list[str]:
        """The same for a person."""
        reason = one_line(self.ending.reason)
        ending = f"{self.ending.state}: {reason}" if reason else self.ending.state
        phases = ", ".join(f"{name} {items} in {secs:.1f} s" for name, (items, secs) in self.phases.items())
        return [
            f"{ending}, after {self.seconds:.1f} s" + (f" ({phases})" if phases else ""),
            *holdings_lines(self.holdings, self.config.network),
        ]


def hexed(block_hash: bytes) -> str:
    """A hash as people write it."""
    return block_hash[::-1].hex()


def masternodes_dict(state: MasternodeState | None) -> dict[str, Any] | None:
    """Height, number of masternodes (banned ones too) and merkle root of a list."""
    if state is None:
        return None
    return {"height": state.height, "count": state.count, "merkle_root": hexed(state.merkle_root())}


def found_dict(held: Holdings) -> dict[str, Any]:
    """What was found for the watched scripts."""
    return {
        "matched_blocks": list(held.matched_blocks),
        "transactions": [transaction_dict(found) for found in held.transactions],
        "balances": {script.hex(): amount for script, amount in held.balances.items()},
    }


def transaction_dict(found: StoredTransaction) -> dict[str, Any]:
    """A found transaction."""
    return {
        "txid": hexed(found.txid),
        "height": found.height,
        "scripts": [script.hex() for script in found.scripts],
        "received": found.received,
        "sent": found.sent,
        "instantlock": found.instantlock,
    }


def holdings_lines(held: Holdings, chain: Network) -> list[str]:
    """What a store holds, for a person."""
    lines = [f"tip            {held.marks.tip}  {hexed(held.marks.tip_hash)}"]
    if held.marks.chainlock is not None:
        lines.append(f"ChainLock      {held.marks.chainlock}")
    if (listed := held.masternodes) is not None:
        lines.append(f"masternodes    {listed.count} ({listed.valid_count} valid) at height {listed.height}")
    if held.filter_header is not None:
        lines.append(f"filters        {held.filters}, {len(held.matched_blocks)} blocks matched")
    if held.transactions:
        lines.append(f"transactions   {len(held.transactions)}" + _newest(len(held.transactions)))
    lines += [
        f"               {hexed(found.txid)} at {found.height}: {dash(found.received - found.sent, sign='+')}"
        + _LOCKED[found.instantlock]
        for found in held.transactions[-SHOWN:]
    ]
    lines += [
        f"balance        {element_text(script, chain)}: {dash(amount)}"
        for script, amount in _worth_showing(held.balances).items()
    ]
    return lines


def _worth_showing(balances: dict[bytes, int]) -> dict[bytes, int]:
    """All scripts, or of many those that hold something: an extended key stands for dozens of scripts that do not."""
    many = len(balances) > SHOWN
    return {script: amount for script, amount in balances.items() if amount or not (many or is_of_masternode(script))}


_LOCKED = {True: ", locked", False: ", another transaction is locked instead", None: ""}


def _newest(count: int) -> str:
    return "" if count <= SHOWN else f", the newest {SHOWN}:"


def dash(duffs: int, sign: str = "") -> str:
    """An amount in Dash; `sign` stands before one that is not negative."""
    whole, rest = divmod(abs(duffs), DASH)
    return f"{'-' if duffs < 0 else sign}{whole}.{rest:08} DASH"


def sum_up(client: Client, ending: Ending, seconds: float) -> Summary:
    """The summary of a run that has ended; if its store cannot be read, with the marks of the last commit alone.

    A run whose store is gone or is not what it wrote has failed, however it ended.
    """
    try:
        held = _reopened(client.config)
        if held.marks != client.status.marks:
            raise StoreFailed(f"{client.config.datadir} was changed by someone else meanwhile")
    except StoreError as error:
        held = Holdings(client.status.marks)
        if ending.code in (Code.SYNCED, Code.INTERRUPTED):
            ending = Ending("failed", str(error), Code.STORE)
    return Summary(client.config, ending, held, seconds, client.totals)


def _reopened(config: Config) -> Holdings:
    if not (config.datadir / f"{config.network.file_name}.sqlite").is_file():
        raise StoreFailed(f"the {config.network.name} store in {config.datadir} was removed meanwhile")
    store = Store.open(config.datadir, config.network)
    try:
        return Holdings.read(store)
    finally:
        store.close()
