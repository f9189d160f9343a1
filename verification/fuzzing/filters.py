"""Targets of what compact filters and header files hold."""

from __future__ import annotations

from contextlib import suppress

from phasegate.consensus.codec import u32
from phasegate.consensus.difficulty import compact_to_target, target_to_compact
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.filters import chain_headers, decode_filter, filter_header, hashed_values, match_filters
from phasegate.consensus.header_files import check_headers, shown_min_difficulty
from phasegate.consensus.params import NETWORKS, Network
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.verification.fuzzing.choices import Choices
from phasegate.verification.fuzzing.laws import held, same

NOW = 1_900_000_000
_NETWORKS = tuple(NETWORKS.values())
_STARTS = (0, 1, 2, 575, 4001, 34_139, 107_997, 123_456)
_TRIES = 8
"""Nonces that are tried to give a header its proof of work; on the easy networks one of two fits."""


def filters(data: bytes) -> None:
    """A compact filter: decoded in plain Python and matched in the compiled kernel, alone and between others."""
    choices = Choices(data)
    block_hash, wanted = choices.take(1).ljust(1, b"\0") * 32, [choices.piece() for _ in range(choices.below(4))]
    raw = choices.rest()
    values = _decoded(raw, block_hash)
    count = 0 if values is None else len(values)
    met = values is not None and not set(values).isdisjoint(hashed_values(block_hash, wanted, count))
    expected = None if values is None else [0] if met else []
    same(_matched(block_hash, [raw], wanted), expected, "the verdict of the kernel")
    between = None if expected is None else [1] if met else []
    same(_matched(block_hash * 3, [b"\0", raw, b"\0"], wanted), between, "the verdict on a filter between others")


def filter_input(block_hash: bytes, raw: bytes, wanted: bytes) -> bytes:
    """The bytes that `filters` reads as this filter, matched with one element of less than 255 bytes."""
    return block_hash[:1] + bytes((1, len(wanted))) + wanted + raw


def _decoded(raw: bytes, block_hash: bytes) -> list[int] | None:
    try:
        values = decode_filter(raw, block_hash)
    except PeerMisbehaved:
        return None
    held(values == sorted(values), "the numbers of a filter do not ascend")
    return values


def _matched(block_hashes: bytes, raw: list[bytes], wanted: list[bytes]) -> list[int] | None:
    try:
        return match_filters(block_hashes, raw, wanted)
    except PeerMisbehaved:
        return None


def filter_chains(data: bytes) -> None:
    """Filter headers, made at once and one by one."""
    choices = Choices(data)
    prev, hashes = choices.take(32).ljust(32, b"\0"), choices.rest()
    hashes = hashes[: len(hashes) // 32 * 32]
    one_by_one: list[bytes] = []
    for at in range(0, len(hashes), 32):
        one_by_one.append(filter_header(hashes[at : at + 32], one_by_one[-1] if one_by_one else prev))
    same(chain_headers(prev, hashes), b"".join(one_by_one), "a chain of filter headers")


def header_files(data: bytes) -> None:
    """A file of headers that begins anywhere on any network; links and proofs of work may be repaired."""
    choices = Choices(data)
    network, start, repair, limit = choices.pick(_NETWORKS), choices.pick(_STARTS), choices.flag(), choices.flag()
    raw = choices.rest()
    if repair:
        raw = _repaired(network, start, raw, limit=limit)
    shown_min_difficulty(network, start, raw)
    with suppress(PeerMisbehaved):
        report = check_headers(network, start, raw, now=NOW)
        same(report.count, len(raw) // HEADER_SIZE, "the number of headers judged")
        same(report.last_hash, x11(raw[-HEADER_SIZE:]), "the hash of the last header")


def _repaired(network: Network, start: int, raw: bytes, *, limit: bool) -> bytes:
    """The same headers linked to each other, with proofs of work as far as they are had for nothing."""
    headers, last = [], x11(network.genesis)
    if start == 0:
        headers.append(network.genesis)
    for at in range(0, len(raw) // HEADER_SIZE * HEADER_SIZE, HEADER_SIZE):
        one = raw[at : at + HEADER_SIZE]
        prev = one[4:36] if start > 1 and not headers else last
        bits = u32(target_to_compact(network.pow_limit)) if limit else one[72:76]
        headers.append(_mined(one[:4] + prev + one[36:72] + bits, int.from_bytes(one[76:], "little")))
        last = x11(headers[-1])
    return b"".join(headers)


def _mined(head: bytes, nonce: int) -> bytes:
    try:
        target = compact_to_target(int.from_bytes(head[72:76], "little"))
    except ValueError:
        target = 0
    tried = [head + u32((nonce + i) % (1 << 32)) for i in range(_TRIES)]
    return next((header for header in tried if int.from_bytes(x11(header), "little") <= target), tried[0])
