"""`phasegate peers`: what is remembered of peers, bans by hand, and pardons."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import PeerRow, PutPeers, PutReputation, ReputationRow, Store

Run = Callable[..., Any]
NOW = time.time()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an empty store."""
    Store.open(tmp_path, SIMNET).close()
    return tmp_path


@pytest.fixture
def peers(run: Run, place: Path) -> Run:
    """Runs `peers ...` on that directory."""

    def call(*arguments: object) -> Any:
        return run("peers", *arguments, "--datadir", place)

    return call


def put(place: Path, *changes: Any) -> None:
    """Store what a run would have."""
    store = Store.open(place, SIMNET)
    try:
        store.commit(changes)
    finally:
        store.close()


def banned(outcome: Any) -> dict[str, tuple[str, str]]:
    """Reason and detail of each ban, by address."""
    lines = outcome.events("reputation")
    return {line["address"]: (line["reason"], line["detail"]) for line in lines if line["banned_until"]}


def test_what_is_remembered_is_listed(peers: Run, place: Path, check_line: Run) -> None:
    """Whom we met stands before hearsay; a person sees the first forty, a program all, with two counts at the end."""
    met = PeerRow("10.0.0.1", 9999, "dns", 1 | 64, NOW, NOW, NOW - 3600 * 5, 2, in_tried=True)
    heard = [PeerRow(f"10.0.1.{n}", 9999, "10.0.0.1", 1, NOW - 60 * n, 0.0, 0.0, 0, in_tried=False) for n in range(60)]
    other = PeerRow("2001:db8::1", 19999, "dns", 1 << 63 | 2, NOW - 90_000 * 9, 0.0, 0.0, 0, in_tried=False)
    put(place, PutPeers((*heard, met, other)))
    lines = peers().out.splitlines()
    assert len(lines) == 41
    assert lines[0].split() == [
        "10.0.0.1:9999",
        "5",
        "h",
        "ago,",
        "2",
        "failures",
        "since",
        "network,",
        "compact_filters",
    ]
    assert lines[-1] == "62 known addresses, 40 shown; --all shows the rest"
    everything = peers("--all").out.splitlines()
    assert everything[-2].startswith("[2001:db8::1]:19999")
    assert "told 9 d ago" in everything[-2]
    assert everything[-1] == "62 known addresses"
    listed = peers("--json")
    for line in listed.lines:
        check_line(line)
    assert len(listed.events("peer")) == 62
    assert listed.events("peer")[0] | {"event": "", "time": 0} == {
        "event": "", "time": 0, "address": "10.0.0.1:9999", "source": "dns", "services": 65, "seen": NOW,
        "succeeded": NOW - 3600 * 5, "attempts": 2,
    }  # fmt: skip
    assert {key: listed.summary[key] for key in ("known", "banned")} == {"known": 62, "banned": 0}


def test_of_nothing_there_is_a_count(peers: Run, check_line: Run) -> None:
    """An empty store is no error."""
    assert peers().out == "0 known addresses\n"
    (line,) = peers("--json").lines
    check_line(line)
    assert (line["known"], line["banned"]) == (0, 0)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("10.1.2.3:4000", "10.1.2.3:4000"),
        ("10.1.2.3", "10.1.2.3"),
        ("[2001:DB8:0::1]:4000", "[2001:db8::1]:4000"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("Node.Example.", "node.example"),
    ],
)
def test_ban_list_unban(peers: Run, given: str, named: str, check_line: Run) -> None:
    """A host or one port of it, however it is spelt; the note is shown, and afterwards nothing is left."""
    outcome = peers("ban", given, "--hours", "0.5", "--why", "bad\nmanners\x1b[31m")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{named} is banned for 0.5 hours\n", "")
    listed = peers("--json")
    for line in listed.lines:
        check_line(line)
    assert banned(listed) == {named: ("by-hand", "bad manners?[31m")}
    (line,) = listed.events("reputation")
    assert 1700 < line["banned_until"] - time.time() <= 1800
    assert listed.summary["banned"] == 1
    said = peers().out.splitlines()[-1]
    assert said.startswith(f"banned  {named} until ")
    assert said.endswith(": by-hand: bad manners?[31m")
    outcome = peers("unban", given)
    assert (outcome.code, outcome.out) == (0, f"{named} is banned no more (by-hand: bad manners?[31m)\n")
    assert banned(peers("--json")) == {}
    outcome = peers("unban", given)
    assert (outcome.code, outcome.err.splitlines()) == (
        2,
        [f"phasegate peers unban: {named} is not banned, and nothing is held against it"],
    )


def test_a_ban_of_a_whole_host_is_lifted_by_any_of_its_addresses(peers: Run, place: Path) -> None:
    """Warnings name HOST:PORT, while the ban of a public host holds for every port: naming either lifts it."""
    for named in ("8.8.8.8:7", "8.8.8.8"):
        put(place, PutReputation(ReputationRow("8.8.8.8", 0, 0.0, NOW, NOW + 9e3, "bad-filter", "x")))
        assert list(banned(peers("--json"))) == ["8.8.8.8"]
        assert peers("unban", named).out == "8.8.8.8 is banned no more (bad-filter: x)\n"
        assert banned(peers("--json")) == {}


def test_a_ban_of_one_port_is_its_own(peers: Run) -> None:
    """Another port of the host stays banned; naming the host lifts all."""
    for port in (7, 8, 9):
        peers("ban", f"8.8.8.8:{port}")
    assert peers("unban", "8.8.8.8:7").code == 0
    assert sorted(banned(peers("--json"))) == ["8.8.8.8:8", "8.8.8.8:9"]
    assert len(peers("unban", "8.8.8.8").out.splitlines()) == 2
    assert banned(peers("--json")) == {}


