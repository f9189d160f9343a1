"""Masternode lists: every recorded difference on the wire, and what applying one must prove."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Malformed, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_diff
from phasegate.consensus.params import Network
from phasegate.consensus.primitives import CoinbasePayload

if TYPE_CHECKING:
    from tests.conftest import Conversation
    from tests.consensus.conftest import RecordedChain

PROTOCOLS = [70227, 70228, 70230, 70235, 70240]
REAL_LISTS = [
    ("mnlistdiff-mainnet-0-2028691-70230.dat", 70230, 3837),
    ("mnlistdiff-testnet-0-905762-after20.HF.dat", 70230, 515),
    ("mnlistdiff-testnet-0-849810-70228-before19.2HF.dat", 70228, 494),
    ("mnlistdiff-testnet-0-850798-70228-after19.2HF.dat", 70228, 534),
    ("mn_list_diff_0_2227096.ipfixed.bin", 70230, 3147),
]
Conversations = Callable[[int], "Conversation"]


def parse(raw: bytes, protocol: int) -> MasternodeListDiff:
    r = Reader(raw, "mnlistdiff")
    diff = MasternodeListDiff.parse(r, protocol)
    r.end()
    return diff


@pytest.fixture(scope="module")
def payloads(conversation: Conversations) -> dict[int, list[bytes]]:
    return {v: [p for way, what, p in conversation(v) if (way, what) == ("<", "mnlistdiff")] for v in PROTOCOLS}


@pytest.fixture(scope="module")
def states(
    payloads: dict[int, list[bytes]], chain: RecordedChain, recorded_network: Network
) -> dict[int, MasternodeState]:
    return walk(payloads[70240], 70240, chain, recorded_network)


def walk(raws: list[bytes], protocol: int, chain: RecordedChain, network: Network) -> dict[int, MasternodeState]:
    """The states that all differences lead to, by height; two ways to one block must agree."""
    states = {0: MasternodeState.empty(network)}
    for diff in [parse(raw, protocol) for raw in raws]:
        base, height = chain.height_of(diff.base_hash), chain.height_of(diff.block_hash)
        after = apply_diff(network, states[base], diff, chain.header(height), height)
        assert states.setdefault(height, after) == after
    return states


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_recorded_difference_re_encodes_and_proves_both_roots(
    protocol: int, payloads: dict[int, list[bytes]], chain: RecordedChain, recorded_network: Network
) -> None:
    assert len(payloads[protocol]) == 56
    assert [parse(raw, protocol).to_bytes(protocol) for raw in payloads[protocol]] == payloads[protocol]
    assert max(walk(payloads[protocol], protocol, chain, recorded_network)) == 356


def test_the_list_at_the_tip_is_what_the_node_itself_says(states: dict[int, MasternodeState], capture: Path) -> None:
    record = json.loads((capture / "record.json").read_text())
    for height, said in record["mnlists"].items():
        expected = {bytes.fromhex(row["proTxHash"])[::-1]: row["state"]["PoSeBanHeight"] < 0 for row in said["list"]}
        assert {key: entry.valid for key, entry in states[int(height)].entries.items()} == expected
    assert states[356].count == states[356].valid_count == 5


@pytest.mark.parametrize(("name", "protocol", "count"), REAL_LISTS)
def test_real_lists_re_encode_and_reach_the_roots_of_their_coinbase(
    shared: Path, name: str, protocol: int, count: int
) -> None:
    raw = (shared / "vectors" / "mnlist" / name).read_bytes()
    diff = parse(raw, protocol)
    assert diff.to_bytes(protocol) == raw
    payload = CoinbasePayload.from_bytes(diff.coinbase.payload)
    state = MasternodeState(
        payload.height, diff.block_hash, {e.pro_tx_hash: e for e in diff.added}, {q.key: q for q in diff.new_quorums}
    )
    assert state.count == count
    assert (state.merkle_root(), state.quorum_root()) == (payload.masternode_root, payload.quorum_root)
    assert diff.proof.extract()[1] == ((0, diff.coinbase.txid),)
    assert MasternodeState.from_bytes(state.to_bytes()) == state


def test_the_best_mainnet_list_parses_behind_its_message_header(shared: Path) -> None:
    raw = bytes.fromhex((shared / "vectors" / "mnlist" / "DML_0_2221605.hex").read_text())[24:]
    assert parse(raw, 70230).to_bytes(70230) == raw


def test_the_zero_hash_as_base_means_genesis(
    payloads: dict[int, list[bytes]], chain: RecordedChain, recorded_network: Network
) -> None:
    diff = next(d for d in (parse(raw, 70240) for raw in payloads[70240]) if d.base_hash == chain.hash_at(0))
    height = chain.height_of(diff.block_hash)
    empty = MasternodeState.empty(recorded_network)
    zero = attrs.evolve(diff, base_hash=bytes(32))
    after = apply_diff(recorded_network, empty, zero, chain.header(height), height)
    assert after == apply_diff(recorded_network, empty, diff, chain.header(height), height)
    with pytest.raises(PeerMisbehaved):
        apply_diff(recorded_network, after, zero, chain.header(height), height)


def test_a_mainnet_list_is_applied_well_below_a_tenth_of_a_second(shared: Path) -> None:
    raw = (shared / "vectors" / "mnlist" / "mnlistdiff-mainnet-0-2028691-70230.dat").read_bytes()
    state = MasternodeState(1, bytes(32), {e.pro_tx_hash: e for e in parse(raw, 70230).added}, {})
    started = time.perf_counter()
    state.merkle_root()
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cut_difference_is_malformed_at_every_byte(protocol: int, payloads: dict[int, list[bytes]]) -> None:
    raw = max(payloads[protocol], key=len)
    for end in range(0, len(raw), 7):
        with pytest.raises(Malformed):
            parse(raw[:end], protocol)
    with pytest.raises(Malformed):
        parse(raw + b"\0", protocol)


def test_protocols_before_the_type_are_not_read(payloads: dict[int, list[bytes]]) -> None:
    with pytest.raises(Malformed):
        parse(payloads[70227][0], 70226)
