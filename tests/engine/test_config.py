"""What people write is understood, or refused in one line that names the setting."""

from __future__ import annotations

import math
import re
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phasegate.consensus.params import NETWORKS, REGTEST, SIMNET
from phasegate.engine.config import Address, Config, Limits, peer_address, watch_script
from phasegate.engine.errors import ConfigError

SCRIPT = "76a914" + "11" * 20 + "88ac"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 29899),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("localhost:65535", "localhost", 65535),
        (" seed.example.org:19999\n", "seed.example.org", 19999),
        ("::1", "::1", 29899),
        ("[::1]", "::1", 29899),
        ("[2001:db8::7]:9999", "2001:db8::7", 9999),
        ("[fe80::1%eth0]:9999", "fe80::1%eth0", 9999),
        ("[::ffff:10.0.0.1]:9999", "::ffff:10.0.0.1", 9999),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    """Names, IPv4 and IPv6, with the network's port where none is written."""
    assert Address.parse(text, SIMNET.port) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":9999",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:+1",
        "host:0x10",
        "host:1e3",
        "host:٣",  # a digit, but not an ASCII one
        "host:" + "9" * 5000,
        "host:80:90",
        "two words:80",
        "[::1",
        "[::1]80",
        "[::1]:",
        "[::1]:0",
        "[]:80",
        "[host]:80",
        "1::2::3",
        "http://host:80",
        "host/path",
        "a..b:80",
        "a" * 64 + ".org",
        "h\0st",
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str) -> None:
    """The line holds what was written and what was wanted."""
    with pytest.raises(ConfigError, match="is not HOST:PORT with a port from 1 to 65535") as caught:
        peer_address(text, SIMNET.port)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
@example("[" * 30)
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    """No other exception; and what was accepted is read the same again from what it is written as."""
    try:
        address = peer_address(text, 29899)
    except ConfigError:
        return
    assert 0 < address.port < 65536
    assert Address.parse(str(address), 1) == address


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"batch": {"foo": 1}}, "batch has no 'foo', but cfheaders, filters, blocks"),
        ({"in_flight": {"header": 1}}, "in_flight has no 'header'"),
        ({"batch": {"filters": 1001}}, "batch[filters] 1001 is more than 1000"),
        ({"batch": {"filters": 100.5}}, "batch[filters] 100.5 is no whole number"),
        ({"batch": {"blocks": 0}}, "batch[blocks] 0 is not more than 0"),
        ({"max_peers": 2.5}, "max_peers 2.5 is no whole number"),
        ({"max_peers": True}, "max_peers True is no whole number"),
        ({"idle_timeout": "5"}, "idle_timeout '5' is no number"),
        ({"idle_timeout": float("nan")}, "idle_timeout nan is not more than 0"),
        ({"idle_timeout": float("inf")}, "idle_timeout has to be a number"),
        ({"idle_timeout": 100.0}, "idle_cap 80.0 is less than idle_timeout 100.0"),
    ],
)
def test_figures_with_which_nothing_would_go_on_are_refused(figures: dict[str, Any], said: str) -> None:
    """In one line that names the figure; what a node would punish is one of them."""
    with pytest.raises(ConfigError) as refused:
        Limits(**figures)
    assert str(refused.value).startswith(f"limits: {said}")


