"""`sync --watch` and `unwatch` with descriptors and extended keys: stored, searched for, and forgotten again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.cli.summary import Holdings, holdings_lines
from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.descriptor_checksums import checksum
from phasegate.consensus.filters import chain_headers, filter_hash
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddKeyChains,
    AddWatch,
    AppendFilterHeaders,
    MarkMatched,
    PutFilters,
    RecordBlock,
    Store,
    StoredKeyChain,
)
from tests.paid_key_chains import MASTER, account_text, descriptor, script

Run = Callable[..., Any]
XPUB = account_text(0)
CHAINS = str(descriptor(0, 0)), str(descriptor(0, 1))
PEER = ("--network", "simnet", "--peer", "127.0.0.1:1")


def chains(place: Path) -> list[StoredKeyChain]:
    store = Store.open(place, SIMNET)
    try:
        return store.key_chains()
    finally:
        store.close()


def test_a_sync_watches_what_descriptors_and_extended_keys_stand_for(sync: Run, honest: Any, tmp_path: Path) -> None:
    """The addresses of the node as descriptors, from a file with checksums and comments, beside an extended key."""
    listed = tmp_path / "watched.txt"
    texts = [f"addr({address})" for address in honest.told["watch"]]
    lines = [f"{text}#{checksum(text)} # mine" for text in texts[:-1]]
    listed.write_text("\n".join(["# all but one", *lines, f"{XPUB}:gap=4#none is used"]), encoding="utf-8")
    watch = ("--watch", texts[-1], "--watch-file", str(listed))
    balances = sync("--peer", honest.address, *watch).summary["balances"]
    assert {script: held for script, held in balances.items() if held} == {
        script: held for script, held in honest.told["expected"]["balances"].items() if held
    }
    assert len(balances) == len(texts) + 8
    assert chains(tmp_path) == [StoredKeyChain(chain, 4, 4) for chain in CHAINS]


@pytest.fixture
def watching(tmp_path: Path) -> Path:
    """A data directory in which an account and two scripts are watched, one of them of the account."""
    store = Store.open(tmp_path, SIMNET)
    store.commit([AddKeyChains(tuple((chain, 3) for chain in CHAINS)), AddWatch(((b"\x51", ""),))])
    store.commit([AddWatch(((script(0, 0, 1), ""),))])
    store.close()
    return tmp_path


def test_status_tells_how_far_each_chain_is_watched_and_used(run: Run, watching: Path, check_line: Run) -> None:
    """From the store alone; a script that was only mentioned is used as well."""
    mined = ChainBlocks(watching)
    (line,) = run("status", "--datadir", watching, "--json").lines
    check_line(line)
    assert [(chain["descriptor"], chain["highest_used"], chain["watched"]) for chain in line["key_chains"]] == [
        (CHAINS[0], None, 3),
        (CHAINS[1], None, 3),
    ]
    assert (
        "0 to 2 watched, none used yet, gap limit 3, not searched for yet" in run("status", "--datadir", watching).out
    )
    mined.record(paying=script(0, 0, 2), mentioning=script(0, 1, 1))
    (line,) = run("status", "--datadir", watching, "--json").lines
    check_line(line)
    assert line["key_chains"] == [
        {"descriptor": CHAINS[0], "watched": 6, "highest_used": 2, "gap": 3, "matched_to": -1},
        {"descriptor": CHAINS[1], "watched": 6, "highest_used": 1, "gap": 3, "matched_to": -1},
    ]
    mined.match()
    out = run("status", "--datadir", watching).out
    assert (
        f"key chain      {CHAINS[0]}\n               0 to 5 watched, 2 the highest used, gap limit 3, matched to 0"
        in out
    )


class ChainBlocks:
    """Writes what a sync would have found into a store that has the genesis block alone."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def record(self, paying: bytes, mentioning: bytes) -> None:
        """A payment to one script, and a transaction that mentions another, at height 0."""
        coin = Coin(OutPoint(b"p" * 32, 0), 5, paying, 0)
        paid = FoundTransaction(b"p" * 32, 0, (paying,), 5, 0)
        named = FoundTransaction(b"n" * 32, 1, (mentioning,), 0, 0, (), (mentioning,))
        self._commit(RecordBlock(0, BlockFindings(0, (paid, named), (coin,))))

    def match(self) -> None:
        """Everything is matched against the filter of the genesis block."""
        store = Store.open(self._place, SIMNET)
        raw = b"\0"
        header = chain_headers(bytes(32), filter_hash(raw))
        scripts = tuple(sorted(item.script for item in store.watch_items()))
        store.commit([AppendFilterHeaders(0, header), PutFilters(((0, raw),)), MarkMatched(scripts, 0, 0, ())])
        store.close()

    def _commit(self, change: RecordBlock) -> None:
        store = Store.open(self._place, SIMNET)
        store.commit([change])
        store.close()


