"""Output descriptors: the vectors of the BIPs, one name for one meaning, and clear words for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.addresses import address_of
from phasegate.consensus.descriptor_checksums import CHARACTERS, checksum, without_checksum
from phasegate.consensus.descriptors import Descriptor, parse_descriptors
from phasegate.consensus.params import MAINNET, SIMNET, Network
from tests.paid_key_chains import MASTER, account, account_text

KEY = "03a34b99f22c790c4e36b2b3c2c35a36db06226e41c692fc82b8b56ac1c540c5bd"
LONG = (
    "04a34b99f22c790c4e36b2b3c2c35a36db06226e41c692fc82b8b56ac1c540c5bd"
    "5b8dec5235a0fa8722476c7709c02559e3aa73aa03918ba2d492eea75abea235"
)
OTHER = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
XPRV = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
WIF = "5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss"
BARE = "6ae8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b"
DIGITS = str(int(BARE, 16))
SECRETS = {"XPRV": XPRV, "WIF": WIF, "BARE": BARE, "DIGITS": DIGITS}

SCRIPTS = {
    f"pk({KEY})": [f"21{KEY}ac"],
    f"pk({LONG})": [f"41{LONG}ac"],
    f"pkh([deadbeef/1/2'/3/4']{KEY})": ["76a9149a1c78a507689f6f54b847ad1cef1e614ee23f1e88ac"],
    f"pkh({LONG})": ["76a914b5bd079c4d57cc7fc28ecf8213a6b791625b818388ac"],
    f"sh(pk({KEY}))": ["a9141857af51a5e516552b3086430fd8ce55f7c1a52487"],
    f"sh(pkh({KEY}))": ["a9141a31ad23bf49c247dd531a623c2ef57da3c400c587"],
    f"combo({KEY})": [f"21{KEY}ac", "76a9149a1c78a507689f6f54b847ad1cef1e614ee23f1e88ac"],
    f"multi(1,{KEY},{LONG})": [f"5121{KEY}41{LONG}52ae"],
    f"sortedmulti(2,{KEY},{OTHER})": [f"5221{OTHER}21{KEY}52ae"],
    f"multi(2,{KEY},{OTHER})": [f"5221{KEY}21{OTHER}52ae"],
    "raw(a91400ff00ff00ff00ff00ff00ff00ff00ff00ff00ff87)": ["a91400ff00ff00ff00ff00ff00ff00ff00ff00ff00ff87"],
}
WRONG = {
    "wpkh(KEY)": r"wpkh\(\) is refused: Dash has no segregated witness",
    "sh(wpkh(KEY))": r"wpkh\(\) is refused",
    "sh(wsh(pkh(KEY)))": r"wsh\(\) is refused",
    "tr(KEY)": r"tr\(\) is refused: Dash has no segregated witness and no taproot",
    "p2pkh(KEY)": r"p2pkh\(\) is no descriptor; known are pk, pkh, combo",
    "sh(sh(pk(KEY)))": r"sh\(\) cannot stand inside sh\(\)",
    "sh(combo(KEY))": r"combo\(\) cannot stand inside sh\(\)",
    "sh(addr(KEY))": r"addr\(\) cannot stand inside sh\(\)",
    "pkh(KEY": "not of the form NAME",
    "pkh(KEY))": "extended key|no number|no public key",
    "pkh()": "extended key",
    "KEY": "not of the form NAME",
    "pkh(XPRV/0/*)": "an extended private key is refused",
    "pkh(WIF)": "a private key is refused",
    "pkh(BARE)": "32 bytes that begin with 6a are no public key",
    "raw(BARE)": "OP_RETURN",
    "BARE(KEY)": "what stands before a parenthesis is no descriptor; known are pk, pkh, combo",
    "multi(XPRV,KEY)": r"multi\(\) asks for no number of signatures of 1 keys",
    "multi(WIF,KEY)": r"multi\(\) asks for no number of signatures of 1 keys",
    "sh(sortedmulti(DIGITS,KEY))": r"sortedmulti\(\) asks for no number of signatures of 1 keys",
    "pkh(XPUB/XPRV/*)": "a step of a key is no number below",
    "pkh(XPUB/WIF)": "a step of a key is no number below",
    "pkh(XPUB/0/BARE/*)": "a step of a key is no number below",
    "pkh(XPUB/DIGITS')": "a step of a key is no number below",
    "pkh([deadbeef/DIGITS']KEY)": "a step of a key is no number below",
    "pkh(XPUB/99999999999)": "step '99999999999' of a key is no number below",
    "pkh(KEY/0)": "a key in hex is not extended: nothing is derived from it",
    "pkh(BARE/0)": "a key in hex is not extended: nothing is derived from it",
    "pkh(XPUB/0'/*)": "step 0' of a key is hardened: that takes the private key",
    "pkh(XPUB/0h)": "step 0h of a key is hardened",
    "pkh(XPUB/*')": "is hardened",
    "pkh(XPUB/*/0)": r"a \* stands only at the end",
    "pkh(XPUB/2147483648)": "is no number below",
    "pkh(XPUB//0)": "is no number below",
    "pkh(XPUB/-1)": "is no number below",
    "pkh([deadbee/1]KEY)": "origin",
    "pkh([deadbeef/x]KEY)": "origin",
    "pkh([deadbeef/9999999999]KEY)": "is no number below",
    "pkh([deadbeef]KEY]KEY)": "an extended key",
    "multi(0,KEY)": "asks for '0' signatures of 1 keys",
    "multi(2,KEY)": "asks for '2' signatures of 1 keys",
    "multi(a,KEY)": "asks for 'a' signatures of 1 keys",
    "multi(1)": "has 0 keys and may have 1 to 3",
    "multi(1,KEY,KEY,KEY,KEY)": "has 4 keys and may have 1 to 3",
    "sh(multi(1,16KEYS))": "is longer than 520 bytes",
    "sh(multi(1,17KEYS))": r"has 17 keys and may have 1 to 16 inside sh\(\)",
    "raw()": r"raw\(\) takes script hex",
    "raw(xyz)": r"raw\(\) takes script hex",
    "raw(6a00)": "OP_RETURN",
    "addr(51)": r"addr\(\) takes an address",
    "addr(XqMkVUZnqe3w4xvgdZRtZoe7gMitDudGs4)": "of another network, not simnet",
    "pkh(XPUB/<0;1;0>/*)": "different steps",
    "sh(multi(1,XPUB/<0;1>/*,XPUB/<0;1;2>/*))": "in every key as many",
    "pkh(<KEY;KEY>)": "an extended key",
    "pkh(MAIN/0/*)": "is of another network, not simnet",
    "pkh(\u00fc)": "no character '\u00fc'",
}


def filled(text: str) -> str:
    """`text` with its words replaced by keys."""
    words = {"16KEYS": ",".join([KEY] * 16), "17KEYS": ",".join([KEY] * 17), "XPUB": account_text(0), **SECRETS}
    for word, value in (*words.items(), ("MAIN", MASTER), ("KEY", KEY)):
        text = text.replace(word, value)
    return text


def only(text: str, network: Network | None = SIMNET) -> Descriptor:
    (one,) = parse_descriptors(text, network)
    return one


@pytest.mark.parametrize("text", SCRIPTS)
def test_the_scripts_are_those_of_the_vectors(text: str) -> None:
    """BIP381, 383, 384 and 385, at every index the same."""
    found = only(text)
    assert not found.ranged
    for index in (0, 7):
        assert [script.hex() for script in found.scripts(index)] == SCRIPTS[text]


def test_an_address_is_its_script() -> None:
    address = address_of(bytes.fromhex(SCRIPTS[f"sh(pk({KEY}))"][0]), SIMNET)
    assert [script.hex() for script in only(f"addr({address})").scripts()] == SCRIPTS[f"sh(pk({KEY}))"]


def test_a_star_stands_for_every_child() -> None:
    chain = only(f"pkh([d34db33f/44'/1'/0']{account_text(3)}/1/*)")
    assert chain.ranged
    for index in (0, 1, 500):
        key = account(3).child(1).child(index).key.hex()
        assert chain.scripts(index) == only(f"pkh({key})").scripts()


def test_keys_of_several_signers_go_together() -> None:
    """At each index the children of all with that index; sorted by what they are there."""
    both = only(f"sh(sortedmulti(2,{account_text(0)}/0/*,{account_text(1)}/*))")
    for index in (0, 9):
        keys = [account(0).child(0).child(index).key.hex(), account(1).child(index).key.hex()]
        assert both.scripts(index) == only(f"sh(multi(2,{','.join(sorted(keys))}))").scripts()


def test_spread_steps_are_several_descriptors() -> None:
    spread = parse_descriptors(f"pkh({account_text(0)}/<0;1;7>/*)", SIMNET)
    assert list(map(str, spread)) == [f"pkh({account_text(0)}/{step}/*)" for step in (0, 1, 7)]
    pairs = parse_descriptors(f"sh(multi(1,{account_text(0)}/<0;1>/*,{account_text(1)}/<5;6>/*))", SIMNET)
    assert [str(one).count("/0/*") + str(one).count("/6/*") for one in pairs] == [1, 1]
    assert str(pairs[0]) == f"sh(multi(1,{account_text(0)}/0/*,{account_text(1)}/5/*))"


@pytest.mark.parametrize("text", [*SCRIPTS, f"pkh([00000000]{account_text(0)}/00/*)", f"multi(01,{KEY.upper()})"])
def test_the_name_of_a_descriptor_means_the_same_and_is_its_own(text: str) -> None:
    one = only(text)
    again = only(str(one), SIMNET if "raw" in text else None)
    assert (str(again), again.scripts(3)) == (str(one), one.scripts(3))
    assert "[" not in str(one)
    assert "#" not in str(one)


def test_what_wallets_call_drkp_has_the_name_that_core_gives_it() -> None:
    assert str(only(f"pkh({MASTER}/0/*)", MAINNET)) == f"pkh({MASTER}/0/*)"


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=WRONG[text]) as caught:
        parse_descriptors(filled(text), SIMNET)
    assert "\n" not in str(caught.value)
    for secret in SECRETS.values():
        assert secret[:8] not in str(caught.value)


def test_an_address_needs_a_network_and_length_is_bounded() -> None:
    with pytest.raises(ValueError, match="needs a network"):
        parse_descriptors("addr(XqMkVUZnqe3w4xvgdZRtZoe7gMitDudGs4)", None)
    with pytest.raises(ValueError, match="is longer than 4000"):
        parse_descriptors("raw(" + "51" * 2000 + ")", SIMNET)


def test_the_checksum_is_that_of_the_vector() -> None:
    """BIP380."""
    assert checksum("raw(deadbeef)") == "89f8spxm"
    assert without_checksum("raw(deadbeef)#89f8spxm") == without_checksum("raw(deadbeef)") == "raw(deadbeef)"
    assert only("raw(deadbeef)#89f8spxm").scripts() == (bytes.fromhex("deadbeef"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raw(deadbeef)#", "has 8 characters, not 0"),
        ("raw(deadbeef)#89f8spxmx", "has 8 characters, not 9"),
        ("raw(deadbeef)#89f8spx", "has 8 characters, not 7"),
        ("raw(deedbeef)#89f8spxm", "is 89f8spxm and should be"),
        ("raw(deadbeef)##9f8spxm", "has 8 characters"),
        ("raw(\u00dc)#00000000", "no character '\u00dc'"),
    ],
)
def test_a_wrong_checksum_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_descriptors(text, SIMNET)


@given(
    text=st.text(alphabet=CHARACTERS.replace("#", ""), min_size=1, max_size=60),
    at=st.integers(0, 59),
    other=st.sampled_from(CHARACTERS.replace("#", "")),
)
def test_one_wrong_character_is_always_seen(text: str, at: int, other: str) -> None:
    at %= len(text)
    changed = text[:at] + other + text[at + 1 :]
    assert (checksum(changed) == checksum(text)) == (changed == text)


@given(text=st.text(max_size=200) | st.text(alphabet="pkhsulti(),0123456789abcdef<;>/*[]'#", max_size=200))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """Nothing but ValueError, and what is understood has a name."""
    try:
        found = parse_descriptors(text, SIMNET)
    except ValueError:
        return
    assert all(str(one) for one in found)