def test_figures_that_are_not_given_have_their_defaults() -> None:
    """Also within the mappings."""
    limits = Limits(batch={"filters": 100}, rate={"blocks": float("inf")})
    assert limits.batch == {**Limits().batch, "filters": 100}
    assert limits.rate["filters"] == Limits().rate["filters"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dns_seeds": "seed.example"}, "dns_seeds 'seed.example' is a text: give a tuple of texts"),
        ({"dns_seeds": ("bad name!",)}, "dns seed 'bad name!' is not HOST:PORT"),
        ({"dns_seeds": ("127.0.0.1:99999",)}, "dns seed '127.0.0.1:99999' is not HOST:PORT with a port from 1"),
        ({"peers": "127.0.0.1:1"}, "peers '127.0.0.1:1' is a text: give a tuple of texts"),
        ({"peers": "localhost"}, "peers 'localhost' is a text: give a tuple of texts"),
        ({"watch": SCRIPT}, f"watch '{SCRIPT}' is a text: give a tuple of texts"),
        ({"connect_only": True}, "connect_only without a peer"),
        ({"proxy": "a b"}, "proxy 'a b' is not HOST:PORT"),
    ],
)
def test_a_configuration_with_which_nobody_is_found_is_refused(wrong: dict[str, Any], said: str) -> None:
    """Before anything starts, naming what is wrong; each letter of `localhost` would be a host."""
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        Config.create("simnet", **wrong)


def test_a_watch_item_is_an_address_or_script_hex() -> None:
    """Of the chosen network; what is neither is refused with the reason."""
    assert watch_script(SCRIPT, REGTEST) == bytes.fromhex(SCRIPT)
    with pytest.raises(ConfigError, match="neither an address nor script hex"):
        watch_script("nonsense", REGTEST)


def test_a_mainnet_address_is_no_watch_item_of_regtest() -> None:
    """The other network is named, not silently watched."""
    with pytest.raises(ConfigError, match="another network, not regtest"):
        watch_script("XcF5mKwWsiv3k394GBQNpYAuk3CVJ48Xnp", REGTEST)


def test_an_unknown_network_is_refused_with_the_choice() -> None:
    """The networks there are stand in the line."""
    with pytest.raises(ConfigError, match="unknown network 'dogenet': choose one of mainnet, testnet"):
        Config.create("dogenet")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_needs_nothing_else(name: str) -> None:
    """Everything has a default: all phases, no peers, a directory of the user's."""
    config = Config.create(name)
    assert config.network == NETWORKS[name]
    assert (config.peers, config.watch, config.masternodes, config.filters) == ((), (), True, True)
    assert config.datadir.is_absolute()


def test_activations_replace_heights() -> None:
    """Only the named ones."""
    config = Config.create("regtest", activations={"dip3": 2, "v20": 100})
    assert (config.network.dip3, config.network.v20) == (2, 100)
    assert config.network.activations["mn_rr"] == REGTEST.activations["mn_rr"]


@pytest.mark.parametrize(
    ("activations", "message"),
    [
        ({"dip99": 1}, "unknown activation 'dip99': choose one of bip34"),
        ({"dip3": -1}, "activation dip3=-1 is no height"),
    ],
)
def test_wrong_activations_are_refused(activations: dict[str, int], message: str) -> None:
    """The caller learns which one."""
    with pytest.raises(ConfigError, match=message):
        Config.create("regtest", activations=activations)


def test_the_same_peer_and_script_twice_counts_once() -> None:
    """In the order written; the port may be written out or not."""
    config = Config.create("regtest", peers=("b", "a:19899", "b:19899"), watch=(SCRIPT, SCRIPT), datadir="/tmp/x")  # noqa: S108 - never opened
    assert config.peers == (Address("b", 19899), Address("a", 19899))
    assert config.watch == (bytes.fromhex(SCRIPT),)
    assert config.datadir == Path("/tmp/x")  # noqa: S108 - never opened


def test_an_address_is_written_as_people_write_it() -> None:
    """Brackets only where colons need them."""
    assert [str(Address("h", 1)), str(Address("::1", 2))] == ["h:1", "[::1]:2"]


def test_batches_keep_to_what_a_node_answers() -> None:
    """A node disconnects who asks for more than 2000 filter headers or 1000 filters (field-bugs 31)."""
    limits = Limits()
    assert limits.batch["cfheaders"] <= 2000
    assert limits.batch["filters"] <= 1000


def test_a_configuration_cannot_be_changed_under_a_running_client() -> None:
    """Frozen, its tables too."""
    config = Config.create("simnet")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.filters = False  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.limits.batch["filters"] = 9999  # type: ignore[index]


