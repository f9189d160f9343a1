"""What each lie does to a message; the rest of the answer stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from phasegate.consensus.codec import u32
from phasegate.consensus.filters import filter_hash
from phasegate.consensus.masternodes import MasternodeEntry, MasternodeListDiff
from phasegate.consensus.primitives import Block
from phasegate.consensus.quorums import BASIC as BASIC_SCHEME
from phasegate.consensus.quorums import BitSet, QuorumCommitment
from phasegate.p2p.compressed import Headers2
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import (
    MAX_PAYLOAD,
    BlockMessage,
    CFCheckpt,
    CFHeaders,
    CFilter,
    Headers,
    Message,
    MnListDiff,
)
from phasegate.p2p.messages_filters import BASIC
from phasegate.p2p.simnet import lying_headers
from phasegate.p2p.simnet.answers import CHECKPOINT_INTERVAL, Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.false_filters import FalseFilters
from phasegate.p2p.simnet.wire import RawFrame

EMPTY_FILTER = b"\x00"


@attrs.frozen
class Asked:
    """What a twist may look at: the honest chain, the height of the lie, the answer it is in, and false filters."""

    chain: SimulatedChain
    height: int
    answer: Answer
    version: int
    filters: FalseFilters | None = None

    @property
    def index(self) -> int:
        """The place of the height among those that the answer covers."""
        return self.height - self.answer.covers.start


Twist = Callable[[Any, Asked], Message]
Twists = dict[type[object], Twist]
"""What happens to which kind of message."""


def header_twists(header_of: lying_headers.Forgery) -> Twists:
    """Puts a forged header into headers and headers2."""

    def plain(message: Headers, asked: Asked) -> Message:
        return lying_headers.plain(message, asked.index, header_of(asked.chain, asked.height))

    def compressed(_message: Headers2, asked: Asked) -> Message:
        covers = asked.answer.covers
        raw = asked.chain.headers(covers.start, len(covers))
        return lying_headers.compressed(raw, asked.index, header_of(asked.chain, asked.height))

    return {Headers: plain, Headers2: compressed}


def diff_twist(twist: Callable[[MasternodeListDiff], MasternodeListDiff]) -> Twists:
    """Applies a change to every masternode list difference in the answer."""
    return {MnListDiff: lambda message, _asked: MnListDiff(twist(message.diff))}


def wrong_proof(diff: MasternodeListDiff) -> MasternodeListDiff:
    """One hash of the coinbase proof is another."""
    hashes = (*diff.proof.hashes[:-1], _flipped(diff.proof.hashes[-1]))
    return attrs.evolve(diff, proof=attrs.evolve(diff.proof, hashes=hashes))


def wrong_entry(diff: MasternodeListDiff) -> MasternodeListDiff:
    """A masternode has another voting key, or one is invented."""
    if not diff.added:
        return attrs.evolve(diff, added=(_INVENTED_ENTRY,))
    return attrs.evolve(diff, added=(attrs.evolve(diff.added[0], voting_key=bytes(20)), *diff.added[1:]))


def wrong_quorum(diff: MasternodeListDiff) -> MasternodeListDiff:
    """A quorum has another key, or one is invented."""
    if not diff.new_quorums:
        return attrs.evolve(diff, new_quorums=(_INVENTED_QUORUM,))
    first = attrs.evolve(diff.new_quorums[0], public_key=_flipped(diff.new_quorums[0].public_key))
    return attrs.evolve(diff, new_quorums=(first, *diff.new_quorums[1:]))


def wrong_filter(message: CFilter, asked: Asked) -> Message:
    """The filter at the height hides everything."""
    if message.block_hash != asked.chain.hash_at(asked.height):
        return message
    return attrs.evolve(message, filter=EMPTY_FILTER)


def wrong_filter_hash(message: CFHeaders, asked: Asked) -> Message:
    """The filter hash at the height is another; those after it are honest."""
    return attrs.evolve(message, hashes=_with_flipped(message.hashes, asked.index))


def wrong_checkpoint(message: CFCheckpt, asked: Asked) -> Message:
    """The first filter header checkpoint at or above the height is another."""
    index = (asked.height - 1) // CHECKPOINT_INTERVAL
    if 32 * index >= len(message.headers):
        return message
    return attrs.evolve(message, headers=_with_flipped(message.headers, index))


def false_filter(message: CFilter, asked: Asked) -> Message:
    """The filter that the liar stands by."""
    height = asked.chain.height_of(message.block_hash)
    if asked.filters is None or height is None:
        return message
    return attrs.evolve(message, filter=asked.filters.filter(asked.chain, height))


def false_hashes(message: CFHeaders, asked: Asked) -> Message:
    """The hashes of the liar's filters, after its own filter header."""
    if asked.filters is None:
        return message
    covers, filters = asked.answer.covers, asked.filters
    hashes = b"".join([filter_hash(filters.filter(asked.chain, height)) for height in covers])
    return attrs.evolve(message, prev_header=filters.header(asked.chain, covers.start - 1), hashes=hashes)


