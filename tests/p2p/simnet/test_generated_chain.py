"""The generated chain keeps every rule that a light client checks, and its books are right."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from phasegate.consensus.addresses import parse_watch_item
from phasegate.consensus.blocks import Coin, check_block, scan_block
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.filters import block_elements, build_filter, filter_hash, filter_header, match_filters
from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.masternodes import MasternodeState, apply_diff
from phasegate.consensus.params import NETWORKS, SIMNET
from phasegate.consensus.primitives import Block, BlockHeader, OutPoint
from phasegate.p2p.simnet.generated import GeneratedChain, ImpossibleChain, generate

LATER = 1 << 31


def blocks_of(chain: GeneratedChain) -> list[Block]:
    """Blocks from height 1 on."""
    return [Block.from_bytes(chain.block(height) or b"") for height in range(1, chain.height + 1)]


def scripts_of(chain: GeneratedChain) -> frozenset[bytes]:
    return frozenset(parse_watch_item(address, chain.network) for address in chain.watch)


def same(one: GeneratedChain, other: GeneratedChain) -> bool:
    return all(one.block(h) == other.block(h) and one.filter(h) == other.filter(h) for h in range(one.height + 1))


def test_the_same_seed_gives_the_same_chain() -> None:
    """Two chains of one seed are equal byte for byte, those of two seeds share only the genesis block."""
    one, again, other = generate(60, 5), generate(60, 5), generate(60, 6)
    assert one.headers(0, 61) == again.headers(0, 61)
    assert same(one, again)
    assert one.hash_at(0) == other.hash_at(0)
    assert one.hash_at(1) != other.hash_at(1)


def test_a_seed_means_the_same_everywhere() -> None:
    """The tip of a known seed is the one it has on every machine and every Python."""
    assert generate(50, 1).tip_hash[::-1].hex() == "01d0ea789731c444119684b14bdbf9e255014184acda00c6da8969e1b52c2e68"


def test_growing_is_the_same_as_having_been_generated_longer() -> None:
    """A chain that was extended equals one generated at once, in blocks and in what is expected of a client."""
    grown, whole = generate(40, 5), generate(100, 5)
    grown.extend(60)
    assert same(grown, whole)
    assert grown.expected == whole.expected


@pytest.mark.parametrize("fork_at", [0, 1, 37, 60])
def test_a_fork_shares_the_past(fork_at: int) -> None:
    """Up to the fork all is equal, after it nothing is; another fork seed gives a third chain."""
    main, fork = generate(60, 5), generate(60, 5, fork_at=fork_at)
    other = generate(60, 5, fork_at=fork_at, fork_seed="other")
    assert main.watch == fork.watch
    assert main.headers(0, fork_at + 1) == fork.headers(0, fork_at + 1)
    for height in range(fork_at + 1, 61):
        assert len({chain.hash_at(height) for chain in (main, fork, other)}) == 3


def test_every_header_keeps_every_rule(long_chain: GeneratedChain) -> None:
    """A client accepts all headers, under a difficulty that moves and times that sometimes step back."""
    checked = extend(SIMNET, genesis_tip(SIMNET), long_chain.headers(1, long_chain.height), LATER)
    assert checked.tip == long_chain.tip
    headers = [BlockHeader.from_bytes(long_chain.header(h)) for h in range(long_chain.height + 1)]
    assert len({header.bits for header in headers}) > 100
    assert any(b.time < a.time for a, b in pairwise(headers))
    assert len({header.version for header in headers[1:]}) == 3


def test_mining_stays_cheap(long_chain: GeneratedChain) -> None:
    """The difficulty stays within a few percent of the easiest, so that chains of thousands take seconds."""
    assert long_chain.tip.work < 64 * long_chain.height * 1.15


def test_blocks_hang_on_their_headers(long_chain: GeneratedChain) -> None:
    """Every block parses to its last byte and has the merkle root of its header."""
    for height, block in enumerate(blocks_of(long_chain), 1):
        check_block(block, long_chain.hash_at(height))


def test_lists_lead_to_the_roots_one_block_at_a_time() -> None:
    """Applied block by block, each difference is proven by its coinbase and leads to both roots."""
    chain = generate(140, 9)
    state = MasternodeState.empty(SIMNET)
    for height in range(2, chain.height + 1):
        diff = chain.mnlistdiff(state.height, height)
        assert diff is not None
        state = apply_diff(SIMNET, state, diff, chain.header(height), height)
    assert state == chain.masternodes_at(chain.height)


@pytest.mark.parametrize(("base", "height"), [(0, 2), (0, 2300), (2, 3), (50, 51), (47, 1203), (1200, 2300), (9, 9)])
def test_lists_of_any_two_heights_differ_as_told(long_chain: GeneratedChain, base: int, height: int) -> None:
    """A difference over any span is proven and leads from the one list to the other."""
    diff = long_chain.mnlistdiff(base, height)
    assert diff is not None
    after = apply_diff(SIMNET, long_chain.masternodes_at(base), diff, long_chain.header(height), height)
    assert after == long_chain.masternodes_at(height)


def test_the_lists_change_in_every_way(long_chain: GeneratedChain) -> None:
    """Masternodes are registered, confirmed, banned, revived, revoked and removed; quorums of each type come and go."""
    states = [long_chain.masternodes_at(height) for height in range(long_chain.height + 1)]
    ways = Counter[str]()
    for before, after in pairwise(states):
        ways["quorum made"] += len(set(after.quorums) - set(before.quorums))
        ways["quorum gone"] += len(set(before.quorums) - set(after.quorums))
        ways["removed"] += len(set(before.entries) - set(after.entries))
        ways["registered"] += len(set(after.entries) - set(before.entries))
        for old, new in ((before.entries[k], after.entries[k]) for k in set(before.entries) & set(after.entries)):
            ways["confirmed"] += old.confirmed_hash != new.confirmed_hash
            ways["banned"] += old.valid > new.valid
            ways["revived"] += old.valid < new.valid
            ways["revoked"] += new.operator_key == bytes(48) != old.operator_key
    assert min(ways.values()) > 0
    assert len(ways) == 8
    assert {kind for kind, _ in states[-1].quorums} == set(SIMNET.quorum_types)
    assert {entry.type for entry in states[-1].entries.values()} == {0, 1}


def test_a_registration_is_confirmed_by_the_block_after_it() -> None:
    """Registered in block 6, a masternode has in block 8 the hash of block 7 as its confirmation, as in Core."""
    chain = generate(8, 5)
    hashes = [[e.confirmed_hash for e in chain.masternodes_at(h).entries.values()] for h in (5, 6, 7, 8)]
    assert hashes[:3] == [[], [bytes(32)], [bytes(32)] * 2]
    assert sorted(hashes[3]) == [bytes(32), bytes(32), chain.hash_at(7)]


def test_filters_hold_what_blocks_touch(long_chain: GeneratedChain) -> None:
    """Each filter is that of its block, spent scripts and special transactions included, and the headers chain."""
    outputs: dict[OutPoint, bytes] = {}
    prev = long_chain.filter_header(0)
    for height, block in enumerate(blocks_of(long_chain), 1):
        spent = []
        for tx in block.transactions:
            spent += [outputs.pop(i.prevout) for i in tx.inputs if not tx.is_coinbase]
            outputs |= {OutPoint(tx.txid, n): out.script for n, out in enumerate(tx.outputs)}
        raw = build_filter(long_chain.hash_at(height), block_elements(block, spent))
        assert long_chain.filter(height) == raw
        assert long_chain.filter_hash(height) == filter_hash(raw)
        prev = filter_header(filter_hash(raw), prev)
        assert long_chain.filter_header(height) == prev


def test_a_client_finds_what_is_expected(long_chain: GeneratedChain) -> None:
    """Matching the filters and scanning only the blocks that match gives the txids and balances expected."""
    scripts = scripts_of(long_chain)
    span = range(1, long_chain.height + 1)
    hashes = b"".join([long_chain.hash_at(h) for h in span])
    matches = [i + 1 for i in match_filters(hashes, [long_chain.filter(h) for h in span], sorted(scripts))]
    coins: dict[OutPoint, Coin] = {}
    found, heights = [], []
    for height in matches:
        findings = scan_block(Block.from_bytes(long_chain.block(height) or b""), height, scripts, coins)
        coins |= {coin.outpoint: coin for coin in findings.created}
        for outpoint, _ in findings.spent:
            coins.pop(outpoint, None)
        found += [tx.txid[::-1].hex() for tx in findings.transactions]
        heights += [height] if findings.transactions else []
    balances = {script.hex(): sum(c.value for c in coins.values() if c.script == script) for script in scripts}
    assert long_chain.expected == {"transactions": found, "balances": balances}
    assert list(long_chain.watched_heights) == heights
    assert heights == matches  # what matches is what is found, payloads included; none by chance in so few
    assert len(matches) < long_chain.height // 2


def test_a_chain_of_fifty_blocks_has_a_bit_of_everything() -> None:
    """A short chain too has each type of transaction, two watched outputs in one, a coin spent where it was made."""
    chain = generate(50, 3)
    scripts = scripts_of(chain)
    transactions = [tx for block in blocks_of(chain) for tx in block.transactions]
    assert {tx.type for tx in transactions} == {0, 1, 2, 3, 4, 5, 6, 8, 9}
    assert any(len({o.script for o in tx.outputs} & scripts) == 2 for tx in transactions)
    assert any(
        {i.prevout.txid for tx in block.transactions for i in tx.inputs} & {tx.txid for tx in block.transactions}
        for block in blocks_of(chain)
    )
    touching = set(chain.expected["transactions"])
    assert 0 < len(touching) < sum(tx.type == 0 for tx in transactions)


def test_no_coin_is_made_from_nothing(long_chain: GeneratedChain) -> None:
    """Every input spends an output that exists, once; only coinbases and asset unlocks pay more than they spend."""
    coins: dict[OutPoint, int] = {}
    for block in blocks_of(long_chain):
        for tx in block.transactions:
            spent = sum(coins.pop(i.prevout) for i in tx.inputs if not tx.is_coinbase)
            assert tx.is_coinbase or tx.type in (6, 9) or spent > sum(o.value for o in tx.outputs)
            coins |= {OutPoint(tx.txid, n): out.value for n, out in enumerate(tx.outputs) if out.script[:1] != b"\x6a"}


def test_the_genesis_block_itself_is_not_there(long_chain: GeneratedChain) -> None:
    """There is a genesis header with an empty filter, but no block and no list difference to it."""
    assert long_chain.header(0) == SIMNET.genesis
    assert long_chain.filter(0) == b"\0"
    assert long_chain.block(0) is None
    assert long_chain.mnlistdiff(0, 0) is None


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "simnet"])
def test_networks_of_other_rules_are_not_generated(name: str) -> None:
    """They are refused, not generated wrongly."""
    with pytest.raises(ImpossibleChain, match=name):
        generate(3, 1, network=NETWORKS[name])


@pytest.mark.parametrize(("blocks", "fork_at"), [(-1, None), (10, 11), (10, -1)])
def test_impossible_heights_are_refused(blocks: int, fork_at: int | None) -> None:
    """A chain below genesis, and a fork outside the chain, are errors of the caller."""
    with pytest.raises(ImpossibleChain):
        generate(blocks, 1, fork_at=fork_at)


def test_one_changed_byte_in_a_block_is_noticed(long_chain: GeneratedChain) -> None:
    """The tests above are able to fail: a block of another height does not hang on this header."""
    block = Block.from_bytes(long_chain.block(7) or b"")
    with pytest.raises(PeerMisbehaved):
        check_block(block, long_chain.hash_at(8))
