"""`sync --watch` and `unwatch` with descriptors and extended keys: stored, searched for, and forgotten again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.cli.summary import Holdings, holdings_lines
from phasegate.consensus.descriptor_checksums import checksum
from phasegate.consensus.params import SIMNET
from phasegate.store import AddKeyChains, AddWatch, Store, StoredKeyChain
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