def false_checkpoints(message: CFCheckpt, asked: Asked) -> Message:
    """The liar's own filter headers."""
    if asked.filters is None:
        return message
    heights = range(CHECKPOINT_INTERVAL, asked.answer.covers.stop, CHECKPOINT_INTERVAL)
    return attrs.evolve(message, headers=b"".join([asked.filters.header(asked.chain, height) for height in heights]))


FALSE_FILTER_TWISTS: Twists = {CFilter: false_filter, CFHeaders: false_hashes, CFCheckpt: false_checkpoints}
"""Everything that depends on a false filter."""


def wrong_body(message: BlockMessage, asked: Asked) -> Message:
    """The block at the height pays a duff more."""
    if message.block != _honest_block(asked):
        return message
    transactions = list(message.block.transactions)
    at = max(place for place, tx in enumerate(transactions) if tx.outputs)
    first, *others = transactions[at].outputs
    transactions[at] = attrs.evolve(transactions[at], outputs=(attrs.evolve(first, value=first.value + 1), *others))
    return BlockMessage(attrs.evolve(message.block, transactions=tuple(transactions)))


def other_block(message: BlockMessage, asked: Asked) -> Message:
    """Instead of the block at the height comes the one before it."""
    if message.block != _honest_block(asked):
        return message
    return BlockMessage(Block.from_bytes(asked.chain.block(asked.height - 1) or b""))


def _honest_block(asked: Asked) -> Block:
    return Block.from_bytes(asked.chain.block(asked.height) or b"")


def truncated(message: Message, asked: Asked) -> Message:
    """The payload lacks its last byte, in a frame that is right."""
    payload = message.to_payload(asked.version)
    return RawFrame(message.command, encode_frame(asked.chain.network.magic, message.command, payload[:-1]))


def oversized(message: Message, asked: Asked) -> Message:
    """The head of the frame announces more than any message may have."""
    head = asked.chain.network.magic + message.command.encode().ljust(12, b"\0") + u32(MAX_PAYLOAD + 1)
    return RawFrame(message.command, head + bytes(4 + 1000))


def wrong_checksum(message: Message, asked: Asked) -> Message:
    """The checksum of the frame is of something else."""
    frame = encode_frame(asked.chain.network.magic, message.command, message.to_payload(asked.version))
    return RawFrame(message.command, frame[:20] + _flipped(frame[20:24]) + frame[24:])


def unasked(asked: Asked) -> Iterator[Message]:
    """Well-formed messages about a block that is on no chain: nobody can have asked for them."""
    chain, height = asked.chain, asked.chain.height
    block = Block.from_bytes(chain.block(height) or b"")
    foreign = attrs.evolve(block, header=attrs.evolve(block.header, nonce=block.header.nonce + 1))
    yield CFilter(BASIC, foreign.hash, chain.filter(height))
    yield CFHeaders(BASIC, foreign.hash, chain.filter_header(height - 1), chain.filter_hash(height))
    yield BlockMessage(foreign)
    if diff := chain.mnlistdiff(0, height):
        yield MnListDiff(attrs.evolve(diff, block_hash=foreign.hash))


def _flipped(data: bytes) -> bytes:
    return bytes((data[0] ^ 0xFF,)) + data[1:]


def _with_flipped(hashes: bytes, index: int) -> bytes:
    return hashes[: 32 * index] + _flipped(hashes[32 * index : 32 * index + 32]) + hashes[32 * index + 32 :]


_INVENTED_ENTRY = MasternodeEntry(2, b"\x5a" * 32, bytes(32), bytes(18), b"\x5a" * 48, bytes(20), True)
_TRIO = BitSet.of([True] * 3)
_INVENTED_QUORUM = QuorumCommitment(
    BASIC_SCHEME, 100, b"\x5a" * 32, _TRIO, _TRIO, b"\x5a" * 48, bytes(32), b"\x5a" * 96, b"\x5a" * 96
)
