"""The compiled header rules against the plain ones: what passes, what it comes to, and what is said of the rest."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus import compiled_headers
from phasegate.consensus import header_kernel as kernel
from phasegate.consensus.chain_tip import ChainTip, CheckedHeaders
from phasegate.consensus.compiled_headers import follow_compiled
from phasegate.consensus.difficulty import compact_to_target, target_to_compact, work_of
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.params import MAINNET
from phasegate.consensus.plain_headers import Ground, follow_plainly, judge_plainly
from phasegate.consensus.x11 import x11_each
from phasegate.consensus.x11_kernel import hash_many
from tests.consensus.worthless_chains import FORM, PLACES, Chain, Place, grown, spoilt

if TYPE_CHECKING:
    from tests.consensus.conftest import HeaderFile

Judged = CheckedHeaders | tuple[str, str]
SEEDS = st.integers(0, 1 << 32)


def plainly(chain: Chain) -> Judged:
    try:
        return follow_plainly(chain.network, chain.tip, chain.raw, chain.now, chain.hashes)
    except PeerMisbehaved as error:
        return error.fault.code, error.detail


def compiled(chain: Chain) -> Judged:
    try:
        return follow_compiled(chain.network, chain.tip, chain.raw, chain.now, chain.hashes)
    except PeerMisbehaved as error:
        return error.fault.code, error.detail


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].name}-{place[1]}")
@pytest.mark.parametrize("pace", [0.05, 1.0, 6.0])
def test_a_chain_that_keeps_the_rules_passes_both(place: Place, pace: float) -> None:
    chain = grown(place, 80, round(pace * 100), pace)
    assert isinstance(plainly(chain), CheckedHeaders)
    assert compiled(chain) == plainly(chain)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].name}-{place[1]}")
def test_the_compiled_rules_leave_only_bitcoins_rule_and_first_blocks_to_the_plain_ones(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else they refused would be judged rightly too, but slowly."""

    def only_where_due(ground: Ground, height: int, *rest: Any) -> int:
        assert compiled_headers._rule_at(ground, height + 1)[0] == compiled_headers._PLAIN
        return judge_plainly(ground, height, *rest)

    monkeypatch.setattr(compiled_headers, "judge_plainly", only_where_due)
    for seed in range(8):
        chain = grown(place, 80, seed)
        assert isinstance(compiled(chain), CheckedHeaders)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PLACES), st.integers(1, 60), SEEDS, st.floats(0.01, 8), st.integers(0, 30))
def test_both_say_the_same_of_a_chain_with_a_fault(
    place: Place,
    count: int,
    seed: int,
    pace: float,
    forgotten: int,
) -> None:
    """Whatever is changed, and however little of the past is known."""
    chain = spoilt(grown(place, count, seed, pace), seed)
    chain = attrs.evolve(chain, tip=attrs.evolve(chain.tip, window=chain.tip.window[forgotten:]))
    assert compiled(chain) == plainly(chain)


def test_faults_of_every_kind_are_among_them() -> None:
    found = {
        compiled(spoilt(grown(place, 10, 1), 31 * at + seed)) for at, place in enumerate(PLACES) for seed in range(20)
    }
    kinds = {verdict[0] for verdict in found if isinstance(verdict, tuple)}
    assert kinds == {
        "bad-difficulty",
        "bad-header-time",
        "bad-header-version",
        "bad-proof-of-work",
        "broken-header-link",
        "checkpoint-contradicted",
        "header-from-the-future",
    }


def test_real_headers_pass_both_and_spoilt_ones_neither(header_files: list[HeaderFile]) -> None:
    for file in header_files:
        start = 23 if file.start else 0
        whole = Chain(
            file.network, file.tip_at(start), file.raw[80 * start + 80 :], file.hashes[32 * start + 32 :], 1 << 31
        )
        assert isinstance(compiled(whole), CheckedHeaders)
        part = attrs.evolve(whole, raw=whole.raw[: 80 * 200], hashes=whole.hashes[: 32 * 200])
        assert compiled(part) == plainly(part)
        for seed in range(10):
            assert compiled(spoilt(part, seed)) == plainly(spoilt(part, seed))
        assert plainly(whole) == compiled(whole)


