"""What is written of masternodes to have them watched, and how elements of filters are written for people."""

from __future__ import annotations

import pytest

from phasegate.consensus.addresses import address_of
from phasegate.consensus.params import MAINNET, SIMNET
from phasegate.consensus.watch_elements import element_text, is_of_masternode, parse_element
from phasegate.consensus.watch_texts import Watch, parse_watch

HASH, KEY = "ab" + "01" * 30 + "cd", bytes(range(20))
P2PKH = str(address_of(b"\x76\xa9\x14" + KEY + b"\x88\xac", SIMNET))
P2SH = str(address_of(b"\xa9\x14" + KEY + b"\x87", SIMNET))
WIF = "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA"

ITEMS = [
    (f"protx:{HASH}", bytes.fromhex(HASH)[::-1]),
    (f"mnkey:{P2PKH}", KEY),
    (f"mnkey:{KEY.hex()}", KEY),
    (f"collateral:{HASH}:1", bytes.fromhex(HASH)[::-1] + b"\1\0\0\0"),
    (f"collateral:{HASH}:4294967295", bytes.fromhex(HASH)[::-1] + b"\xff" * 4),
]


@pytest.mark.parametrize(("text", "element"), ITEMS)
def test_what_masternodes_are_known_by_is_an_element_of_filters(text: str, element: bytes) -> None:
    for told in (text, f" {text}\n", text.replace(":", ": ", 1), text.replace(HASH, HASH.upper())):
        assert parse_element(told, SIMNET) == element
        assert parse_watch(told, SIMNET) == Watch((element,))
    assert is_of_masternode(element)
    assert parse_element(element_text(element, SIMNET), SIMNET) == element


def test_an_element_is_written_as_people_would_give_it() -> None:
    assert element_text(bytes.fromhex(HASH)[::-1], SIMNET) == f"protx:{HASH}"
    assert element_text(KEY, SIMNET) == f"mnkey:{P2PKH}"
    assert element_text(bytes.fromhex(HASH)[::-1] + b"\7\1\0\0", SIMNET) == f"collateral:{HASH}:263"
    for text in (P2PKH, P2SH, "51", "6a"):
        script = parse_element(text, SIMNET) if text != "6a" else b"\x6a"
        assert (element_text(script, SIMNET), is_of_masternode(script)) == (text, False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"mnkey:{'0a' * 48}", "an operator key .* is in no filter: watch the masternode by protx:HASH"),
        (f"mnkey:{P2SH}", "its P2PKH address or its 20-byte id, and this is P2SH"),
        ("mnkey:0a0b", "its P2PKH address or its 20-byte id, and this is neither an address nor 40 hex"),
        ("mnkey:", "its P2PKH address or its 20-byte id, and this is neither"),
        ("mnkey:nonsense", "'nonsense' is neither an address"),
        ("protx:", "a proTxHash is 64 hex characters"),
        (f"protx:{HASH[:-2]}", "a proTxHash is 64 hex characters"),
        (f"protx:{HASH}00", "a proTxHash is 64 hex characters"),
        (f"collateral:{HASH}", "give collateral:TXID:N"),
        (f"collateral:{HASH}:4294967296", "give collateral:TXID:N"),
        (f"collateral:{HASH}:0:51", "give collateral:TXID:N"),
        (f"protx:{HASH}:gap=5", "a gap limit is for descriptors"),
        (f"PROTX:{HASH}", "neither an address"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_watch(text, SIMNET)


def test_a_key_of_another_network_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="is of another network, not mainnet"):
        parse_watch(f"mnkey:{P2PKH}", MAINNET)


@pytest.mark.parametrize("kind", ["protx", "mnkey", "collateral"])
def test_what_may_be_a_private_key_is_not_repeated(kind: str) -> None:
    with pytest.raises(ValueError, match="is") as refused:
        parse_watch(f"{kind}:{WIF}", SIMNET)
    assert WIF not in str(refused.value)
