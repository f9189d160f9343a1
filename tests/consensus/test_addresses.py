"""Addresses of each network, script hex, and clear words for everything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phasegate.consensus.addresses import address_of, parse_watch_item
from phasegate.consensus.params import MAINNET, NETWORKS, REGTEST, SIMNET, TESTNET

CHAINS = {"main": MAINNET, "test": TESTNET, "regtest": REGTEST}
P2PKH = "XqZHYpoksmbEPtWstAEki3o8pJ8ZsPfXpK"


def _vectors(shared: Path, name: str) -> list[list[object]]:
    rows: list[list[object]] = json.loads((shared / "vectors" / "dash-core" / name).read_text())
    return rows


def test_the_addresses_of_core_give_their_scripts_and_back(shared: Path) -> None:
    tried = 0
    for text, expected, about in _vectors(shared, "key_io_valid.json"):
        assert isinstance(text, str)
        assert isinstance(expected, str)
        assert isinstance(about, dict)
        if about["isPrivkey"] or (network := CHAINS.get(about["chain"])) is None:
            continue
        assert parse_watch_item(text, network).hex() == expected
        assert address_of(bytes.fromhex(expected), network) == text
        tried += 1
    assert tried >= 6


def test_the_private_keys_of_core_are_refused_and_never_repeated(shared: Path) -> None:
    for text, _expected, about in _vectors(shared, "key_io_valid.json"):
        assert isinstance(text, str)
        assert isinstance(about, dict)
        if about["isPrivkey"]:
            with pytest.raises(ValueError, match="neither an address nor script hex") as caught:
                parse_watch_item(text, MAINNET)
            assert text not in str(caught.value)


def test_what_core_calls_invalid_is_refused_on_every_network(shared: Path) -> None:
    for (text,) in _vectors(shared, "key_io_invalid.json"):
        for network in NETWORKS.values():
            assert isinstance(text, str)
            with pytest.raises(ValueError, match=r"neither an address|bad checksum|another network"):
                parse_watch_item(text, network)


def test_an_address_of_another_network_is_named_as_such() -> None:
    with pytest.raises(ValueError, match=f"address {P2PKH} is of another network, not regtest"):
        parse_watch_item(P2PKH, REGTEST)


def test_a_wrong_letter_is_a_bad_checksum() -> None:
    with pytest.raises(ValueError, match="bad checksum"):
        parse_watch_item(P2PKH[:-1] + "L", MAINNET)


@pytest.mark.parametrize("text", ["", "hello", "XqZ0", "abc", "0x51", "X" * 60])
def test_neither_address_nor_hex_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="neither an address nor script hex"):
        parse_watch_item(text, MAINNET)


@pytest.mark.parametrize("text", ["51", "76A914" + "00" * 22, "aB" * 20])
def test_hex_is_a_script_in_either_case(text: str) -> None:
    assert parse_watch_item(f" {text}\n", SIMNET) == bytes.fromhex(text)


def test_a_script_that_no_filter_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="OP_RETURN"):
        parse_watch_item("6a0101", SIMNET)
    with pytest.raises(ValueError, match="longer than"):
        parse_watch_item("51" * 10_001, SIMNET)


@pytest.mark.parametrize("script", ["", "51", "76a914" + "00" * 20 + "88ad", "a914" + "00" * 19 + "87"])
def test_other_scripts_have_no_address(script: str) -> None:
    assert address_of(bytes.fromhex(script), SIMNET) is None


def test_importing_addresses_selects_no_global_network() -> None:
    """python-bitcoinlib's process-wide parameters must stay untouched: two clients may run in one process."""
    import bitcoin

    before = bitcoin.params.NAME
    parse_watch_item(P2PKH, MAINNET)
    assert bitcoin.params.NAME == before == "mainnet"
