"""Chains that keep every rule and prove nothing: hashes are made up, since the rules are told them.

That makes a header cheap on any network, at any height and difficulty, and lets one be spoilt in one field while all
others still link.
"""

from __future__ import annotations

import random
import struct

import attrs

from phasegate.consensus.chain_tip import ChainTip
from phasegate.consensus.checkpoints import between
from phasegate.consensus.difficulty import compact_to_target, context_size, next_target, target_to_compact, work_of
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET, Network, network
from phasegate.consensus.plain_headers import first_judged

FORM = struct.Struct("<i32s32sIII")
TIME, BITS = slice(68, 72), slice(72, 76)

Place = tuple[Network, int]

EASY_WAVE = attrs.evolve(DEVNET, dgw_height=0)
"""DarkGravityWave from the first block on, with products that wrap."""
PLACES: list[Place] = [
    (MAINNET, 0),
    (MAINNET, 572),
    (MAINNET, 107_980),
    (MAINNET, 1_000_000),
    (attrs.evolve(MAINNET, linked_until=0, dgw_height=0), 0),
    (TESTNET, 0),
    (TESTNET, 560),
    (TESTNET, 3_990),
    (TESTNET, 900_000),
    (DEVNET, 1_000),
    (DEVNET, 3_990),
    (EASY_WAVE, 0),
    (EASY_WAVE, 5_000),
    (network("devnet", min_difficulty_blocks=4_032), 4_020),
    (network("devnet", min_difficulty_blocks=1_010), 1_000),
    (REGTEST, 0),
    (REGTEST, 5_000),
    (SIMNET, 0),
    (SIMNET, 5_000),
    (attrs.evolve(SIMNET, linked_until=30), 10),
    (attrs.evolve(SIMNET, pow_limit=(1 << 255) - 1), 5_000),
]
"""Networks, and heights at which each rule holds for long or gives way to another."""


@attrs.frozen
class Chain:
    """A tip and what follows it, which `now` lets pass."""

    network: Network
    tip: ChainTip
    raw: bytes
    hashes: bytes
    now: int

    @property
    def count(self) -> int:
        return len(self.hashes) // 32


def grown(place: Place, count: int, seed: int, pace: float = 1.0) -> Chain:
    """A chain of `count` headers, with times by the seed."""
    (chosen, height), rnd = place, random.Random(seed)
    tip = made_up_tip(chosen, height, rnd)
    judged, last = first_judged(chosen, tip), tip.hash
    times, targets = [time for time, _ in tip.window], [compact_to_target(bits) for _, bits in tip.window]
    known = between(chosen, height + 1, height + count)
    raw, hashes, bits = b"", b"", target_to_compact(chosen.pow_limit)
    for at in range(height + 1, height + 1 + count):
        time = max(times[-1] + int(_spacing(rnd) * pace), sorted(times[-11:])[len(times[-11:]) // 2] + 1)
        if at >= judged:
            bits = target_to_compact(next_target(chosen, at, times, targets, time))
        raw += FORM.pack(rnd.choice((4, 0x20000000)), last, rnd.randbytes(32), time, bits, 7)
        target = compact_to_target(bits)
        last = known[at].hash if at in known else rnd.randrange(target + 1).to_bytes(32, "little")
        hashes += last
        times, targets = [*times, time][-600:], [*targets, target][-600:]
    return Chain(chosen, tip, raw, hashes, max(times) + rnd.choice((0, 10_000)))


def _spacing(rnd: random.Random) -> int:
    edge = rnd.choice((299, 300, 301, 599, 600, 601, 7199, 7200, 7201))
    return rnd.choice((rnd.randrange(1, 300), rnd.randrange(1, 300), rnd.randrange(-60, 60), edge))


def made_up_tip(chosen: Network, height: int, rnd: random.Random) -> ChainTip:
    """A tip with as much past as it needs, at bits that are near the limit or far from it."""
    *_, time, bits, _nonce = FORM.unpack(chosen.genesis)
    window, harder = [(time, bits)], rnd.choice((0, 1, 3, 60))
    while len(window) < context_size(chosen, height):
        target = max(chosen.pow_limit >> harder, 1) * rnd.randrange(900, 1001) // 1000
        window.append((window[-1][0] + rnd.randrange(1, 400), target_to_compact(target)))
    return ChainTip(height, rnd.randbytes(32), work_of(bits) * (height + 1), tuple(window))


def spoilt(chain: Chain, seed: int) -> Chain:
    """The chain with one field of one header changed, mostly to what a rule forbids."""
    rnd = random.Random(seed)
    raw, hashes, at = bytearray(chain.raw), bytearray(chain.hashes), rnd.randrange(chain.count)
    header, found = memoryview(raw)[80 * at : 80 * at + 80], memoryview(hashes)[32 * at : 32 * at + 32]
    match rnd.randrange(8):
        case 0:
            header[4 + rnd.randrange(32)] ^= 1 << rnd.randrange(8)
        case 1:
            header[0:4] = rnd.choice((-1, 0, 1, 2, 3, 1 << 30)).to_bytes(4, "little", signed=True)
        case 2:
            header[TIME] = rnd.choice((0, 1, chain.now, chain.now + 7200, chain.now + 7201, (1 << 32) - 1)).to_bytes(
                4, "little"
            )
        case 3:
            header[TIME] = max(0, int.from_bytes(header[TIME], "little") - rnd.randrange(3000)).to_bytes(4, "little")
        case 4:
            header[BITS] = (
                int.from_bytes(header[BITS], "little") + rnd.choice((-1, 1, 0x01000000, 0x800000)) & 0xFFFFFFFF
            ).to_bytes(4, "little")
        case 5:
            header[BITS] = rnd.choice(
                (0, rnd.randrange(1 << 32), 0x0300FFFF, 0x207FFFFF, 0x21010000, 0x14000001)
            ).to_bytes(4, "little")
        case 6:
            bits = int.from_bytes(header[BITS], "little")
            found[:] = min(compact_to_target(bits) + rnd.choice((0, 1)), (1 << 256) - 1).to_bytes(32, "little")
        case _:
            found[rnd.randrange(32)] ^= 1 << rnd.randrange(8)
    if at + 1 < chain.count:
        raw[80 * at + 84 : 80 * at + 116] = found
    return attrs.evolve(chain, raw=bytes(raw), hashes=bytes(hashes))
