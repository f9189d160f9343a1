"""Extended public keys: the vectors of BIP32, Dash's version bytes, and that no private key gets in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from bitcoin.base58 import decode as base58_decode
from bitcoin.base58 import encode as base58_encode

from phasegate.consensus.bip32 import HARDENED, ExtendedKey, checked_key
from phasegate.consensus.codec import dsha
from phasegate.consensus.params import MAINNET, REGTEST, SIMNET, TESTNET

XPRV = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
_VECTORS = """
1, below 0'
xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw
/1
xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ

1, below 0'/1/2'
xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5
/2
xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV
/1000000000
xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy

2
xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB
/0
xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH

2, below 0/2147483647'
xpub6ASAVgeehLbnwdqV6UKMHVzgqAG8Gr6riv3Fxxpj8ksbH9ebxaEyBLZ85ySDhKiLDBrQSARLq1uNRts8RuJiHjaDMBU4Zn9h8LZNnBC5y4a
/1
xpub6DF8uhdarytz3FWdA8TvFSvvAh8dP3283MY7p2V4SeE2wyWmG5mg5EwVvmdMVCQcoNJxGoWaU9DCWh89LojfZ537wTfunKau47EL2dhHKon

2, below 0/2147483647'/1/2147483646'
xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJbZRkrgZw4koxb5JaHWkY4ALHY2grBGRjaDMzQLcgJvLJuZZvRcEL
/2
xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5agb9rXpVGyy3bdW6EEgAtqt
"""
"""Of each vector its name, an extended key, and what is a step below it, and so on."""
_INVALID = """
xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6LBpB85b3D2yc8sfvZU521AAwdZafEz7mnzBBsz4wKY5fTtTQBm
begin with 00 are no public key
xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6Txnt3siSujt9RCVYsx4qHZGc62TG4McvMGcAUjeuwZdduYEvFn
begin with 04 are no public key
xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6N8ZMMXctdiCjxTNq964yKkwrkBJJwpzZS4HS2fxvyYUA4q2Xe4
begin with 01 are no public key
xpub661no6RGEX3uJkY4bNnPcw4URcQTrSibUZ4NqJEw5eBkv7ovTwgiT91XX27VbEXGENhYRCf7hyEbWrR3FewATdCEebj6znwMfQkhRYHRLpJ
says that it is a master key and that it has a parent
xpub661MyMwAuDcm6CRQ5N4qiHKrJ39Xe1R1NyfouMKTTWcguwVcfrZJaNvhpebzGerh7gucBvzEQWRugZDuDXjNDRmXzSZe4c7mnTK97pTvGS8
says that it is a master key and that it has a parent
DMwo58pR1QLEFihHiXPVykYB6fJmsTeHvyTp7hRThAtCX8CvYzgPcn8XnmdfHPmHJiEDXkTiJTVV9rHEBUem2mwVbbNfvT2MTcAqj3nesx8uBf9
is none of Dash's public ones
xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6Q5JXayek4PRsn35jii4veMimro1xefsM58PgBMrvdYre8QyULY
is no point of the curve
"""


def _vectors() -> dict[str, list[tuple[int, str]]]:
    found = {}
    for block in _VECTORS.strip().split("\n\n"):
        name, first, *steps = block.splitlines()
        found[name] = [(0, first), *[(int(step[1:]), key) for step, key in zip(steps[::2], steps[1::2], strict=True)]]
    return found


VECTORS = _vectors()
INVALID = dict(zip(_INVALID.split("\n")[1::2], _INVALID.split("\n")[2::2], strict=False))
MASTER = VECTORS["2"][0][1]


def with_version(text: str, version: str) -> str:
    """The same extended key with other version bytes."""
    raw = bytes.fromhex(version) + base58_decode(text)[4:-4]
    told: str = base58_encode(raw + dsha(raw)[:4])
    return told


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_children_are_those_of_the_vectors(vector: list[tuple[int, str]]) -> None:
    """Every step that needs no private key."""
    for (_, parent), (index, child) in pairwise(vector):
        found = ExtendedKey.parse(parent, MAINNET).child(index)
        assert found.text(mainnet=True) == child
        assert found == ExtendedKey.parse(child)


@pytest.mark.parametrize("text", INVALID)
def test_what_the_vectors_call_invalid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=INVALID[text]):
        ExtendedKey.parse(text)


@pytest.mark.parametrize("version", ["0488ade4", "04358394", "02fe52cc", "02fe52f8"])
def test_a_private_key_is_refused_under_every_version_and_never_repeated(version: str) -> None:
    """Wallets disagree which of Dash's own version bytes is the private one: the key tells."""
    text = with_version(XPRV, version)
    with pytest.raises(ValueError, match="an extended private key is refused") as caught:
        ExtendedKey.parse(text, MAINNET)
    assert text[8:20] not in str(caught.value)


@pytest.mark.parametrize("version", ["02fe52cc", "02fe52f8"])
def test_the_version_bytes_of_wallets_are_mainnets(version: str) -> None:
    text = with_version(MASTER, version)
    assert text[:4] in ("drkp", "drkv")
    assert ExtendedKey.parse(text, MAINNET) == ExtendedKey.parse(MASTER)
    with pytest.raises(ValueError, match="is of another network, not simnet"):
        ExtendedKey.parse(text, SIMNET)


@pytest.mark.parametrize("network", [TESTNET, REGTEST, SIMNET])
def test_all_networks_but_mainnet_have_tpub(network: object) -> None:
    key = ExtendedKey.parse(MASTER, MAINNET)
    text = key.text(mainnet=False)
    assert text[:4] == "tpub"
    assert ExtendedKey.parse(text, network) == key  # type: ignore[arg-type]
    for other, chain in ((text, MAINNET), (MASTER, network)):
        with pytest.raises(ValueError, match="is of another network"):
            ExtendedKey.parse(other, chain)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", range(5, 111, 7))
def test_a_wrong_letter_is_a_bad_checksum(at: int) -> None:
    wrong = MASTER[:at] + ("2" if MASTER[at] != "2" else "3") + MASTER[at + 1 :]
    with pytest.raises(ValueError, match="bad checksum"):
        ExtendedKey.parse(wrong)


@pytest.mark.parametrize("text", ["", "xpub", "x" * 111, "0" * 111, MASTER + "1", "1" * 111])
def test_what_is_no_extended_key_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="an extended key"):
        ExtendedKey.parse(text)


@pytest.mark.parametrize("index", [-1, HARDENED, 1 << 32])
def test_a_hardened_child_cannot_be_derived(index: int) -> None:
    with pytest.raises(ValueError, match="cannot be derived from a public key"):
        ExtendedKey.parse(MASTER).child(index)


def test_the_depth_ends_at_255() -> None:
    key = ExtendedKey(ExtendedKey.parse(MASTER).key, bytes(32), 255)
    with pytest.raises(ValueError, match="255 steps"):
        key.child(0)


@pytest.mark.parametrize("raw", [b"", b"\2" + bytes(31), b"\5" + bytes(32), b"\4" + bytes(32), b"\2" + b"\xff" * 32])
def test_what_is_no_public_key_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="public key"):
        checked_key(raw)