def test_filters_are_kept_unless_they_are_not_wanted() -> None:
    assert not Config.create("simnet").prune_filters
    assert Config.create("simnet", prune_filters=True).prune_filters


def test_there_are_two_strategies() -> None:
    """One phase after the other unless the user says otherwise; another word is refused with those that are known."""
    assert Config.create("regtest").strategy == "sequential"
    assert Config.create("regtest", strategy="interleaved").strategy == "interleaved"
    with pytest.raises(ConfigError, match="strategy 'random' is none of sequential, interleaved"):
        Config.create("regtest", strategy="random")


def test_a_directory_that_no_system_could_have_is_refused() -> None:
    """Before anything is opened: the system's own refusal would be no error of a disk."""
    with pytest.raises(ConfigError, match="is no path"):
        Config.create("simnet", datadir="a\0b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network_name", 5),
        ("network_name", None),
        ("peers", None),
        ("peers", [b"x"]),
        ("connect_only", "yes"),
        ("dns_seeds", 5),
        ("proxy", None),
        ("watch", None),
        ("watch", (5,)),
        ("activations", [1]),
        ("activations", {"v20": "5"}),
        ("datadir", 5),
        ("masternodes", None),
        ("filters", "no"),
        ("unconfirmed", 0),
        ("limits", {"max_peers": 3}),
        ("devnet", {}),
        ("checkpoint", 2.5),
        ("trusted_header", 5),
        ("birthday", None),
        ("birthday", True),
        ("prune_filters", "no"),
        ("min_chainwork", "x"),
        ("min_chainwork", -1),
        ("max_tip_age", -5),
        ("max_tip_age", math.nan),
        ("max_tip_age", "x"),
        ("memory_limit", "much"),
        ("memory_limit", 2.5),
        ("strategy", None),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name: str, value: Any) -> None:
    """Not taken for true, nor found out by whoever stumbles over it later."""
    given = {"network_name": "simnet", name: value}
    with pytest.raises(ConfigError, match=f"^{name.removesuffix('_name')} "):
        Config.create(**given)


def test_a_program_may_say_what_a_file_may() -> None:
    """Numbers, dates and sizes in their other forms, lists for tuples, and scripts as raw bytes."""
    lists: dict[str, Any] = {"peers": ["host"], "watch": [b"\x51", "52"]}
    made = Config.create("testnet", birthday=7, min_chainwork="1f", memory_limit="512MB", **lists)
    assert made == Config.create(
        "testnet", peers=("host",), watch=("51", "52"), birthday="7", min_chainwork=0x1F, memory_limit=512 << 20
    )
    assert Config.create("testnet", birthday=date(2024, 5, 31)) == Config.create("testnet", birthday="2024-05-31")
    assert Config.load("/dev/null", {}, network="testnet", birthday=7).birthday == 7


@pytest.mark.parametrize("name", ["in_flight", "concurrency", "rate", "batch"])
@pytest.mark.parametrize("value", [5, None, [1]])
def test_a_table_of_limits_is_one(name: str, value: Any) -> None:
    """As everywhere else, by name."""
    with pytest.raises(ConfigError, match=f"limits: {name} .* is no table"):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_limit_of_too_many_digits_is_refused(value: int) -> None:
    """Without a thousand digits in the line."""
    with pytest.raises(ConfigError, match="limits: window has too many digits"):
        Limits(window=value)


def test_what_is_watched_needs_filters() -> None:
    """Without them nothing would be matched, and every balance be zero."""
    with pytest.raises(ConfigError, match="watch without filters"):
        Config.create("simnet", watch=(SCRIPT,), filters=False)
    with pytest.raises(ConfigError, match="PHASEGATE_WATCH: watch without filters"):
        Config.load("/dev/null", {"PHASEGATE_WATCH": SCRIPT}, network="simnet", filters=False)
