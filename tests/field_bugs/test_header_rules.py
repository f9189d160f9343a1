"""Field failures 7, 9, 12, 13, 14 and 16, as far as headers alone decide them: no peer, no store."""

from __future__ import annotations

import random
import statistics

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.checkpoints import between
from phasegate.consensus.devnet import first_block
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import (
    ChainTip,
    compact_to_target,
    context_size,
    expected_bits,
    extend,
    follow,
    genesis_tip,
    tip_from,
    work_of,
)
from phasegate.consensus.params import DEVNET, SIMNET, Network
from phasegate.consensus.primitives import BlockHeader
from phasegate.consensus.x11 import x11, x11_many
from phasegate.p2p.compressed import Expansion, Headers2, compress
from phasegate.p2p.messages import decode

FAR = 1 << 31
BLOCKS = 90


def mined(chain: Network, tip: ChainTip, time: int, bits: int | None = None) -> bytes:
    """One header on `tip` that proves its work."""
    header = BlockHeader(4, tip.hash, bytes(32), time, expected_bits(chain, tip, time) if bits is None else bits, 0)
    while int.from_bytes(header.hash, "little") > compact_to_target(header.bits):
        header = attrs.evolve(header, nonce=header.nonce + 1)
    return header.to_bytes()


def grown(chain: Network, blocks: int, seed: int) -> bytes:
    """Headers 0 to `blocks`."""
    rnd, tip, raw = random.Random(seed), genesis_tip(chain), chain.genesis
    for _ in range(blocks):
        header = mined(chain, tip, tip.window[-1][0] + rnd.randrange(1, 400))
        raw, tip = raw + header, extend(chain, tip, header, FAR).tip
    return raw


RAW = grown(SIMNET, BLOCKS, 5)
HASHES = x11_many(RAW)


def tip_at(height: int) -> ChainTip:
    """The tip at `height`, from the stored bytes alone."""
    work = sum(work_of(int.from_bytes(RAW[80 * h + 72 : 80 * h + 76], "little")) for h in range(height + 1))
    return tip_from(SIMNET, height, HASHES[32 * height : 32 * height + 32], work, RAW[: 80 * (height + 1)])


@given(st.integers(0, BLOCKS), st.integers(0, BLOCKS))
def test_07_heights_are_absolute_from_any_base(base: int, count: int) -> None:
    """A base is counted once, and `count` headers behind it are at base + 1 to base + count."""
    count = min(count, BLOCKS - base)
    checked = extend(SIMNET, tip_at(base), RAW[80 * (base + 1) : 80 * (base + 1 + count)], FAR)
    assert (checked.first_height, checked.count, checked.tip.height) == (base + 1, count, base + count)
    assert checked.tip == tip_at(base + count)
    assert checked.hashes == HASHES[32 * (base + 1) : 32 * (base + 1 + count)]


def test_09_a_checkpoint_in_mid_batch_leaves_the_last_accepted_header_as_the_tip() -> None:
    """The batch goes over it in one piece when it holds, and nothing of the batch counts when it does not."""
    start, good = genesis_tip(DEVNET), first_block(DEVNET.genesis, "devnet")
    assert list(between(DEVNET, 1, 3)) == [1]
    first = extend(DEVNET, start, good, FAR).tip
    batch = good + (second := mined(DEVNET, first, first.window[-1][0] + 60))
    tip = extend(DEVNET, start, batch, FAR).tip
    assert (tip.height, tip.hash) == (2, x11_many(second))
    forged = mined(DEVNET, start, start.window[-1][0] + 1)
    branch = attrs.evolve(first, hash=x11_many(forged))
    with pytest.raises(PeerMisbehaved, match="checkpoint-contradicted: height 1"):
        extend(DEVNET, start, forged + mined(DEVNET, branch, first.window[-1][0] + 60), FAR)


@pytest.mark.parametrize("base", [1, 24, 25, 40])
@pytest.mark.parametrize("known", [0, 1, 9, 10, 11, 12, 23, 24, 25, 30])
def test_12_median_time_and_difficulty_are_judged_exactly_from_where_their_windows_are_known(
    base: int, known: int
) -> None:
    """At the start, at base + 11 and at base + 24: a second too early is refused from 11 on, wrong bits from 24 on."""
    start = ChainTip(base - 1, HASHES[32 * (base - 1) : 32 * base], 0, ())
    tip = follow(SIMNET, start, RAW[80 * base : 80 * (base + known)], FAR).tip
    whole = tip_at(base - 1 + known)
    times = [int.from_bytes(RAW[80 * h + 68 : 80 * h + 72], "little") for h in range(base + known)]
    median = statistics.median_high(times[-11:])
    due = expected_bits(SIMNET, whole, 0)
    too_early, too_hard = mined(SIMNET, whole, median), mined(SIMNET, whole, times[-1] + 9, due - 1)
    for header, fault, needed in ((too_early, Fault.BAD_HEADER_TIME, 11), (too_hard, Fault.BAD_DIFFICULTY, 24)):
        assert refused(tip, header) == (fault if known >= needed else None)
        assert refused(whole, header) is fault
    assert refused(tip, mined(SIMNET, whole, median + 1)) is None


def refused(tip: ChainTip, header: bytes) -> Fault | None:
    """Why a header does not continue a tip."""
    try:
        follow(SIMNET, tip, header, FAR)
    except PeerMisbehaved as error:
        return error.fault
    return None


def test_13_too_little_known_is_our_own_error_and_never_a_peers_fault() -> None:
    """A window that was lost or cut makes no difficulty, so no honest peer is judged by a wrong one."""
    whole, header = tip_at(60), RAW[80 * 61 : 80 * 62]
    for kept in range(context_size(SIMNET, 60)):
        short = attrs.evolve(whole, window=whole.window[-kept:] if kept else ())
        with pytest.raises(ValueError, match="needs 24 headers"):
            extend(SIMNET, short, header, FAR)
        with pytest.raises(ValueError, match="needs the 24 headers"):
            expected_bits(SIMNET, short, 0)


def test_14_work_counts_only_where_every_header_holds() -> None:
    """A batch with one loose, swapped or repeated header has no work at all; what is counted is what was judged."""
    tip, batch = tip_at(40), [RAW[80 * h : 80 * h + 80] for h in range(41, 61)]
    swapped = [*batch[:5], batch[6], batch[5], *batch[7:]]
    for broken in ([*batch[:9], *batch[10:]], swapped, [*batch, batch[-1]], batch[1:]):
        with pytest.raises(PeerMisbehaved, match="broken-header-link"):
            extend(SIMNET, tip, b"".join(broken), FAR)
    end = extend(SIMNET, tip, b"".join(batch), FAR).tip
    assert end.work - tip.work == sum(work_of(int.from_bytes(raw[72:76], "little")) for raw in batch)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.sampled_from(range(12)), st.integers(-40_000, 40_000), st.integers(0, 2)), max_size=60)
)
def test_16_any_headers_survive_the_way_there_and_back(rows: list[tuple[int, int, int]]) -> None:
    """Whatever versions come back, however far times jump and targets change."""
    raw, before, time = b"", bytes(32), 1_500_000_000
    for version, jump, target in rows:
        time += jump
        fields = (version, before, bytes([version]) * 32, time, 0x207FFFFF - target, abs(jump))
        raw += BlockHeader(*fields).to_bytes()
        before = x11(raw[-80:])
    message = compress(raw)
    back = decode("headers2", message.to_payload(70240), 70240)
    assert isinstance(back, Headers2)
    assert back.count == len(rows)
    assert Expansion(back).take(len(rows)) == (raw, x11_many(raw))
