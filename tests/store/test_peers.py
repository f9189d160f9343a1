"""What is remembered of peers and broadcasts between runs: bounded, beside the chain, and never in anyone's way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.params import SIMNET
from phasegate.store import (
    BroadcastRow,
    Change,
    Damage,
    ForgetBroadcast,
    ForgetPeers,
    ForgetReputation,
    PeerRow,
    PutBroadcast,
    PutPeers,
    PutReputation,
    ReputationRow,
    RollBack,
    SetAnchors,
    SetPeerKey,
    Store,
    broadcasts,
    peers,
    reputations,
)
from tests.store.remembered_model import CHANGES, Remembered

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

PEER = PeerRow("192.0.2.7", 9999, "seed.example", (1 << 63) | 1, 30.5, 20.0, 10.0, 3, in_tried=True)
BANNED = ReputationRow("192.0.2.8", 0, 100.0, 40.5, 86440.5, "bad-filter", "filter of 17 is another one")
PENDING = BroadcastRow(b"\7" * 32, b"raw transaction", 50.5, 0.0, "announced")
ANCHORS = (("2001:db8::1", 9999), ("a" * 56 + ".onion", 0), ("192.0.2.7", 19999))
ALL: tuple[Change, ...] = (
    PutPeers((PEER,)),
    SetPeerKey(b"k" * 32),
    SetAnchors(ANCHORS),
    PutReputation(BANNED),
    PutBroadcast(PENDING),
)


def all_of(store: Store) -> tuple[object, ...]:
    return store.peers(), store.peer_key(), store.anchors(), store.reputations(), store.broadcasts()


REMEMBERED = ([PEER], b"k" * 32, list(ANCHORS), [BANNED], [PENDING])
NOTHING: tuple[object, ...] = ([], None, [], [], [])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(CHANGES, max_size=5), max_size=8))
def test_any_changes_leave_what_plain_dicts_would_hold(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Change]]
) -> None:
    """Round trips, replacing, forgetting and the bounds, set low, also after the store was opened again."""
    place, model = tmp_path_factory.mktemp("store"), Remembered()
    with pytest.MonkeyPatch.context() as patch:
        for module in (peers, reputations, broadcasts):
            patch.setattr(module, "KEPT", 3)
        store = Store.open(place, SIMNET)
        for batch in batches:
            store.commit(batch)
            for change in batch:
                assert model.apply(change)
            model.agrees(store)
        assert store.check() == ()
        store.close()
        store = Store.open(place, SIMNET)
        model.agrees(store)
        store.close()


def test_it_is_neither_in_the_digest_nor_rolled_back(store: Store, trunk: FakeChain) -> None:
    """It may be written in one batch with the chain, and stays when the chain goes back to its base."""
    digest = store.digest()
    store.commit([*ALL, trunk.append(1, 50), ForgetPeers((("192.0.2.9", 1),)), trunk.roll_back(0)])
    assert (store.marks.tip, all_of(store), store.digest()) == (0, REMEMBERED, digest)
    store.commit([trunk.append(1, 50)])
    store.commit([trunk.roll_back(20), ForgetReputation("192.0.2.8", 9999)])
    assert (store.marks.tip, all_of(store)) == (20, REMEMBERED)


def test_a_batch_that_does_not_fit_the_chain_is_not_remembered_either(store: Store) -> None:
    with pytest.raises(ValueError, match="cannot roll back"):
        store.commit([*ALL, RollBack(9, 1)])
    assert all_of(store) == NOTHING


@pytest.mark.parametrize(
    "change",
    [
        *(
            pytest.param(PutPeers((attrs.evolve(PEER, attempts=9), attrs.evolve(PEER, **wrong))), id=f"peer {wrong}")
            for wrong in (
                {"host": ""},
                {"host": "h" * 256},
                {"host": "two\nlines"},
                {"host": "\udc80"},
                {"port": -1},
                {"port": 65536},
                {"source": "s" * 256},
                {"source": "\udc80"},
                {"services": -1},
                {"services": 1 << 64},
                {"attempts": -1},
                {"attempts": 1 << 63},
                {"seen": math.nan},
                {"tried": math.inf},
                {"succeeded": -math.inf},
            )
        ),
        *(
            pytest.param(PutReputation(attrs.evolve(BANNED, **wrong)), id=f"reputation {wrong}")
            for wrong in (
                {"host": ""},
                {"port": 65536},
                {"score": math.nan},
                {"time": math.inf},
                {"banned_until": math.inf},
                {"reason": "r" * 256},
            )
        ),
        *(
            pytest.param(PutBroadcast(attrs.evolve(PENDING, **wrong)), id=f"broadcast {list(wrong)}")
            for wrong in (
                {"txid": bytes(31)},
                {"raw": b""},
                {"raw": bytes(1_000_001)},
                {"added": math.nan},
                {"announced": math.inf},
                {"state": "s" * 256},
            )
        ),
        pytest.param(SetAnchors((("192.0.2.1", 1),) * 9), id="nine anchors"),
        pytest.param(SetAnchors((("192.0.2.1", 1), ("", 1))), id="an anchor without a host"),
        pytest.param(SetPeerKey(b"n" * 32), id="a second key"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_batch(store: Store, trunk: FakeChain, change: Change) -> None:
    marks = store.commit([*ALL, trunk.append(1, 10)])
    with pytest.raises(ValueError, match=r"\w"):
        store.commit([trunk.append(11, 1), ForgetPeers((("192.0.2.7", 9999),)), change])
    assert (store.marks, store.read_marks(), all_of(store)) == (marks, marks, REMEMBERED)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_key_has_32_bytes(store: Store, key: bytes) -> None:
    with pytest.raises(ValueError, match="has 32 bytes"):
        store.commit([SetPeerKey(key)])
    assert store.peer_key() is None


def test_the_largest_values_fit(store: Store) -> None:
    """Also a host with every service bit set, and words that are no ASCII."""
    peer = PeerRow("h" * 255, 65535, "ü" * 255, (1 << 64) - 1, 1e300, -1.0, 0.0, (1 << 31) - 1, in_tried=False)
    long = attrs.evolve(PENDING, raw=bytes(1_000_000))
    store.commit([PutPeers((peer,)), PutBroadcast(long), SetAnchors((("192.0.2.1", 1),) * 8)])
    assert (store.peers(), store.broadcasts(), len(store.anchors())) == ([peer], [long], 8)


def test_a_long_detail_is_cut(store: Store) -> None:
    """A peer may have chosen its words, so their length is nobody's bug."""
    store.commit([PutReputation(attrs.evolve(BANNED, detail="é" * 10_000))])
    assert store.reputations() == [attrs.evolve(BANNED, detail="é" * 500)]