def claiming(bits: int, at: int, others: int) -> Chain:
    """Forty headers of which no rule tells the difficulty, as below the checkpoints: one states `bits`."""
    chain = grown(PLACES[3], 40, 3)
    raw, last = bytearray(chain.raw), chain.tip.hash
    hashes = b"".join((place + 1).to_bytes(32, "little") for place in range(40))
    for place in range(40):
        raw[80 * place + 4 : 80 * place + 36], last = last, hashes[32 * place : 32 * place + 32]
        raw[80 * place + 72 : 80 * place + 76] = (bits if place == at else others).to_bytes(4, "little")
    claimed = attrs.evolve(chain.network, linked_until=1 << 30)
    return attrs.evolve(chain, network=claimed, raw=bytes(raw), hashes=hashes)


def test_a_target_too_hard_for_the_compiled_rules_is_judged_plainly() -> None:
    """Work of 2^120 a header, which takes a longer division."""
    made = claiming(0x12123456, 20, others=0x1B123456)
    verdict = compiled(made)
    assert verdict == plainly(made)
    assert isinstance(verdict, CheckedHeaders)
    assert verdict.tip.work - made.tip.work == 39 * work_of(0x1B123456) + work_of(0x12123456)


def test_no_header_is_easier_than_the_limit_where_checkpoints_replace_the_rule() -> None:
    """Its hash is below its own target, and no rule tells which bits it should have: the limit holds all the same."""
    limit = PLACES[3][0].pow_limit
    bits = target_to_compact(limit)
    easier = target_to_compact(limit * 2)
    assert isinstance(compiled(claiming(bits, 20, others=bits)), CheckedHeaders)
    made = claiming(easier, 20, others=bits)
    told = f"height {made.tip.height + 21}: bits {easier:08x} are easier than the limit"
    assert compiled(made) == plainly(made) == ("bad-difficulty", told)


def test_a_header_that_contradicts_a_checkpoint_keeps_every_other_rule_in_vain() -> None:
    """The compiled rules find nothing wrong with it; with the block that it is as checkpoint both let it pass."""
    made = claiming(0x1B123456, 20, others=0x1B123456)
    height, block_hash = made.tip.height + 21, made.hashes[32 * 20 : 32 * 21]
    for known in (block_hash, b"\7" * 32):
        chain = attrs.evolve(made, network=attrs.evolve(made.network, known_blocks={height: known}))
        verdict = compiled(chain)
        assert verdict == plainly(chain)
        if known == block_hash:
            assert isinstance(verdict, CheckedHeaders)
        else:
            assert isinstance(verdict, tuple)
            assert verdict[0] == "checkpoint-contradicted"
            assert f"height {height}: " in verdict[1]


@pytest.mark.parametrize(("name", "version"), [("bip34", 1), ("bip66", 2), ("bip65", 3)])
def test_an_old_version_ends_with_the_block_before_its_height(name: str, version: int) -> None:
    """Of two headers of that version the lower one stands below the height of the deployment, and passes."""
    made = claiming(0x1B123456, 20, others=0x1B123456)
    height, raw = made.tip.height + 21, bytearray(made.raw)
    never = dict.fromkeys(("bip34", "bip66", "bip65"), 1 << 30)
    for at, passes in ((19, True), (20, False)):
        raw[80 * at : 80 * at + 4] = version.to_bytes(4, "little")
        activations = {**made.network.activations, **never, name: height}
        network = attrs.evolve(made.network, activations=activations)
        chain = attrs.evolve(made, network=network, raw=bytes(raw))
        verdict = compiled(chain)
        assert verdict == plainly(chain)
        if passes:
            assert isinstance(verdict, CheckedHeaders)
        else:
            assert verdict == ("bad-header-version", f"height {height}: version {version} after {name}")


def limbs(number: int) -> kernel.Limbs:
    return np.array([number >> 48 * place & (1 << 48) - 1 for place in range(kernel.LIMBS)], np.uint64)


