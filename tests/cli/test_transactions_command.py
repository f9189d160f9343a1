"""`phasegate transactions`: the history of a data directory, as the recorded node's own record says it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.difficulty import work_of
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import BlockHeader
from phasegate.store import LabelWatch, RecordLost, RollBack, Store

Run = Callable[..., Any]
OWN_HEIGHTS = ("--activation", "dip3=2", "--activation", "v20=100", "--activation", "mn_rr=100")


@pytest.fixture
def stored(sync: Run, honest: Any) -> Any:
    """The summary of a sync into `tmp_path`."""
    return sync("--peer", honest.address, *honest.watching).summary


def test_the_recorded_payments_are_shown_as_the_node_records_them(
    run: Run, start_node: Run, sync: Run, capture: Path, tmp_path: Path, check_line: Run
) -> None:
    """Height, confirmations, ChainLock and InstantSend state of each, by the command and by the events alike."""
    record = json.loads((capture / "record.json").read_text())
    node = start_node("--recording", str(capture))
    told = sync("--peer", node.address, *node.watching, *OWN_HEIGHTS, network="regtest")
    assert told.code == 0
    outcome = run("transactions", "--datadir", tmp_path, *OWN_HEIGHTS, "--json")
    for line in outcome.lines:
        check_line(line)
    shown = {line["txid"]: line for line in outcome.events("entry")}
    listed = {txid for entry in record["watch"].values() for txid in entry["txs"]}
    assert shown.keys() == {*listed, record["spend"]}
    assert {line["event"] for line in outcome.lines} == {"entry"}

    best = max(lock["height"] for lock in record["chainlocks"])
    locked = {lock["txid"] for lock in record["islocks"]}
    for txid, line in shown.items():
        assert line["confirmations"] == record["height"] - line["height"] + 1
        assert line["chainlock"] is (line["height"] <= best)
        assert line["instantlock"] is (True if txid in locked else None)
    for address, entry in record["watch"].items():
        own = [line for line in shown.values() if entry["spk"] in line["scripts"]]
        assert {line["txid"] for line in own if line["txid"] != record["spend"]} == set(entry["txs"])
        only = run("transactions", address, "--datadir", tmp_path, *OWN_HEIGHTS, "--json").lines
        assert [line["txid"] for line in only] == [line["txid"] for line in own]
    duffs = sum(round(float(amount) * 100_000_000) for amount in record["balances"].values())
    assert sum(line["received"] for line in shown.values()) == duffs

    found = {line["txid"]: line["height"] for line in told.events("transaction")}
    assert found == {txid: line["height"] for txid, line in shown.items()}
    assert Counter(line["txid"] for line in told.events("instantlock")) == Counter(locked)
    assert told.events("chainlock")[-1]["height"] == best


@pytest.mark.usefixtures("stored")
def test_the_table_is_readable_and_cuts_nothing_off(run: Run, tmp_path: Path) -> None:
    """Without a terminal each transaction is one line with its whole txid, its amount and its locks."""
    lines = run("transactions", "--datadir", tmp_path, "--json").lines
    outcome = run("transactions", "--datadir", tmp_path)
    assert outcome.code == 0
    head, *rows = [line for line in outcome.out.splitlines() if line.strip() and "\u2500" not in line]
    assert " ".join(head.split()) == "date height conf. transaction duffs DASH ChainLock InstantSend label"
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        _, _, height, depth, txid, duffs, dash, chainlock, *_ = row.split()
        assert (int(height), int(depth), txid) == (line["height"], line["confirmations"], line["txid"])
        assert (int(duffs), round(float(dash) * 100_000_000)) == (line["amount"], line["amount"])
        assert (chainlock == "locked") is line["chainlock"]


def test_one_script_the_newest_and_labels(run: Run, stored: Any, tmp_path: Path) -> None:
    """An argument narrows it to one script, --limit to the newest of the chain; labels stand beside."""
    script = next(iter(stored["balances"]))
    store = Store.open(tmp_path, SIMNET)
    store.commit([LabelWatch(((bytes.fromhex(script), "tea [bold]house"),))])
    store.close()
    everything = run("transactions", "--datadir", tmp_path, "--json").lines
    own = run("transactions", script, "--datadir", tmp_path, "--json").lines
    assert [line["txid"] for line in own] == [line["txid"] for line in everything if script in line["scripts"]]
    assert all("tea [bold]house" in line["labels"] for line in own)
    newest = run("transactions", "--datadir", tmp_path, "--json", "--limit", "2").lines
    assert [line["txid"] for line in newest] == [line["txid"] for line in everything[-2:]]
    assert "tea [bold]house" in run("transactions", script, "--datadir", tmp_path).out


@pytest.mark.usefixtures("stored")
def test_what_left_the_chain_is_shown_last(run: Run, tmp_path: Path, check_line: Run, sync: Run, honest: Any) -> None:
    """In no block, with the height that it had: `missing`, until it is found again."""
    before = run("transactions", "--datadir", tmp_path, "--json").lines
    newest = before[-1]["height"]
    store = Store.open(tmp_path, SIMNET)
    lost = work_of(BlockHeader.from_bytes(store.header(store.marks.tip)).bits) * (store.marks.tip - newest + 1)
    store.commit([RecordLost(newest - 1, 1000.5), RollBack(newest - 1, store.marks.work - lost)])
    store.close()
    lines = run("transactions", "--datadir", tmp_path, "--json").lines
    for line in lines:
        check_line(line)
    gone = [line for line in lines if line["event"] == "missing"]
    assert lines[-len(gone) :] == gone
    assert [(line["txid"], line["height"], line["amount"], line["lost_at"]) for line in gone] == [
        (line["txid"], newest, line["amount"], 1000.5) for line in before if line["height"] == newest
    ]
    assert f"was {newest}" in run("transactions", "--datadir", tmp_path).out.splitlines()[-2]
    returned = sync("--peer", honest.address).events("returned")
    assert {line["txid"]: line["old_height"] for line in returned} == {line["txid"]: newest for line in gone}
    again = run("transactions", "--datadir", tmp_path, "--json").lines
    assert [(line["event"], line["txid"]) for line in again] == [("entry", line["txid"]) for line in before]


def test_what_cannot_be_shown_is_one_line(run: Run, tmp_path: Path) -> None:
    """A script that is not watched, an address that is none, a directory without a store."""
    Store.open(tmp_path, SIMNET).close()
    assert run("transactions", "--datadir", tmp_path).out == "no transaction was found\n"
    assert run("transactions", "--datadir", tmp_path, "--json").out == ""
    for words, code, said in (
        (("51", "--datadir", tmp_path), 2, "not watched: 51"),
        (("nonsense", "--datadir", tmp_path), 2, "'nonsense' is neither an address nor script hex"),
        (("--datadir", tmp_path / "none"), 5, "holds no store"),
    ):
        outcome = run("transactions", *words)
        assert (outcome.code, len(outcome.err.splitlines())) == (code, 1)
        assert said in outcome.err
