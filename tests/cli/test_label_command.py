"""`phasegate label`: what is watched gets a name, is asked for it, and loses it, in a store that nobody runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.addresses import address_of
from phasegate.consensus.params import SIMNET
from phasegate.store import AddKeyChains, AddWatch, Store
from tests.paid_key_chains import account_text, descriptor, script

Run = Callable[..., Any]
OWN, DERIVED, NODE = script(1, 0, 0), script(0, 0, 1), bytes(range(32))
ADDRESS, PROTX = str(address_of(OWN, SIMNET)), f"protx:{NODE[::-1].hex()}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory in which a script, a chain of keys and a masternode are watched."""
    store = Store.open(tmp_path, SIMNET)
    store.commit([AddKeyChains(((str(descriptor(0, 0)), 3),)), AddWatch(((OWN, "till"), (NODE, "")))])
    store.close()
    return tmp_path


def labels(place: Path) -> dict[bytes, str]:
    store = Store.open(place, SIMNET)
    try:
        return {item.script: item.label for item in store.watch_items() if item.label}
    finally:
        store.close()


def test_a_label_is_given_changed_shown_and_taken_away(run: Run, place: Path) -> None:
    at = ("--datadir", place)
    assert run("label", ADDRESS, *at).out == "till\n"
    assert run("label", OWN.hex(), "shop, till 2", *at).out == "labelled\n"
    assert labels(place) == {OWN: "shop, till 2"}
    assert run("label", f"pkh({account_text(1)}/0/0)", *at).out == "shop, till 2\n"
    assert run("label", ADDRESS, "", *at).out == "label removed\n"
    assert labels(place) == {}
    shown = run("label", ADDRESS, *at)
    assert (shown.code, shown.out) == (0, "\n")


def test_whatever_is_watched_can_have_one(run: Run, place: Path) -> None:
    """A masternode, and a script that a chain of keys has derived; a label of one says nothing of the others."""
    for item, text in ((PROTX, "node"), (str(address_of(DERIVED, SIMNET)), "rent")):
        assert run("label", item, text, "--datadir", place).code == 0
    assert labels(place) == {OWN: "till", NODE: "node", DERIVED: "rent"}
    (line,) = run("status", "--datadir", place, "--json").lines
    assert {item["item"]: item["label"] for item in line["watch"]}[PROTX] == "node"


@pytest.mark.parametrize(
    ("item", "text", "said"),
    [
        (script(1, 0, 1).hex(), "x", "not watched: 76a9"),
        (script(1, 0, 1).hex(), None, "not watched: 76a9"),
        (f"pkh({account_text(0)}/0/*)", "x", "a label is for a script, and a descriptor with a * or an extended key"),
        (account_text(0), None, "stands for many"),
        (ADDRESS, "two\nlines", "is no line of at most 200 characters"),
        (ADDRESS, "x" * 201, "is no line of at most 200 characters"),
        ("nonsense", "x", "'nonsense' is neither an address"),
    ],
)
def test_what_cannot_be_labelled_is_refused_and_nothing_changes(
    run: Run, place: Path, item: str, text: str | None, said: str
) -> None:
    outcome = run("label", item, *[text] * (text is not None), "--datadir", place)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert said in outcome.err
    assert labels(place) == {OWN: "till"}
