"""Settings from a file, the environment and a program: which is stronger, and what is refused, where it stands."""

from __future__ import annotations

import inspect
import json
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.private_keys import HUSHED, hushed
from phasegate.engine import settings
from phasegate.engine.config import Config, Devnet, Limits
from phasegate.engine.errors import ConfigError
from phasegate.engine.setting_kinds import MIB, written
from phasegate.engine.setting_places import LARGEST_FILE, in_words
from phasegate.engine.setting_places import settings as all_settings

SCRIPT = "76a914" + "11" * 20 + "88ac"
XPRV = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
WIF = "5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss"
HEADER = "02" + "00" * 79


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for the default file, where none is yet."""
    place = tmp_path / "own" / "phasegate.toml"
    monkeypatch.setattr(settings, "default_file", lambda: place)
    return place


def in_file(tmp_path: Path, text: str) -> Path:
    """A configuration file with this text."""
    file = tmp_path / "phasegate.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_argument_is_a_setting() -> None:
    """Each argument of `Config.create`, and each field of `Limits` and `Devnet`, in every place."""
    wanted = {"network", *inspect.signature(Config.create).parameters} - {"network_name", "limits", "devnet"}
    wanted |= {f"limits.{field.name}" for field in attrs.fields(Limits)}
    wanted |= {f"devnet.{field.name}" for field in attrs.fields(Devnet)}
    assert set(all_settings()) == wanted
    variables = [setting.variable for setting in all_settings().values()]
    assert len(set(variables)) == len(variables)


FULL = f"""
network = "devnet"
peers = ["127.0.0.1:1", "[::1]:2"]
connect_only = true
dns_seeds = ["seed.example"]
proxy = "127.0.0.1"
watch = ["{SCRIPT}"]
datadir = "/tmp/store"
masternodes = false
filters = true
prune_filters = true
birthday = 5
min_chainwork = "0xff"
max_tip_age = 7
memory_limit = "1 GB"
strategy = "interleaved"

[activations]
v20 = 5

[limits]
max_peers = 4
tick = 2
batch = {{ filters = 500 }}

[limits.rate]
blocks = inf

[devnet]
name = "foo"
min_difficulty_blocks = 9