def test_a_score_can_be_forgiven_too(peers: Run, place: Path) -> None:
    """What was held against a host without a ban is listed, and gone after `unban`."""
    put(place, PutReputation(ReputationRow("8.8.8.8", 0, 40.0, NOW, 0.0, "", "")))
    (line,) = peers("--json").events("reputation")
    assert (line["address"], line["score"], line["banned_until"], line["reason"]) == ("8.8.8.8", 40.0, None, None)
    assert "8.8.8.8: 40 of 100 points" in peers().out
    assert peers("unban", "8.8.8.8:9999").out == "8.8.8.8 was not banned, its score is 0\n"
    assert peers("--json").events("reputation") == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ban",), "Missing argument"),
        (("ban", ""), "address '' is not HOST:PORT"),
        (("ban", "a b"), "address 'a b' is not HOST:PORT"),
        (("ban", "1.2.3.4:0"), "is not HOST:PORT with a port from 1 to 65535"),
        (("ban", "1.2.3.4:99999"), "is not HOST:PORT with a port from 1 to 65535"),
        (("ban", "[::1"), "is not HOST:PORT"),
        (("ban", "x" * 300), "is not HOST:PORT"),
        (("ban", "1.2.3.4", "--hours", "0"), "--hours 0.0 is not more than 0"),
        (("ban", "1.2.3.4", "--hours", "1e9"), "at most 87600, ten years"),
        (("ban", "1.2.3.4", "--hours", "inf"), "at most 87600, ten years"),
        (("ban", "1.2.3.4", "--hours", "nan"), "Invalid value for '--hours'"),
        (("unban", "1.2.3.4:x"), "is not HOST:PORT"),
        (("unban", "1.2.3.4"), "1.2.3.4 is not banned"),
        (("bann", "1.2.3.4"), "No such command 'bann'"),
        (("--network", "nonsense"), "nonsense"),
        (("--json", "ban", "1.2.3.4"), "options stand after the command: phasegate peers ban HOST --option ..."),
    ],
)
def test_bad_input_is_one_line(peers: Run, arguments: tuple[str, ...], why: str) -> None:
    """Exit 2, and nobody is banned."""
    outcome = peers(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert why in line
    assert banned(peers("--json")) == {}


def test_options_before_the_command_are_refused(run: Run, place: Path, tmp_path_factory: Any) -> None:
    """`peers --datadir A ban HOST` must not ban in another directory than A."""
    outcome = run("peers", "--datadir", place, "ban", "1.2.3.4")
    assert outcome.code == 2
    assert "options stand after the command" in outcome.err


@pytest.mark.parametrize("command", [(), ("ban", "1.2.3.4"), ("unban", "1.2.3.4")])
def test_where_no_store_can_be_had_it_says_so(run: Run, place: Path, command: tuple[str, ...]) -> None:
    """None there: nothing is made. In use by a running sync: the line says so."""
    outcome = run("peers", *command, "--datadir", place / "none")
    assert (outcome.code, len(outcome.err.splitlines())) == (5, 1)
    assert not (place / "none").exists()
    store = Store.open(place, SIMNET)
    try:
        outcome = run("peers", *command, "--datadir", place)
    finally:
        store.close()
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (5, "", 1)
    assert "in use" in outcome.err


def test_a_pardon_of_one_port_leaves_the_others(peers: Run) -> None:
    """What holds for the port is lifted, and that is said: its own ban, and that of its whole host."""
    for given in ("127.0.0.1", "127.0.0.1:9998", "127.0.0.1:9999"):
        assert peers("ban", given).code == 0
    outcome = peers("unban", "127.0.0.1:9999")
    assert sorted(line.split()[0] for line in outcome.out.splitlines()) == ["127.0.0.1", "127.0.0.1:9999"]
    assert set(banned(peers("--json"))) == {"127.0.0.1:9998"}


def test_a_liar_is_banned_listed_and_tried_again_after_a_pardon(run: Run, start_node: Run, tmp_path: Path) -> None:
    """`sync` bans it, `peers` lists it with its reason, the next `sync` does not connect, `unban` lets it."""
    liar = start_node("--blocks", "120", "--seed", "11", "--lie", "wrong-pow")
    once = ("--once", "--json", "--connect-only", "--give-up", "5")
    words = ("sync", "--network", "simnet", "--datadir", tmp_path, *once)
    first = run(*words, "--peer", liar.address)
    assert first.code == 3
    ((address, (reason, detail)),) = banned(run("peers", "--datadir", tmp_path, "--json")).items()
    assert (address, reason) == (liar.address, "bad-proof-of-work")
    second = run(*words, "--peer", liar.address)
    assert second.code == 3
    warnings = [line["message"] for line in second.events("warning") if line["code"] == "peer-banned"]
    assert len(warnings) == 1
    assert f"{reason}: {detail}" in warnings[0]
    assert f"`phasegate peers unban {liar.address}` lifts it" in warnings[0]
    assert second.summary["height"] == first.summary["height"]
    assert run("peers", "unban", liar.address, "--datadir", tmp_path).code == 0
    third = run(*words, "--peer", liar.address)
    assert [line["code"] for line in third.events("warning")].count("bad-proof-of-work") == 1
    assert not [line for line in third.events("warning") if line["code"] == "peer-banned"]
