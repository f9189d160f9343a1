"""Samples that no recording has all of: every special payload and every masternode entry, in every version.

The versions are those that Core 23.1 reads. What a recording or a generated chain happens to hold is not counted on:
each form is made here by hand, and has a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from phasegate.consensus.codec import compact_size, dsha, u16, u16be, var_bytes
from phasegate.consensus.masternode_entry import EVO, REGULAR, MasternodeEntry
from phasegate.consensus.primitives import CoinbasePayload, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.quorums import BitSet, QuorumCommitment
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.chain import Announced
from phasegate.p2p.simnet.generated import GeneratedChain, generate

BLOCKS = 150
"""The height of the generated chain: quorums, locks, and a rotation of all its cycles."""
_HASH, _OTHER, _SIGNATURE = b"\x11" * 32, b"\x22" * 32, b"\x33" * 96
_SCRIPT = b"\x76\xa9\x14" + b"\x44" * 20 + b"\x88\xac"
_KEYS = protx.Keys(b"\x55" * 20, b"\x86" * 48, b"\x66" * 20)
_INPUTS = (TxIn(OutPoint(_HASH, 1), b"\x51"),)
_PLATFORM = protx.Platform(b"\x77" * 20, 26656, 443)
_PLAIN_ADDRESS = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1)) + u16be(19999)
_DOMAIN = b"node.example"
EXTENDED_ADDRESS = b"".join(
    (
        b"\1",
        compact_size(2),
        *(b"\0", compact_size(3)),
        *(b"\1\1", var_bytes(bytes((192, 0, 2, 1))), u16be(19999)),
        *(b"\1\4", var_bytes(_OTHER), u16be(9999)),
        b"\xff",
        *(b"\1", compact_size(1), b"\2", var_bytes(_DOMAIN), u16be(443)),
    )
)
"""A list of places for each purpose: IPv4, Tor v3 and an invalid one for peers, a name for the Platform."""
NAMES: Mapping[int, str] = {
    1: "provider registration",
    2: "provider service update",
    3: "provider registrar update",
    4: "provider revocation",
    5: "coinbase",
    6: "quorum commitment",
    7: "hard fork signal",
    8: "asset lock",
    9: "asset unlock",
}


@cache
def sample_chain() -> GeneratedChain:
    """A generated chain with masternodes, quorums and locks."""
    return generate(BLOCKS, "fuzzing")


@cache
def sample_locks() -> tuple[Announced, ...]:
    """Locks of the generated chain, of both kinds."""
    chain = sample_chain()
    found = [lock for height in range(1, chain.height + 1) for lock in chain.locks_of(height)]
    newest = {command: [lock for lock in found if lock.command == command][-4:] for command in ("clsig", "isdlock")}
    return tuple([lock for several in newest.values() for lock in several])


def special_payloads() -> Iterator[tuple[str, int, bytes]]:
    """Every extra payload there is: a name with its version, the type of the transaction, and the payload."""
    for kind, versions in _PAYLOADS.items():
        for form, payload in versions.items():
            yield f"{NAMES[kind]} {form}", kind, payload


def special_transactions() -> Iterator[tuple[str, bytes]]:
    """A transaction around each of them."""
    for name, kind, payload in special_payloads():
        inputs = () if kind in (6, 7, 9) else _INPUTS
        outputs = () if kind in (6, 7) else (TxOut(5_000, _SCRIPT),)
        yield name, Transaction(3, kind, inputs, outputs, 7, payload).to_bytes()


def masternode_entries() -> Iterator[tuple[str, int, bytes]]:
    """Every form of an entry: a name, the protocol version that it is written for, and its bytes."""
    for protocol in (70227, 70228, 70230, 70240):
        for version in (2,) if protocol == 70227 else (1, 2, 3):
            for kind in (REGULAR,) if version == 1 else (REGULAR, EVO):
                name = f"entry version {version}{' evo' * kind} at {protocol}"
                yield name, protocol, _entry(version, kind).to_bytes(protocol)


def _entry(version: int, kind: int) -> MasternodeEntry:
    address = EXTENDED_ADDRESS if version == 3 else _PLAIN_ADDRESS
    port, node = (443 if version < 3 else None, b"\x77" * 20) if kind == EVO else (None, b"")
    return MasternodeEntry(version, _HASH, _OTHER, address, _KEYS.operator, _KEYS.voting, True, kind, port, node)


def quorum_commitments() -> Iterator[tuple[str, QuorumCommitment]]:
    """A commitment of each version, and one that says that no quorum was made."""
    bits, nobody = BitSet.of([True] * 4), BitSet.of([False] * 4)
    for version in (1, 2, 3, 4):
        index = 1 if version in (2, 4) else None
        kind = 100 if index is None else 103
        name = f"version {version}"
        points = _KEYS.operator, _OTHER, _SIGNATURE, _SIGNATURE
        yield name, QuorumCommitment(version, kind, _HASH, bits, bits, *points, index)
    nothing = bytes(48), bytes(32), bytes(96), bytes(96)
    yield "version 3, null", QuorumCommitment(3, 100, _HASH, nobody, nobody, *nothing)


def _register(version: int, platform: protx.Platform | None = None) -> bytes:
    address = EXTENDED_ADDRESS if version == 3 else _PLAIN_ADDRESS
    return protx.register(OutPoint(_HASH, 1), address, _KEYS, _SCRIPT, _INPUTS, platform, b"\x99" * 65, version)


def _service(version: int) -> bytes:
    address = EXTENDED_ADDRESS if version == 3 else _PLAIN_ADDRESS
    kind = b"" if version == 1 else u16(REGULAR)
    return u16(version) + kind + _HASH + address + var_bytes(_SCRIPT) + protx.inputs_hash(_INPUTS) + _SIGNATURE


def _registrar(version: int) -> bytes:
    update = protx.update_registrar(_HASH, _KEYS.operator, _KEYS.voting, _SCRIPT, _INPUTS, b"\x99" * 65)
    return u16(version) + update[2:]


def _revocation(version: int) -> bytes:
    return u16(version) + protx.revoke(_HASH, 1, _INPUTS, _SIGNATURE)[2:]


def _versions(*made: bytes) -> dict[str, bytes]:
    return {f"version {number}": payload for number, payload in enumerate(made, 1)}


_PAYLOADS: Mapping[int, Mapping[str, bytes]] = {
    1: {
        **_versions(*map(_register, (1, 2, 3))),
        "version 2 evo": _register(2, _PLATFORM),
        "version 3 evo": _register(3, _PLATFORM),
    },
    2: {
        **_versions(*map(_service, (1, 2, 3))),
        "version 2 evo": protx.update_service(_HASH, _PLAIN_ADDRESS, _INPUTS, _PLATFORM, _SIGNATURE),
    },
    3: _versions(*map(_registrar, (1, 2, 3))),
    4: _versions(*map(_revocation, (1, 2, 3))),
    5: _versions(
        CoinbasePayload(1, 9, _HASH).to_bytes(),
        CoinbasePayload(2, 9, _HASH, _OTHER).to_bytes(),
        CoinbasePayload(3, 9, _HASH, _OTHER, 300, _SIGNATURE, 1 << 40).to_bytes(),
    ),
    6: {name: protx.commitment(9, quorum.to_bytes()) for name, quorum in quorum_commitments()},
    7: _versions(b"\1\x0a" + dsha(b"quorum") + _SIGNATURE),
    8: _versions(protx.asset_lock((TxOut(700, _SCRIPT), TxOut(800, b"\x6a")))),
    9: _versions(protx.asset_unlock(1, 190, 9, _HASH, _SIGNATURE)),
}