def whole(number: kernel.Limbs) -> int:
    return sum(int(limb) << 48 * place for place, limb in enumerate(number))


ANY_BITS = st.integers(0, (1 << 32) - 1) | st.builds(
    lambda size, word: size << 24 | word, st.integers(0, 36), st.integers(0, (1 << 24) - 1)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_BITS, min_size=20, max_size=20))
def test_compact_bits_stand_for_the_same_targets(several: list[int]) -> None:
    targets = np.ones((20, kernel.LIMBS), np.uint64)
    kernel.read_targets(np.array(several, np.uint32), targets)
    for bits, target in zip(several, targets, strict=True):
        try:
            assert whole(target) == compact_to_target(bits)
        except ValueError:
            assert whole(target) == 0


@settings(max_examples=80, deadline=None)
@given(st.integers(0, (1 << 256) - 1) | st.integers(0, 255).map(lambda by: (1 << by) - 1))
def test_targets_have_the_same_compact_form(target: int) -> None:
    assert kernel._compact(limbs(target)) == target_to_compact(target)


@settings(max_examples=80, deadline=None)
@given(st.integers(20, 34), st.integers(1, 0x7FFFFF) | st.integers(0, 22).map(lambda by: 1 << by))
def test_the_work_behind_bits_is_the_same(size: int, mantissa: int) -> None:
    bits, digits = size << 24 | mantissa, np.zeros(kernel.DIGITS, np.int64)
    try:
        compact_to_target(bits)
    except ValueError:
        return
    assert kernel._add_work(np.uint32(bits), digits)
    assert sum(int(digit) << 32 * place for place, digit in enumerate(digits)) == work_of(bits)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, (1 << 251) - 1) | st.just((1 << 251) - 1), min_size=24, max_size=24))
def test_the_mean_of_targets_is_what_its_steps_make_of_them(numbers: list[int]) -> None:
    slow = np.zeros(kernel.LIMBS, np.uint64)
    kernel._step_by_step(np.array([limbs(number) for number in numbers], np.uint64), 24, False, slow)
    assert whole(slow) == mean_of(numbers)


def mean_of(numbers: list[int]) -> int:
    """As DarkGravityWave has it; the newest is the last."""
    mean = numbers[-1]
    for i, number in enumerate(numbers[-2::-1], 2):
        mean = (mean * i + number) // (i + 1)
    return mean


def told(numbers: list[int], span: int) -> float:
    """What floating point says that the next header has to state."""
    window = sum((limbs(number) for number in numbers), np.zeros(kernel.LIMBS, np.uint64))
    return (kernel._about(window) + kernel._about(limbs(numbers[-1]))) * span / kernel._DIVISOR


def states(bits: int, told: float, limit: int) -> bool:
    return kernel._states(np.uint32(bits), told, target_to_compact(limit), kernel._about(limbs(limit)))


SPANS = st.integers(1200, 10800)
TARGETS = st.integers(1, 240).flatmap(
    lambda size: st.lists(st.integers(1 << size - 1, (1 << size) - 1), min_size=24, max_size=24)
)