def test_unwatch_forgets_an_extended_key_and_leaves_what_is_watched_for_itself(run: Run, watching: Path) -> None:
    assert run("unwatch", XPUB, "--datadir", watching).out == "1 removed\n"
    assert chains(watching) == []
    (line,) = run("status", "--datadir", watching, "--json").lines
    assert {item["script"] for item in line["watch"]} == {"51", script(0, 0, 1).hex()}


def test_unwatch_takes_any_text_that_means_the_same(run: Run, watching: Path) -> None:
    text = f"pkh([d34db33f/44'/1'/0']{XPUB}/1/*)"
    assert run("unwatch", f"{text}#{checksum(text)}", script(0, 0, 1).hex(), "raw(51)", "--datadir", watching).code == 0
    assert [chain.descriptor for chain in chains(watching)] == [CHAINS[0]]
    (line,) = run("status", "--datadir", watching, "--json").lines
    assert {item["script"] for item in line["watch"]} == {script(0, 0, index).hex() for index in range(3)}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (account_text(1), "not watched: tpub"),
        (f"pkh({XPUB}/2/*)", "not watched: pkh("),
        (script(0, 0, 0).hex(), "watched for a descriptor alone: 76a9"),
        (script(0, 0, 3).hex(), "not watched: 76a9"),
    ],
)
def test_unwatch_refuses_what_is_not_watched_for_itself(run: Run, watching: Path, item: str, said: str) -> None:
    """And removes nothing, of the others either."""
    outcome = run("unwatch", "51", item, "--datadir", watching)
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert said in outcome.err
    assert "nothing was removed" in outcome.err
    (line,) = run("status", "--datadir", watching, "--json").lines
    assert len(line["watch"]) == 7


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (MASTER, "is of another network, not simnet"),
        (f"{XPUB}:gap=0", "a gap limit of 0 is none of 1..1000"),
        (f"wpkh({XPUB}/0/*)", "wpkh() is refused: Dash has no segregated witness"),
        (f"pkh({XPUB}/0'/*)", "step 0' of a key is hardened"),
        (f"pkh({XPUB}/0/*)#qqqqqqqq", "the descriptor's checksum is qqqqqqqq and should be"),
    ],
)
def test_sync_says_what_is_wrong_with_an_item(run: Run, tmp_path: Path, item: str, said: str) -> None:
    outcome = run("sync", *PEER, "--datadir", tmp_path / "store", "--json", "--watch", item)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert said in outcome.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("scripts", "shown"), [(20, 20), (21, 2)])
def test_a_person_is_not_shown_dozens_of_empty_scripts(tmp_path: Path, scripts: int, shown: int) -> None:
    store = Store.open(tmp_path, SIMNET)
    balances = {script(0, 0, index): 10 * (index < 2) for index in range(scripts)}
    lines = holdings_lines(Holdings(store.marks, balances=balances), SIMNET)
    store.close()
    assert sum(line.startswith("balance") for line in lines) == shown