def test_at_most_100000_peers_stay_those_seen_last(store: Store) -> None:
    rows = tuple(
        attrs.evolve(PEER, host=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", seen=float(n)) for n in range(100_000)
    )
    store.commit([PutPeers(rows[::-1])])
    store.commit([PutPeers((attrs.evolve(PEER, seen=1e6), attrs.evolve(PEER, host="late", seen=0.5)))])
    found = store.peers()
    assert len(found) == 100_000
    assert {row.host for row in (*rows[:3], PEER)} - {row.host for row in found} == {"10.0.0.0"}
    assert "late" not in {row.host for row in found}


def test_bans_outlive_other_reputations(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of those that are not banned, or not any more, make room; only then the oldest bans."""
    assert reputations.KEPT == 10_000
    monkeypatch.setattr(reputations, "KEPT", 3)

    def put(number: int, until: float) -> list[int]:
        host = f"192.0.2.{number}"
        store.commit([PutReputation(ReputationRow(host, 0, 1.0, float(number), until, "flood", ""))])
        return [int(row.host.rpartition(".")[2]) for row in store.reputations()]

    assert [put(1, 1000.0), put(2, 5.0), put(3, 0.0)][-1] == [1, 2, 3]
    assert put(4, 1000.0) == [1, 2, 4]
    assert put(6, 1000.0) == [1, 4, 6]
    assert put(7, 0.0) == [1, 4, 6]
    assert put(8, 1000.0) == [4, 6, 8]


def test_at_most_1000_broadcasts_stay(store: Store) -> None:
    store.commit([PutBroadcast(attrs.evolve(PENDING, txid=n.to_bytes(32), added=float(n))) for n in range(1001)])
    assert [row.added for row in store.broadcasts()] == [float(n) for n in range(1, 1001)]
    store.commit([ForgetBroadcast((7).to_bytes(32)), ForgetBroadcast((7).to_bytes(32))])
    assert len(store.broadcasts()) == 999


SPOILT = {
    "UPDATE peers SET host = ''": "peers",
    "UPDATE peers SET host = CAST(x'ff00' AS TEXT)": "peers",
    "UPDATE peers SET port = 70000": "peers",
    "UPDATE peers SET seen = 9e999": "peers",
    "UPDATE peers SET attempts = -1": "peers",
    "UPDATE peer_anchors SET host = CAST(x'ff' AS TEXT)": "peer_anchors",
    "UPDATE peer_key SET key = x'00'": "peer_key",
    "UPDATE reputations SET banned_until = -9e999": "reputations",
    "UPDATE reputations SET host = hex(zeroblob(200))": "reputations",
    "UPDATE broadcasts SET raw = x'00'": "broadcasts",
    "UPDATE broadcasts SET raw = zeroblob(2000000)": "broadcasts",
    "UPDATE broadcasts SET txid = zeroblob(32)": "broadcasts",
    "UPDATE broadcasts SET added = 9e999": "broadcasts",
}


@pytest.mark.parametrize("sql", SPOILT)
def test_a_damaged_row_is_skipped_named_and_dropped(tmp_path: Path, trunk: FakeChain, sql: str) -> None:
    """It keeps nobody from opening or reading, costs no height, and what is whole in other tables stays."""
    store = Store.open(tmp_path, SIMNET)
    store.commit([*ALL, trunk.append(1, 50)])
    store.close()
    execute(tmp_path, sql)
    store = Store.open(tmp_path, SIMNET)
    tables = ["peers", "peer_key", "peer_anchors", "reputations", "broadcasts"]
    without = tuple(n if t == SPOILT[sql] else r for t, n, r in zip(tables, NOTHING, REMEMBERED, strict=True))
    assert all_of(store) == without
    damages = store.check()
    assert [(found.table, found.start, found.end) for found in damages] == [(SPOILT[sql], 50, 50)]
    digest = store.digest()
    store.close()
    assert attrs.astuple(Store.repair(tmp_path, SIMNET), recurse=False) == (damages, 50, 50)
    store = Store.open(tmp_path, SIMNET)
    assert (all_of(store), store.check(), store.digest()) == (without, (), digest)
    assert execute(tmp_path, f"SELECT count(*) FROM {SPOILT[sql]}") == [(0,)]  # noqa: S608 - a name from above
    store.commit([change for change in ALL if not (isinstance(change, SetPeerKey) and store.peer_key())])
    assert all_of(store) == REMEMBERED
    store.close()


def test_a_damaged_word_is_still_read(tmp_path: Path) -> None:
    """A text that decides nothing costs no row."""
    store = Store.open(tmp_path, SIMNET)
    store.commit(ALL)
    store.close()
    execute(tmp_path, "UPDATE reputations SET detail = CAST(x'41ff42' AS TEXT)")
    store = Store.open(tmp_path, SIMNET)
    assert store.reputations() == [attrs.evolve(BANNED, detail="A\ufffdB")]
    assert store.check() == ()
    store.close()


def test_damage_in_the_chain_takes_nothing_of_it_along(tmp_path: Path, trunk: FakeChain) -> None:
    store = Store.open(tmp_path, SIMNET)
    store.commit([*ALL, trunk.append(1, 50)])
    store.close()
    execute(tmp_path, "UPDATE tail SET data = x'00' WHERE height = 0")
    assert Store.repair(tmp_path, SIMNET).damages[0] == Damage("headers", "tail", 0, 0)
    store = Store.open(tmp_path, SIMNET)
    assert (store.marks.tip, all_of(store)) == (0, REMEMBERED)
    store.close()


def execute(directory: Path, sql: str) -> list[tuple[object, ...]]:
    """By SQL, past all checks."""
    connection = apsw.Connection(str(directory / "simnet.sqlite"))
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


def test_the_key_may_be_set_again_to_what_it_is(store: Store) -> None:
    """A commit whose answer was lost is made again."""
    store.commit([SetPeerKey(b"k" * 32)])
    store.commit([SetPeerKey(b"k" * 32)])
    assert store.peer_key() == b"k" * 32


def test_bans_by_hand_are_the_last_to_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many liars are banned after them."""
    monkeypatch.setattr("phasegate.store.reputations.KEPT", 5)
    store.commit([PutReputation(ReputationRow("8.8.8.8", 0, 0.0, 1.0, 1e9, "by-hand", ""))])
    for number in range(9):
        store.commit([PutReputation(ReputationRow(f"11.0.0.{number}", 0, 0.0, 2.0 + number, 1e9, "bad-filter", ""))])
    hosts = [row.host for row in store.reputations()]
    assert len(hosts) == 5
    assert "8.8.8.8" in hosts