def accepts_only_what_is_demanded(numbers: list[int], span: int, limit: int, *others: int) -> None:
    demanded = target_to_compact(min(mean_of(numbers) * span // 3600, limit))
    longer = demanded + 0x01000000 & 0xFF000000 | (demanded & 0xFFFFFF) >> 8
    nearly = told(numbers, span)
    others = (*others, target_to_compact(limit), target_to_compact(int(nearly)))
    for bits in {demanded, max(demanded - 1, 0), demanded + 1, longer, *others}:
        assert not states(bits, nearly, limit) or bits == demanded


@settings(max_examples=200, deadline=None)
@given(TARGETS, SPANS, st.integers(1, 250))
def test_bits_that_floating_point_accepts_are_demanded(numbers: list[int], span: int, limit_size: int) -> None:
    accepts_only_what_is_demanded(numbers, span, (1 << limit_size) - 1)


@settings(max_examples=200, deadline=None)
@given(st.integers(0x8000, 0x7FFFFF), st.integers(17, 30), SPANS, st.integers(-2, 2))
def test_in_doubt_floating_point_accepts_nothing_else(word: int, size: int, span: int, aside: int) -> None:
    """A number a hair above or below what a word stands for, and what the limit is: so near that rounding is more."""
    border = word << 8 * (size - 3)
    numbers = [border * 3600 // span + aside] * 24
    for limit in ((1 << 255) - 1, border, border + aside):
        accepts_only_what_is_demanded(numbers, span, limit, size << 24 | word, (size << 24 | word) - 1)


def test_bits_of_no_number_are_not_accepted() -> None:
    for size in (34, 35, 255):
        assert not kernel._states.py_func(size << 24 | 0x123456, 2.0**200, 0x207FFFFF, 2.0**255)  # type: ignore[attr-defined]


def test_products_that_wrap_are_not_left_to_floating_point() -> None:
    """Where a network's products wrap at 2^256, what they would be otherwise is not what a header has to state."""
    chosen = attrs.evolve(MAINNET, pow_limit=(1 << 255) - 1, dgw_height=0, linked_until=0)
    target = compact_to_target(0x1F7FFFFF)
    window = tuple((1_000_000 + 1000 * at, 0x1F7FFFFF) for at in range(30))
    tip = ChainTip(1_000_000, bytes(32), 1, window)
    for demanded in (target * 10800 // 3600, target * 10800 % (1 << 256) // 3600):
        raw = FORM.pack(4, tip.hash, bytes(32), 1_030_000, target_to_compact(demanded), 0)
        chain = Chain(chosen, tip, raw, bytes(32), 1 << 31)
        assert compiled(chain) == plainly(chain)


def test_of_a_chain_hardly_any_header_is_judged_step_by_step(
    header_files: list[HeaderFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the rules would still be right, but slow; run as plain Python, which can be watched."""
    slow, wave = list[int](), kernel._wave

    def counted(*args: Any) -> Any:
        slow.append(args[2])
        return wave(*args)

    monkeypatch.setattr(kernel, "_wave", counted)
    monkeypatch.setattr(kernel, "judge", kernel.judge.py_func)  # type: ignore[attr-defined]
    file = next(f for f in header_files if f.network is MAINNET and f.start > 1_000_000)
    whole = Chain(file.network, file.tip_at(30), file.raw[80 * 31 : 80 * 231], file.hashes[32 * 31 : 32 * 231], 1 << 31)
    assert isinstance(compiled(whole), CheckedHeaders)
    assert len(slow) <= 1


def test_of_real_headers_hardly_any_is_in_doubt(header_files: list[HeaderFile]) -> None:
    """Else the rules would still be right, but slow."""
    judged, accepted = 0, 0
    for file in header_files:
        if file.network.name != "mainnet" or file.start < file.network.dgw_height:
            continue
        words = np.frombuffer(file.raw, "<u4").reshape(-1, 20)
        times, targets = words[:, 17].tolist(), [compact_to_target(bits) for bits in words[:, 18].tolist()]
        for at in range(24, min(len(words), 524)):
            span = min(max(times[at - 1] - times[at - 24], 1200), 10800)
            judged += 1
            accepted += states(int(words[at, 18]), told(targets[at - 24 : at], span), file.network.pow_limit)
    assert judged >= 500
    assert accepted >= 0.995 * judged


@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_many_hashes_are_those_of_each(count: int) -> None:
    raw = random.Random(count).randbytes(80 * count)
    assert hash_many(raw) == x11_each(raw)


def test_threads_hash_side_by_side() -> None:
    raws = [random.Random(seed).randbytes(80 * 60) for seed in range(4)]
    made: dict[int, bytes] = {}
    threads = [threading.Thread(target=lambda at=at: made.update({at: hash_many(raws[at])})) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [made[at] for at in range(4)] == [x11_each(raw) for raw in raws]


def test_small_batches_load_no_compiler() -> None:
    """Short runs must not pay for it."""
    code = """
import sys
from phasegate.consensus.x11 import x11_many
from phasegate.p2p.compressed import Expansion, compress
x11_many(bytes(80 * 100))
Expansion(compress(bytes(80 * 20))).take(20)
print("numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "False"
