"""The recording, served again, is the conversation that was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phasegate.consensus.codec import dsha
from phasegate.consensus.masternodes import apply_diff
from phasegate.consensus.params import Network
from phasegate.p2p.messages import GetMnListDiff, decode
from phasegate.p2p.simnet.answers import answer
from phasegate.p2p.simnet.recording import RecordedChain, RecordingUnreadable, load_recording

Conversation = Callable[[int], list[tuple[str, str, bytes]]]
GREETING = {"version", "verack", "sendaddrv2", "sendheaders", "sendcmpct", "senddsq", "ping", "clsig", "isdlock"}
UNKNOWN = [1, 111, 113, 114, 115, 116, 227, 299, 347]
"""The heights whose lists nothing recorded tells."""


@pytest.mark.parametrize("version", [70227, 70228, 70230, 70235, 70240])
def test_every_recorded_answer_comes_again(recorded: RecordedChain, conversation: Conversation, version: int) -> None:
    """Asked what the recorded node was asked, in its order, the chain answers the same bytes."""
    told = [(command, raw) for way, command, raw in conversation(version) if way == "<" and command not in GREETING]
    answers = []
    for way, command, raw in conversation(version):
        given = answer(recorded, decode(command, raw, version), version) if way == ">" and command != "pong" else None
        answers += [(m.command, m.to_payload(version)) for m in given.messages] if given else []
    assert answers == told


def test_lists_are_rebuilt_between_any_two_heights(recorded: RecordedChain, recorded_network: Network) -> None:
    """Every pair of known heights has a difference that a client can apply, recorded or not."""
    known = [h for h in range(recorded.height + 1) if h not in UNKNOWN]
    pairs = [(base, height) for base in known[::23] for height in known[1::7] if 2 <= height >= base]
    assert len(pairs) > 300
    for base, height in pairs:
        diff, before, after = recorded.mnlistdiff(base, height), recorded.state_at(base), recorded.state_at(height)
        assert diff is not None
        assert before is not None
        assert apply_diff(recorded_network, before, diff, recorded.header(height), height) == after


def test_where_no_recorded_list_fits_nothing_is_served(recorded: RecordedChain) -> None:
    """The nine heights that the recording cannot tell are silent, as base and as target; so is a backward request."""
    assert [h for h in range(recorded.height + 1) if recorded.state_at(h) is None] == UNKNOWN
    for height in UNKNOWN:
        assert answer(recorded, GetMnListDiff(recorded.hash_at(0), recorded.hash_at(height)), 70240) is None
        assert answer(recorded, GetMnListDiff(recorded.hash_at(height), recorded.tip_hash), 70240) is None
    assert answer(recorded, GetMnListDiff(recorded.tip_hash, recorded.hash_at(9)), 70240) is None


def test_the_base_is_echoed_as_it_was_sent(recorded: RecordedChain) -> None:
    """Zero as base means genesis, and comes back as zero."""
    given = answer(recorded, GetMnListDiff(bytes(32), recorded.tip_hash), 70240)
    assert given is not None
    (message,) = given.messages
    assert message.to_payload(70240)[2:34] == bytes(32)


def test_the_watched_payments_are_found(recorded: RecordedChain, capture: Path) -> None:
    """17 transactions concern the 12 addresses: those that the node lists, and the spend, which empties two of them."""
    record = json.loads((capture / "record.json").read_text())
    listed = {txid for entry in record["watch"].values() for txid in entry["txs"]}
    assert set(recorded.expected["transactions"]) == listed | {record["spend"]}
    assert len(recorded.expected["transactions"]) == 17
    assert sorted(recorded.expected["balances"].values())[:2] == [0, 0]
    assert set(recorded.watch) == set(record["watch"])
    assert (recorded.height, recorded.tip_hash[::-1].hex()) == (record["height"], record["best"])


def test_locks_are_offered_by_their_hash(recorded: RecordedChain) -> None:
    """11 ChainLocks and 16 InstantSend locks, each under the double SHA-256 of its payload."""
    kinds = [lock.command for lock in recorded.locks()]
    assert (kinds.count("clsig"), kinds.count("isdlock")) == (11, 16)
    assert all(lock.hash == dsha(lock.payload) for lock in recorded.locks())


def test_a_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    """What is no recording is named in one line."""
    with pytest.raises(RecordingUnreadable, match=str(tmp_path)):
        load_recording(tmp_path)


def test_a_damaged_recording_is_refused(capture: Path, tmp_path: Path) -> None:
    """Files of different chains, or cut ones, are no recording."""
    for file in capture.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (tmp_path / "headers.bin").read_bytes()
    (tmp_path / "headers.bin").write_bytes(whole[:-80])
    with pytest.raises(RecordingUnreadable, match="different chains"):
        load_recording(tmp_path)
    (tmp_path / "headers.bin").write_bytes(whole)
    (tmp_path / "blocks.bin").write_bytes((tmp_path / "blocks.bin").read_bytes()[:-1])
    with pytest.raises(RecordingUnreadable, match="truncated"):
        load_recording(tmp_path)
