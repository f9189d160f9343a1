"""The seeds hold every form that there is, by name."""

from __future__ import annotations

from typing import Any

import pytest

from phasegate.consensus.codec import Reader
from phasegate.consensus.masternode_entry import MasternodeEntry
from phasegate.consensus.primitives import Transaction
from phasegate.consensus.special_txs import filter_data
from phasegate.engine.chain_import import import_chain
from phasegate.p2p.messages import KNOWN
from phasegate.verification.fuzzing import chain_files
from phasegate.verification.fuzzing.corpus import MOST_OF_A_KIND, recorded, seeds, some_of_each
from phasegate.verification.fuzzing.payloads import SPECIAL_TYPES
from phasegate.verification.fuzzing.samples import NAMES, masternode_entries, special_transactions
from phasegate.verification.fuzzing.targets import TARGETS
from phasegate.verification.fuzzing.wire import COMMANDS, VERSIONS
from tests.conftest import PACKED
from tests.verification.conftest import Seeds

VERSIONS_OF = {1: "123", 2: "123", 3: "123", 4: "123", 5: "123", 6: "1234", 7: "1", 8: "1", 9: "1"}
"""The payload versions of each type of special transaction [Core evo/; Core 23.1]; of type 6 the commitment's."""


@pytest.mark.parametrize("target", ["special-payloads", "transactions"])
@pytest.mark.parametrize("kind", sorted(NAMES))
def test_every_special_payload_is_there(seeds_of: Seeds, kind: int, target: str) -> None:
    """Each type of special transaction [DIP2] has a seed in each version that it has."""
    names = {seed.name for seed in seeds_of[target]}
    assert {f"{NAMES[kind]} version {version}" for version in VERSIONS_OF[kind]} <= names


def test_the_special_types_are_all_nine() -> None:
    """What has a name is what the filter of a block may have to read, and all types there are."""
    assert tuple(NAMES) == tuple(range(1, 10))
    assert set(NAMES) < set(SPECIAL_TYPES)


def test_a_special_transaction_is_one() -> None:
    """Each sample is a transaction of its type to the last byte, whose payload can be read to its last field."""
    found = dict(special_transactions())
    kinds = [Transaction.from_bytes(raw).type for raw in found.values()]
    assert sorted(set(kinds)) == list(range(1, 10))
    assert all(list(filter_data(Transaction.from_bytes(raw))) for name, raw in found.items() if "provider" in name)


def test_every_version_of_an_entry_is_there(seeds_of: Seeds) -> None:
    """Legacy, basic and extended entries, of regular and of evo masternodes, in every form on the wire."""
    names = {seed.name for seed in seeds_of["entries"]}
    for protocol in (70228, 70230, 70240):
        wanted = {f"entry version {v}{evo} at {protocol}" for v in (2, 3) for evo in ("", " evo")}
        assert wanted | {f"entry version 1 at {protocol}"} <= names
    assert {"entry version 2 at 70227", "entry version 2 evo at 70227"} <= names


def test_an_entry_is_what_its_name_says() -> None:
    """Each sample reads to its last byte as its version."""
    for name, protocol, raw in masternode_entries():
        r = Reader(raw)
        assert f"version {MasternodeEntry.parse(r, protocol).version} " in name
        r.end()


def test_every_commitment_version_is_there(seeds_of: Seeds) -> None:
    """Of quorum commitments there are all four versions and the null one, and snapshots beside them."""
    names = {seed.name for seed in seeds_of["commitments"]}
    assert {*(f"version {number}" for number in (1, 2, 3, 4)), "version 3, null", "snapshot"} <= names


def test_every_kind_of_message_is_there(seeds_of: Seeds) -> None:
    """Each message that the client reads is a seed, lists in each protocol version recorded, locks of both kinds."""
    assert {COMMANDS[seed.data[0]] for seed in seeds_of["messages"]} >= set(KNOWN)
    versions = {VERSIONS[seed.data[0]] for seed in seeds_of["differences"]}
    assert versions == {70227, 70228, 70230, 70235, 70240}
    assert {seed.name for seed in seeds_of["locks"]} == {"clsig", "isdlock"}
    assert {seed.name for seed in seeds_of["connection-bytes"]} >= {*KNOWN, *(f"{command} first" for command in KNOWN)}


def test_exported_chains_of_every_form_are_taken_in(seeds_of: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the seeds hold is imported, but for one whose description nobody would take."""
    chain_files.chain_files(b"")  # what comes before the first input
    taken, real = list[int](), import_chain

    def counted(*arguments: Any) -> Any:
        done = real(*arguments)
        taken.append(done.told.reach.base)
        return done

    monkeypatch.setattr(chain_files, "import_chain", counted)
    for seed in seeds_of["chain-files"]:
        chain_files.chain_files(seed.data)
    assert sorted(taken) == [0, 0, 0, 0, 0, chain_files.BASE]
    assert len(seeds_of["chain-files"]) == len(taken) + 1


def test_seeds_fit_their_targets(seeds_of: Seeds) -> None:
    """Each target has seeds, none longer than its bound, and the same each time."""
    assert [name for name in TARGETS if not seeds_of[name]] == []
    assert all(len(seed.data) <= TARGETS[name].most for name, found in seeds_of.items() for seed in found)
    assert sorted(seeds(PACKED), key=repr) == sorted([s for found in seeds_of.values() for s in found], key=repr)


def test_without_a_recording_there_are_seeds_all_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every target can begin with what is generated and made by hand."""
    found = {seed.target for seed in seeds(tmp_path_factory.mktemp("empty"))}
    assert found == set(TARGETS)


def test_of_messages_of_one_kind_some_are_taken() -> None:
    """At most a dozen, the smallest and the largest among them."""
    all_of_it = recorded(PACKED)
    blocks = [one for one in all_of_it if one.command == "block"]
    assert 2 < len(blocks) <= MOST_OF_A_KIND
    assert some_of_each(all_of_it) == all_of_it
