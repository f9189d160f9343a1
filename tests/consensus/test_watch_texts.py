"""What people write to have something watched: scripts, chains of keys, gap limits, and clear words for the rest."""

from __future__ import annotations

import pytest

from phasegate.consensus.addresses import address_of
from phasegate.consensus.params import MAINNET, SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.consensus.watch_elements import parse_outpoint
from phasegate.consensus.watch_texts import GAP, KeyChain, Watch, parse_watch
from tests.paid_key_chains import MASTER, account_text, descriptor, script

XPUB, TXID = account_text(0), "ab" + "01" * 31
CHAINS = descriptor(0, 0), descriptor(0, 1)


def chains(gap: int) -> Watch:
    return Watch((), tuple(KeyChain(one, gap) for one in CHAINS))


def test_an_extended_key_is_an_account_with_addresses_and_change() -> None:
    assert parse_watch(f" {XPUB}\n", SIMNET) == chains(GAP) == chains(20)
    assert parse_watch(f"{XPUB}:gap=7", SIMNET) == chains(7)
    assert [str(c.descriptor) for c in parse_watch(MASTER, MAINNET).chains] == [f"pkh({MASTER}/{i}/*)" for i in (0, 1)]


def test_a_descriptor_with_a_star_is_a_chain_and_one_without_is_its_scripts() -> None:
    assert parse_watch(f"pkh({XPUB}/0/*):gap=1000", SIMNET) == Watch((), (KeyChain(CHAINS[0], 1000),))
    assert parse_watch(f"pkh({XPUB}/1/5)", SIMNET) == Watch((script(0, 1, 5),))
    assert parse_watch(f"pkh({XPUB}/<0;1>/5)", SIMNET) == Watch((script(0, 0, 5), script(0, 1, 5)))


def test_addresses_and_hex_are_scripts_as_ever() -> None:
    wanted = script(0, 0, 1)
    for told in (str(address_of(wanted, SIMNET)), wanted.hex()):
        assert parse_watch(told, SIMNET) == Watch((wanted,))


def test_an_outpoint_is_watched_by_its_script() -> None:
    wanted = script(0, 0, 1)
    for told in (wanted.hex(), address_of(wanted, SIMNET)):
        assert parse_watch(f"{TXID}:4294967295:{told}", SIMNET) == Watch((wanted,))
    assert parse_outpoint(f"{TXID}:7") == OutPoint(bytes.fromhex(TXID)[::-1], 7)


@pytest.mark.parametrize("text", ["", "aa:0", TXID, *[f"{TXID}:{index}" for index in ("", "-1", "4294967296", "1:51")]])
def test_what_is_no_outpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no outpoint, TXID:N"):
        parse_outpoint(text)


def test_joined_items_stand_once_and_the_last_gap_limit_holds() -> None:
    joined = Watch.joined([chains(5), Watch((b"1", b"2")), chains(9), Watch((b"2", b"3"))])
    assert joined == Watch((b"1", b"2", b"3"), chains(9).chains)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{XPUB}:gap=0", "a gap limit of 0 is none of 1..1000"),
        (f"{XPUB}:gap=1001", "a gap limit of 1001 is none of 1..1000"),
        (f"{XPUB}:gap=x", "neither an address nor script hex, descriptor or extended public key"),
        ("51:gap=5", "a gap limit is for descriptors with a"),
        ("raw(51):gap=5", "a gap limit is for descriptors with a"),
        (f"{TXID}:0", f"outpoint {TXID}:0 is watched by its script: give ab010101...:0:SCRIPT"),
        (f"{TXID}:4294967296:51", "is no outpoint, TXID:N"),
        (f"{TXID}:0:x", "'x' is neither an address nor script hex"),
        (MASTER, "is of another network, not simnet"),
        (XPUB[:-1] + ("2" if XPUB[-1] != "2" else "3"), "bad checksum"),
        (f"{XPUB}/0/*", "neither an address nor script hex, descriptor or extended public key"),
        ("nonsense", "'nonsense' is neither an address nor script hex, descriptor or extended public key"),
    ],
)
def test_what_cannot_be_watched_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_watch(text, SIMNET)
