"""`sync --watch` with items of masternodes, and what `transactions`, `status` and `unwatch` say of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import Block
from phasegate.consensus.special_txs import PRO_UP_SERV, mentioned
from phasegate.consensus.watch_elements import element_text
from phasegate.p2p.simnet.generated import generate

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def updates() -> tuple[bytes, list[str]]:
    """The proTxHash of a masternode on the chain of the node, and the txids of what changed it, in display order."""
    chain = generate(120, 11)
    blocks = [Block.from_bytes(chain.block(height) or b"") for height in range(1, chain.height + 1)]
    told = [tx for block in blocks for tx in block.transactions]
    names = [element for tx in told if tx.type == PRO_UP_SERV for element in mentioned(tx) if len(element) == 32]
    return names[0], [tx.txid[::-1].hex() for tx in told if names[0] in mentioned(tx)]


def test_a_masternode_is_watched_by_its_hash(
    sync: Run, run: Run, honest: Any, tmp_path: Path, updates: tuple[bytes, list[str]], check_line: Run
) -> None:
    name, txids = updates
    item = f"protx:{name[::-1].hex()}"
    outcome = sync("--peer", honest.address, "--watch", item)
    assert [(tx["txid"], tx["scripts"]) for tx in outcome.summary["transactions"]] == [(t, [name.hex()]) for t in txids]
    shown = run("transactions", item, "--datadir", tmp_path)
    assert (shown.code, shown.out.count("+0 ")) == (0, len(txids))
    assert item in shown.out
    assert all(txid in shown.out for txid in txids)
    lines = run("transactions", item, "--datadir", tmp_path, "--json").lines
    assert [(line["txid"], line["amount"]) for line in lines] == [(txid, 0) for txid in txids]
    (status,) = run("status", "--datadir", tmp_path, "--json").lines
    check_line(status)
    (watched,) = status["watch"]
    assert (watched["script"], watched["item"], watched["address"]) == (name.hex(), item, None)
    told = run("status", "--datadir", tmp_path).out
    assert "0 scripts, 1 of masternodes, matched to" in told
    assert "balance" not in told
    assert run("unwatch", item, "--datadir", tmp_path).out == "1 removed\n"
    assert run("transactions", "--datadir", tmp_path).out == "no transaction was found\n"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (f"mnkey:{'0a' * 48}", "an operator key (BLS, 96 hex characters) is in no filter"),
        ("protx:00", "a proTxHash is 64 hex characters"),
        ("collateral:00", "give collateral:TXID:N"),
    ],
)
def test_what_is_no_item_of_a_masternode_is_refused_in_one_line(run: Run, tmp_path: Path, item: str, said: str) -> None:
    peer = ("--network", "simnet", "--peer", "127.0.0.1:1", "--datadir", tmp_path)
    outcome = run("sync", *peer, "--watch", item)
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert said in outcome.err


def test_a_file_may_list_them_with_comments(run: Run, tmp_path: Path) -> None:
    """A `#` begins a comment, no label."""
    items = [element_text(bytes([n]) * size, SIMNET) for n, size in enumerate((20, 32, 36), 1)]
    listed = tmp_path / "watched.txt"
    listed.write_text("\n".join(f"{item} # node {n}" for n, item in enumerate(items)), encoding="utf-8")
    run(
        *("sync", "--network", "simnet", "--peer", "127.0.0.1:1", "--connect-only", "--once", "--give-up", "0"),
        *("--datadir", tmp_path, "--watch-file", listed),
    )
    (status,) = run("status", "--datadir", tmp_path, "--json").lines
    assert {(watched["item"], watched["label"]) for watched in status["watch"]} == {(item, "") for item in items}