[devnet.quorums]
llmqplatform = "llmq_devnet_platform"
"""


def test_a_file_may_say_all_of_it(tmp_path: Path) -> None:
    """What it says is what `create` is given."""
    config = Config.load(in_file(tmp_path, FULL), {})
    limits = Limits(max_peers=4, tick=2, batch={"filters": 500}, rate={"blocks": float("inf")})
    assert config == Config.create(
        "devnet",
        peers=("127.0.0.1:1", "[::1]:2"),
        connect_only=True,
        dns_seeds=("seed.example",),
        proxy="127.0.0.1",
        watch=(SCRIPT,),
        datadir="/tmp/store",  # noqa: S108 - never opened
        masternodes=False,
        prune_filters=True,
        birthday="5",
        min_chainwork=255,
        max_tip_age=7,
        memory_limit=1024 * MIB,
        strategy="interleaved",
        activations={"v20": 5},
        limits=limits,
        devnet=Devnet("foo", 9, {"llmqplatform": "llmq_devnet_platform"}),
    )


def test_the_environment_may_say_the_same() -> None:
    """Lists divided by commas or spaces, tables as NAME=VALUE."""
    told = {
        "PHASEGATE_NETWORK": "devnet",
        "PHASEGATE_PEERS": "127.0.0.1:1, [::1]:2",
        "PHASEGATE_CONNECT_ONLY": "yes",
        "PHASEGATE_DNS_SEEDS": "",
        "PHASEGATE_ACTIVATIONS": "v20=5,dip3=2",
        "PHASEGATE_LIMITS_MAX_PEERS": "4",
        "PHASEGATE_LIMITS_RATE": "blocks=inf",
        "PHASEGATE_DEVNET_NAME": "foo",
        "PHASEGATE_MEMORY_LIMIT": "300 MB",
        "PHASEGATE_FILTERS": "off",
        "PHASEGATE_MIN_CHAINWORK": "ff",
        "PHASEGATE_VECTORS": "/for/the/tests",
        "HOME": "/somewhere",
    }
    config = Config.load(environ=told)
    assert config == Config.create(
        "devnet",
        peers=("127.0.0.1:1", "[::1]:2"),
        connect_only=True,
        dns_seeds=(),
        activations={"v20": 5, "dip3": 2},
        limits=Limits(max_peers=4, rate={"blocks": float("inf")}),
        devnet=Devnet("foo"),
        memory_limit=300 * MIB,
        filters=False,
        min_chainwork=255,
    )


def test_what_is_given_is_stronger_than_the_environment_and_that_than_the_file(tmp_path: Path) -> None:
    """For each setting by itself, those of a group as well."""
    file = in_file(
        tmp_path, 'network = "mainnet"\nstrategy = "interleaved"\nlimits = {max_peers = 1, tick = 1, window = 9}'
    )
    environ = {"PHASEGATE_NETWORK": "testnet", "PHASEGATE_LIMITS_TICK": "2", "PHASEGATE_LIMITS_MAX_PEERS": "2"}
    config = Config.load(file, environ, network="simnet", limits={"max_peers": 3}, datadir=None)
    assert (config.network.name, config.strategy) == ("simnet", "interleaved")
    assert (config.limits.max_peers, config.limits.tick, config.limits.window) == (3, 2, 9)
    assert Config.load(file, environ, limits=Limits()).limits == Limits()
    assert Config.load(file, environ).network.name == "testnet"
    assert Config.load(file, {}).network.name == "mainnet"


def test_the_file_is_that_which_is_named_first(tmp_path: Path, nowhere: Path) -> None:
    """By the caller, by a variable, or the default one if it is there; only that may be missing."""
    nowhere.parent.mkdir()
    nowhere.write_text('network = "regtest"', encoding="utf-8")
    named = in_file(tmp_path, 'network = "testnet"')
    assert Config.load(environ={}).network.name == "regtest"
    assert Config.load(environ={"PHASEGATE_CONFIG": str(named)}).network.name == "testnet"
    assert Config.load(named, {"PHASEGATE_CONFIG": "/not/there"}).network.name == "testnet"
    nowhere.unlink()
    assert Config.load(environ={}, network="simnet").network.name == "simnet"
    with pytest.raises(ConfigError, match=r"/not/there cannot be read: No such file"):
        Config.load(environ={"PHASEGATE_CONFIG": "/not/there"})
    with pytest.raises(ConfigError, match=rf"give --network, PHASEGATE_NETWORK, or `network` in {nowhere}"):
        Config.load(environ={})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("peer = []", "unknown setting 'peer': is 'peers' meant?"),
        ("[limits]\nmaxpeers = 3", "unknown setting 'limits.maxpeers': is 'limits.max_peers' meant?"),
        ("peers = '127.0.0.1'", "peers '127.0.0.1' is not a list of texts"),
        ("peers = [1]", "peers [1] is not a list of texts"),
        ("filters = 1", "filters 1 is not true or false"),
        ("limits = 3", "unknown setting 'limits'"),
        ("[limits]\nmax_peers = true", "limits.max_peers True is not a whole number"),
        ("[limits]\nmax_peers = 0", "limits: max_peers 0 is not more than 0"),
        ("[limits]\nbatch = {filters = 1001}", "limits: batch[filters] 1001 is more than 1000"),
        ("[limits.batch]\nfoo = 1", "limits: batch has no 'foo'"),
        ("activations = {v20 = 'soon'}", "activations {'v20': 'soon'} is not a table of whole numbers"),
        ("activations = {v99 = 5}", "activations: unknown activation 'v99'"),
        ('datadir = "a\\u0000b"', "datadir 'a\\x00b' is not a path"),
        ("datadir = ''", "datadir '' is not a path"),
        ("strategy = 'random'", "strategy 'random' is none of sequential, interleaved"),
        ("connect_only = true", "connect_only without a peer"),
        ("max_tip_age = nan", "max_tip_age nan is not a number of seconds"),
        ("min_chainwork = 'xyz'", "min_chainwork 'xyz' is not a number or hex digits"),
        ("min_chainwork = -1", "min_chainwork -1 is not a number"),
        ("memory_limit = '1 KB'", "memory_limit '1 KB' is not a number of bytes, or a text like 256 MB"),
        ("memory_limit = 5", "memory-limit 1 MB is not enough"),
        ("birthday = 2024-13-01", "is no TOML: "),
        ("birthday = 'soon'", "birthday 'soon' is neither a height nor a date"),
        ("checkpoint = 5", "simnet has no built-in checkpoint at or below 5"),
        ("watch = ['nonsense!']", "watch: 'nonsense!' is neither an address nor script hex"),
        ("network = 'atlantis'", "unknown network 'atlantis'"),
        ("[devnet]\nname = 'foo'", "devnet"),
        ("a" * 100, "is no TOML: "),
        ("birthday = " + "9" * 5000, "has a number that is too long"),
        ("birthday = " + "9" * 4000, "is not a height, a date or a word"),
        ("[limits]\nmax_peers = " + "9" * 4000, "limits.max_peers 9999"),
        ("[limits]\nmax_peers = " + "9" * 40, "limits: max_peers has too many digits"),
        ("memory_limit = " + "9" * 4000, "memory_limit 9999"),
        ("peers = " + "[" * 5000, "is no TOML: "),
        ("#" * (LARGEST_FILE + 1), "it is no configuration"),
    ],
)
def test_what_a_file_may_not_say_is_refused_with_its_name(tmp_path: Path, text: str, said: str) -> None:
    """In one line, which has the setting and the file."""
    file = in_file(tmp_path, text)
    given = {} if text.startswith("network") else {"network": "simnet"}
    with pytest.raises(ConfigError) as refused:
        Config.load(file, {}, **given)
    assert str(refused.value).startswith(str(file))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PHASEGATE_PEER", "x", "PHASEGATE_PEER is no setting: is 'PHASEGATE_PEERS' meant?"),
        ("PHASEGATE_LIMITS_MAX_PEERS", "many", "PHASEGATE_LIMITS_MAX_PEERS: 'many' is not a whole number"),
        ("PHASEGATE_LIMITS_MAX_PEERS", "9" * 40, "PHASEGATE_LIMITS_MAX_PEERS: '9999"),
        ("PHASEGATE_LIMITS_MAX_PEERS", "0", "PHASEGATE_LIMITS_MAX_PEERS: limits: max_peers 0 is not more than 0"),
        ("PHASEGATE_LIMITS_BATCH", "filters", "PHASEGATE_LIMITS_BATCH: 'filters' is not a table of whole numbers"),
        ("PHASEGATE_DATADIR", "", "PHASEGATE_DATADIR: '' is not a path"),
        ("PHASEGATE_FILTERS", "maybe", "PHASEGATE_FILTERS: 'maybe' is not true or false"),
        ("PHASEGATE_MAX_TIP_AGE", "-1", "PHASEGATE_MAX_TIP_AGE: '-1' is not a number of seconds"),
        ("PHASEGATE_PEERS", "here:99999", "PHASEGATE_PEERS: peers: peer 'here:99999' is not HOST:PORT"),
        ("PHASEGATE_PROXY", "a b", "PHASEGATE_PROXY: proxy 'a b' is not HOST:PORT"),
    ],
)
def test_what_a_variable_may_not_say_is_refused_with_its_name(nowhere: Path, name: str, text: str, said: str) -> None:
    """Unknown ones too, so that none is misspelt in vain."""
    with pytest.raises(ConfigError) as refused:
        Config.load(environ={name: text}, network="simnet")
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("secret", [XPRV, XPRV[:-1], WIF, "t" + XPRV[1:60], "Y" + XPRV[1:], WIF + "W"])
@pytest.mark.parametrize(
    "give",
    [
        pytest.param(lambda file, secret: file(f"watch = '{secret}'"), id="no list"),
        pytest.param(lambda file, secret: file(f"watch = ['{secret}', 5]"), id="a list with a number"),
        pytest.param(lambda file, secret: file(f"watch = ['pkh({secret}/0/*)']"), id="a descriptor"),
        pytest.param(lambda file, secret: file(f"{secret} = true"), id="a key of the file"),
        pytest.param(lambda file, secret: file(f"filters = '{secret}'"), id="another setting"),
        pytest.param(
            lambda _, secret: Config.load("/dev/null", {"PHASEGATE_WATCH": secret}, network="simnet"), id="env"
        ),
        pytest.param(
            lambda _, secret: Config.load("/dev/null", {"PHASEGATE_FILTERS": secret}, network="simnet"),
            id="another variable",
        ),
        pytest.param(lambda _, secret: list(in_words(all_settings(), [f"watch:{secret}"])), id="no KEY=VALUE"),
        pytest.param(lambda _, secret: list(in_words(all_settings(), [secret])), id="no word"),
        pytest.param(lambda _, secret: list(in_words(all_settings(), [f"filters={secret}"])), id="another word"),
        pytest.param(lambda _, secret: Config.create("simnet", watch=secret), id="a text"),
        pytest.param(lambda _, secret: Config.create("simnet", watch=(secret,)), id="a program"),
    ],
)
def test_a_private_key_is_refused_without_repeating_it(tmp_path: Path, secret: str, give: Any) -> None:
    """Wherever it was given, and also if it was copied badly: errors go into logs."""
    with pytest.raises(ConfigError) as refused:
        give(lambda text: Config.load(in_file(tmp_path, text), {}, network="simnet"), secret)
    shared = {secret[at : at + 12] for at in range(len(secret) - 11)}
    assert [part for part in shared if part in str(refused.value)] == []


def test_a_public_key_is_shown() -> None:
    """Only what looks like a private one is left out."""
    public = "xpub" + XPRV[4:]
    assert hushed(f"{public} {SCRIPT}") == f"{public} {SCRIPT}"
    assert hushed(f"['{XPRV}', '{WIF}']") == f"['{HUSHED}', '{HUSHED}']"


def test_a_program_knows_what_it_gives(nowhere: Path) -> None:
    """What is given and wrong is refused as by `create`; what stands elsewhere is not blamed for it."""
    with pytest.raises(ConfigError, match=r"^strategy 'x' is none of"):
        Config.load(environ={"PHASEGATE_FILTERS": "no"}, network="simnet", strategy="x")
    with pytest.raises(ConfigError, match=r"^unknown setting 'peer': is 'peers' meant"):
        Config.load(environ={}, network="simnet", peer=("x",))
    with pytest.raises(ConfigError, match=r"^unknown setting 'limits.peers'"):
        Config.load(environ={}, network="simnet", limits={"peers": 3})
    with pytest.raises(ConfigError, match=r"^limits 5 is neither a table nor a Limits"):
        Config.load(environ={}, network="simnet", limits=5)


def test_each_value_tells_where_it_comes_from(tmp_path: Path) -> None:
    """The file, the variable, the word, the default, the network, or what it follows from."""
    file = in_file(tmp_path, 'network = "testnet"\nfilters = false')
    choice = settings.choose(file, {"PHASEGATE_LIMITS_TICK": "2"}, {"peers": ("a",)}, ["memory_limit=300MB"])
    told = dict(settings.effective(choice))
    places = {
        "network": str(file),
        "filters": str(file),
        "limits.tick": "PHASEGATE_LIMITS_TICK",
        "memory_limit": "--set memory_limit",
        "peers": "given",
        "strategy": "default",
        "dns_seeds": "default of testnet",
        "limits.hold_bytes": "follows from memory_limit of --set memory_limit",
    }
    assert {key: told[key].place for key in places} == places
    assert (told["memory_limit"].value, told["dns_seeds"].value) == (300 * MIB, ("testnet-seed.dashdot.io",))
    assert set(told) == set(all_settings())


SETTINGS = st.recursive(
    st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(SETTINGS)
def test_what_is_written_is_read_the_same(value: Any) -> None:
    """Whatever a setting may be, as TOML."""
    assert json.dumps(tomllib.loads(f"key = {written(value)}")["key"]) == json.dumps(value)


@given(st.text(max_size=30), st.sampled_from(sorted(all_settings())))
def test_any_text_is_a_setting_or_a_config_error(text: str, key: str) -> None:
    """No other exception, whatever stands in a variable."""
    name = all_settings()[key].variable
    with suppress(ConfigError):
        settings.choose("/dev/null", {name: text}, {})
