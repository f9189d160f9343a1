"""How headers are asked for: compressed from peers that announce it (service bit 2048), plain from all others.

A full answer means that there is more, and how long a full one is depends on its form and on what was negotiated: 2000
plain headers, 8000 compressed ones from protocol 70235 on, 2000 before. A peer whose compressed headers break a rule
is asked the same question for plain ones before anything is held against it; see `engine/compression.py`.

An answer does not name its question. Where several are under way to one peer, as ranges are, order alone would give
the next answer to a question that the peer lost. So an answer whose first header follows the block that another open
question asked about goes to that one; an empty answer tells nothing, nor does one that begins anywhere else: those go
by order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.compressed import Expansion, Headers2
from phasegate.p2p.handshake import PROTOCOL_VERSION
from phasegate.p2p.messages import GetHeaders, GetHeaders2, Headers
from phasegate.p2p.messages_chain import MAX_HEADERS, MAX_LOCATOR, LocatorRequest

R = TypeVar("R", Headers, Headers2)

PIECE = 2000
"""Headers that are hashed or judged in one go, in a worker thread."""
EXPANDED = 8000
"""Compressed headers that are expanded and hashed in one go: all that a message may bring."""
NO_STOP = bytes(32)


@attrs.frozen
class Batch:
    """The answer to one question.

    Args:
        raw: headers, 80 bytes each.
        hashes: their hashes where we computed them to read the message, else empty.
        full: the message was as long as one may be: there is more.
        compressed: it came as `headers2`.
    """

    raw: bytes
    hashes: bytes = b""
    full: bool = False
    compressed: bool = False

    @property
    def last_hash(self) -> bytes:
        """The hash of the last header."""
        return self.hashes[-32:] or x11(self.raw[-HEADER_SIZE:])

    def after(self, count: int) -> Batch:
        """Without its first `count` headers."""
        return attrs.evolve(self, raw=self.raw[count * HEADER_SIZE :], hashes=self.hashes[count * 32 :])

    def first(self, count: int) -> Batch:
        """Its first `count` headers at most."""
        return attrs.evolve(self, raw=self.raw[: count * HEADER_SIZE], hashes=self.hashes[: count * 32])

    def pieces(self) -> list[tuple[bytes, bytes]]:
        """Headers and hashes in pieces that are judged in one go."""
        starts = range(0, len(self.raw) // HEADER_SIZE, PIECE)
        return [
            (self.raw[at * HEADER_SIZE : (at + PIECE) * HEADER_SIZE], self.hashes[at * 32 : (at + PIECE) * 32])
            for at in starts
        ]


def _follows(reply: Headers) -> bytes:
    """The hash of the block before the first header; empty when there is none."""
    return reply.raw[4:36]


def _follows_compressed(reply: Headers2) -> bytes:
    """The same of a compressed answer, whose first header is complete: one byte of flags comes before it."""
    return reply.records[5:37]


class HeaderRequests:
    """Asks for headers at the desk of the headers phase.

    Args:
        work: the workbench.
        desk: the right to send.
    """

    def __init__(self, work: Work, desk: Desk) -> None:
        self._work = work
        self._desk = desk
        self._compression = work.live.compression
        self._open: dict[Peer, dict[int, bytes]] = {}
        self._numbers = count(1)

    async def ask(self, peer: Peer, locator: Sequence[bytes], stop: bytes = NO_STOP) -> Batch:
        """What follows the first hash of `locator` that `peer` has.

        Raises:
            PeerGone: no answer.
            PeerMisbehaved: BAD_COMPRESSED_HEADERS, the answer can be read in no way.
        """
        hashes, unanswered = tuple(locator[:MAX_LOCATOR]), False
        if self._compression.wanted(peer):
            try:
                return await self._ask_compressed(peer, GetHeaders2(PROTOCOL_VERSION, hashes, stop))
            except PeerGone as gone:
                unanswered = self._may_know_no_better(peer, gone)
        answer = await self._ask(peer, GetHeaders(PROTOCOL_VERSION, hashes, stop), Headers, _follows)
        if unanswered:
            self._work.warn("headers2-unanswered", f"peer {peer} answers getheaders, but not getheaders2")
        return Batch(answer.raw, full=answer.count == MAX_HEADERS)

    async def _ask_compressed(self, peer: Peer, question: GetHeaders2) -> Batch:
        answer = await self._ask(peer, question, Headers2, _follows_compressed)
        self._compression.answered(peer)
        if answer.count > peer.compressed_limit:
            detail = f"{answer.count} compressed headers, {peer.compressed_limit} are allowed"
            raise PeerMisbehaved(Fault.BAD_COMPRESSED_HEADERS, detail)
        expansion, raw, hashes = Expansion(answer), list[bytes](), list[bytes]()
        while expansion.left:
            piece = await self._work.seams.compute(expansion.take, EXPANDED)
            raw.append(piece[0])
            hashes.append(piece[1])
        return Batch(b"".join(raw), b"".join(hashes), answer.count == peer.compressed_limit, compressed=True)

    async def _ask(self, peer: Peer, question: LocatorRequest, kind: type[R], follows: Callable[[R], bytes]) -> R:
        """The one reply to `question`; `follows` says which block a reply begins after."""
        others, number = self._open.setdefault(peer, {}), next(self._numbers)
        own = others[number] = b"".join(question.locator[:1])

        def fits(reply: R) -> bool:
            start = follows(reply)
            taken = not start or start == own or start not in others.values()
            if taken:
                others.pop(number, None)  # at once, for the next reply may be there before this one is looked at
            return taken

        try:
            return await self._desk.ask(peer, question, kind, fits)
        finally:
            others.pop(number, None)

    def _may_know_no_better(self, peer: Peer, gone: PeerGone) -> bool:
        """Have a peer that never answered a `getheaders2` asked for plain headers; at once, if it is still there."""
        if self._compression.proven(peer):
            raise gone
        news = self._compression.give_up(peer)
        if gone.kind is not FailureKind.PEER_SILENT:
            raise gone
        return news

    def fall_back(self, peer: Peer, fault: PeerMisbehaved) -> None:
        """Ask `peer` for plain headers from now on, because its compressed ones broke a rule."""
        if self._compression.give_up(peer):
            self._work.warn("headers2-unusable", f"peer {peer}: {fault}: asked for plain headers")

    async def header(self, peer: Peer, block_hash: bytes) -> bytes:
        """The one header of that hash, 80 bytes, whether or not it is on the peer's best chain.

        Raises:
            PeerGone: the peer does not have it.
            PeerMisbehaved: UNFITTING_REPLY, it answers with another.
        """
        question = GetHeaders(PROTOCOL_VERSION, (), block_hash)
        answer = await self._desk.ask(peer, question, Headers, lambda _: True)
        if not answer.raw:
            detail = f"does not have the block {block_hash[::-1].hex()}"
            raise PeerGone(str(peer), FailureKind.PEER_LOST, detail)
        if answer.count != 1 or x11(answer.raw) != block_hash:
            detail = f"answers with another header than {block_hash[::-1].hex()}"
            raise PeerMisbehaved(Fault.UNFITTING_REPLY, detail)
        return answer.raw
