"""`phasegate config`, and the settings of `phasegate sync` that come from a file or the environment."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from phasegate.consensus.params import network
from phasegate.engine.setting_places import settings
from phasegate.store import Store

if TYPE_CHECKING:
    from tests.cli.conftest import Node

Run = Callable[..., Any]
EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "phasegate.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    place = tmp_path / "settings.toml"
    place.write_text('network = "simnet"\n[limits]\ntick = 0.25\nbatch = {filters = 100}\n', encoding="utf-8")
    return place


def test_it_prints_what_is_so_in_the_end(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As TOML that says the same when it is read again, with the place of each value behind it."""
    monkeypatch.setenv("PHASEGATE_LIMITS_MAX_PEERS", "4")
    outcome = run("config", "--config", file, "--set", "strategy=interleaved")
    assert (outcome.code, outcome.err) == (0, "")
    told = tomllib.loads(outcome.out)
    assert told["limits"]["tick"] == 0.25
    assert (told["network"], told["strategy"], told["limits"]["max_peers"]) == ("simnet", "interleaved", 4)
    places = {line.split()[0]: line.rpartition("  # ")[2] for line in outcome.out.splitlines()}
    assert places["limits.tick"] == str(file)
    assert places["limits.max_peers"] == "PHASEGATE_LIMITS_MAX_PEERS"
    assert places["strategy"] == "--set strategy"
    assert places["filters"] == "default"
    file.write_text(outcome.out, encoding="utf-8")
    again = run("config", "--config", file)
    assert tomllib.loads(again.out) == told


def test_its_lines_are_described(run: Run, file: Path, check_line: Callable[[Any], None]) -> None:
    """One line a setting, each as the schema has it."""
    outcome = run("config", "--config", file, "--set", "limits.rate=blocks=inf", "--json")
    assert [line["key"] for line in outcome.lines] == list(settings())
    for line in outcome.lines:
        check_line(line)
    values = {line["key"]: line["value"] for line in outcome.lines}
    assert values["limits.rate"]["blocks"] is None


def test_the_example_file_is_what_it_prints(run: Run) -> None:
    """`phasegate config --example > docs/phasegate.toml` makes it anew."""
    assert run("config", "--example").out == EXAMPLE.read_text(encoding="utf-8")


def test_the_example_file_has_every_setting_and_may_be_used(run: Run, tmp_path: Path) -> None:
    """As it is, and with each of its lines switched on by itself."""
    assert run("config", "--config", EXAMPLE).code == 0
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    on = {key: line.removeprefix("# ") for key in settings() for line in lines if line.startswith(f"# {key} = ")}
    assert {"network", *on} == set(settings())
    for line in on.values():
        (tmp_path / "one.toml").write_text(f'network = "mainnet"\n{line}', encoding="utf-8")
        assert run("config", "--config", tmp_path / "one.toml").err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--config", "/not/there.toml"), "/not/there.toml cannot be read"),
        (("--set", "peers"), "--set 'peers' is not KEY=VALUE"),
        (("--set", "peer=x"), "is 'peers' meant?"),
        (("--set", "limits.tick=soon"), "--set limits.tick: 'soon' is not a number"),
        (("--set", "network=simnet", "--set", "limits.tick=0"), "--set limits.tick: limits: tick 0.0 is not more"),
    ],
)
def test_what_is_wrong_is_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    """Of the command itself, and of `sync`."""
    for command in ("config", "sync"):
        outcome = run(command, *words)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
        assert said in outcome.err


def test_sync_takes_its_settings_from_a_file(
    run: Run, file: Path, honest: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network and watched addresses of the file, the peer of the environment; the option stands above the file."""
    settings = [f"watch = {json.dumps(honest.told['watch'])}", 'datadir = "/not/this"', "connect_only = true"]
    file.write_text("\n".join(['network = "simnet"', *settings]), encoding="utf-8")
    monkeypatch.setenv("PHASEGATE_PEERS", honest.address)
    outcome = run("sync", "--config", file, "--datadir", tmp_path / "store", "--once", "--json")
    assert outcome.code == 0
    assert outcome.summary["balances"] == honest.told["expected"]["balances"]
    assert (tmp_path / "store" / "simnet.sqlite").is_file()


def test_sync_without_a_network_says_where_to_choose_one(run: Run) -> None:
    """The option, the variable, or the file."""
    outcome = run("sync", "--peer", "127.0.0.1:1", "--config", "/dev/null")
    assert outcome.code == 2
    assert "no network is chosen: give --network, PHASEGATE_NETWORK, or `network` in" in outcome.err


def test_the_other_commands_find_the_store_that_the_settings_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directory, network and activations, unless a directory is given: then that is asked what it holds."""
    Store.open(tmp_path / "one", network("regtest", {"v20": 50})).close()
    Store.open(tmp_path / "two", network("simnet")).close()
    file = tmp_path / "own.toml"
    file.write_text(
        f'network = "regtest"\ndatadir = "{tmp_path / "one"}"\nactivations = {{ v20 = 50 }}', encoding="utf-8"
    )
    monkeypatch.setenv("PHASEGATE_CONFIG", str(file))
    assert run("status", "--json").lines[0]["network"] == "regtest"
    assert run("status", "--json", "--datadir", tmp_path / "two").lines[0]["network"] == "simnet"
    monkeypatch.setenv("PHASEGATE_DATADIR", str(tmp_path / "two"))
    assert "holds no regtest store" in run("status").err


def test_activations_of_the_settings_are_those_of_their_network(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another network that an option names is as it is; the same one, named once more, has them."""
    Store.open(tmp_path, network("regtest", {"v20": 50})).close()
    Store.open(tmp_path, network("mainnet")).close()
    Store.open(tmp_path, network("devnet", {"v20": 50}, devnet_name="foo")).close()
    file, text = tmp_path / "own.toml", f'datadir = "{tmp_path}"\nactivations = {{ v20 = 50 }}\n'
    monkeypatch.setenv("PHASEGATE_CONFIG", str(file))

    def status(*words: str) -> Any:
        outcome = run("status", "--json", *words)
        return outcome.lines[0]["network"] if outcome.code == 0 else outcome.err

    file.write_text(text + 'network = "regtest"', encoding="utf-8")
    assert [status(), status("--network", "regtest")] == 2 * ["regtest"]
    assert status("--network", "mainnet") == "mainnet"
    file.write_text(text + 'network = "devnet"\ndevnet = { name = "foo" }', encoding="utf-8")
    assert (status(), status("--network", "devnet"), status("--devnet-name", "foo")) == 3 * ("devnet",)
    assert status("--network", "mainnet") == "mainnet"
    assert "holds no devnet-bar store" in status("--devnet-name", "bar")
    file.write_text(text, encoding="utf-8")
    assert status("--network", "regtest") == "regtest"
