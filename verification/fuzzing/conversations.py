"""Targets of the whole connection: scripts that the input composes.

`connection_bytes` sends the input as it is, after a valid handshake or from the first byte on. `connection_messages`
composes a conversation: well-framed messages of any kind, honest answers to what the client asked, whole or with some
bytes changed, announcements of locks, broken frames, and pauses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from phasegate.consensus.codec import dsha, u32
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import (
    BlockMessage,
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    GetHeaders2,
    GetMnListDiff,
    GetQrInfo,
    Headers,
    Headers2,
    Inv,
    InvItem,
    InvType,
    Message,
    MnListDiff,
    QrInfo,
    SendAddrV2,
    Services,
    Verack,
    Version,
)
from phasegate.p2p.simnet.answers import answer
from phasegate.verification.fuzzing.choices import Choices
from phasegate.verification.fuzzing.encounters import START, Question, Script, meet
from phasegate.verification.fuzzing.samples import sample_chain, sample_locks
from phasegate.verification.fuzzing.wire import COMMANDS

NEGOTIATED = (70240, 70230, 70235, 70236)
PAUSES = (0.1, 2.0, 11.0, 61.0, 250.0)
UNTIL_ASKED = 0.01
"""Seconds in which our questions reach the peer."""
MOST_STEPS = 16
KINDS_OF_STEPS = 10
ANSWER, CHANGED, ANY, OFFER, LOCK, PAUSE, BYTES, BROKEN = range(8)
"""Numbers of steps; those above send any message, too."""
ASKED: Sequence[Sequence[int]] = ((), *[(number,) for number in range(8)], (0, 1), (2, 3), (4, 5), (5, 7))
"""Which questions are asked, by their numbers."""
_SERVICES = (Services.NETWORK | Services.COMPACT_FILTERS | Services.HEADERS_COMPRESSED, Services.NETWORK)


def connection_bytes(data: bytes) -> None:
    """Raw bytes, in pieces of one size, after a valid handshake or instead of one."""
    choices = Choices(data)
    greeted, size, asked = choices.flag(), 16 * (choices.byte() + 1), choices.pick(ASKED)
    stream = choices.rest()
    size = max(size, len(stream) // MOST_STEPS)
    steps = [stream[at : at + size] for at in range(0, len(stream), size)]
    greeting = [_hello(NEGOTIATED[0], _SERVICES[0], relay=True)] if greeted else []
    meet(_script(greeting, steps, asked))


def connection_messages(data: bytes) -> None:
    """A conversation of well-framed messages."""
    meet(composed(data))


def composed(data: bytes) -> Script:
    """The script that an input of `connection_messages` stands for."""
    choices = Choices(data)
    asked, fetches, steps = choices.pick(ASKED), choices.flag(), list[bytes | float]()
    greeting = [_hello(choices.pick(NEGOTIATED), choices.pick(_SERVICES), relay=choices.flag())]
    while choices.left and len(steps) < MOST_STEPS:
        steps.append(_step(choices, asked))
    return _script(greeting, steps, asked, fetches=fetches)


def _script(
    greeting: Sequence[bytes], steps: Sequence[bytes | float], asked: Sequence[int], *, fetches: bool = False
) -> Script:
    """The steps after the greeting; where something is asked the peer hears it first, as it would over any line."""
    heard = [UNTIL_ASKED] if asked and greeting else []
    return Script([*greeting, *heard, *steps], [questions()[number] for number in asked], fetches)


@cache
def _hello(version: int, services: Services, *, relay: bool) -> bytes:
    hello = Version(version, int(services), int(START), nonce=7, user_agent="/fuzz/", start_height=60, relay=relay)
    return b"".join([_framed(message) for message in (hello, SendAddrV2(), Verack())])


def _framed(message: Message, version: int = NEGOTIATED[0]) -> bytes:
    return _frame(message.command, message.to_payload(version))


def _frame(command: str, payload: bytes) -> bytes:
    return encode_frame(sample_chain().network.magic, command, payload)


def _step(choices: Choices, asked: Sequence[int]) -> bytes | float:
    kind = choices.below(KINDS_OF_STEPS)
    if kind in (ANSWER, CHANGED):
        return _answer(choices, asked, changes=choices.byte() % 4 if kind == CHANGED else 0)
    if kind == OFFER:
        return _framed(Inv(tuple([_offered(choices) for _ in range(choices.below(24))])))
    if kind == LOCK:
        command, payload = _lock(choices)
        return _frame(command, _changed(payload, choices, choices.below(2)))
    if kind == PAUSE:
        return choices.pick(PAUSES)
    if kind == BYTES:
        return choices.piece()
    command, payload = choices.pick(COMMANDS), choices.piece()
    return _broken(command, payload, choices) if kind == BROKEN else _frame(command, payload)


def _answer(choices: Choices, asked: Sequence[int], changes: int) -> bytes:
    """One honest answer to some question, preferably one that was asked."""
    command, payload = choices.pick(answers()[choices.pick(asked or range(len(questions())))])
    return _frame(command, _changed(payload, choices, changes))


def _changed(payload: bytes, choices: Choices, changes: int) -> bytes:
    found = bytearray(payload)
    for _ in range(changes):
        place = choices.below(max(257, len(found)))
        found[place % len(found)] = choices.byte()
    return bytes(found)


def _offered(choices: Choices) -> InvItem:
    """Something to announce: a lock that there is, a block, or anything else."""
    kind = choices.below(4)
    if kind == 0:
        lock = choices.pick(sample_locks())
        return InvItem(lock.inv_type, lock.hash)
    numbers = (InvType.CHAINLOCK, InvType.INSTANTSEND_LOCK, InvType.BLOCK, InvType.TX)
    return InvItem(choices.pick(numbers), choices.take(1).ljust(1, b"\0") * 32)


def _broken(command: str, payload: bytes, choices: Choices) -> bytes:
    """A frame whose head is wrong in some way."""
    name, magic = command.encode().ljust(12, b"\0"), sample_chain().network.magic
    length, checksum = len(payload), dsha(payload)[:4]
    kind = choices.below(4)
    if kind == 0:
        checksum = choices.take(4).ljust(4, b"\0")
    elif kind == 1:
        length = choices.number()
    elif kind == 2:
        name = choices.take(12).ljust(12, b"\0")
    else:
        magic = choices.take(4).ljust(4, b"\0")
    return magic + name + u32(length) + checksum + payload


def _lock(choices: Choices) -> tuple[str, bytes]:
    lock = choices.pick(sample_locks())
    return lock.command, lock.payload


@cache
def questions() -> tuple[Question, ...]:
    """One of each kind that the phases ask."""
    chain = sample_chain()
    tip, genesis, some = (
        chain.hash_at(chain.height),
        chain.hash_at(0),
        {chain.hash_at(height) for height in range(1, 6)},
    )
    return (
        Question(GetHeaders(70240, (chain.hash_at(140),)), Headers, lambda _: True),
        Question(GetHeaders2(70240, (chain.hash_at(145),)), Headers2, lambda _: True),
        Question(GetMnListDiff(genesis, tip), MnListDiff, lambda m: m.diff.block_hash == tip),
        Question(GetQrInfo((), tip, True), QrInfo, lambda m: m.tip.block_hash == tip),
        Question(GetCFHeaders(0, 1, chain.hash_at(9)), CFHeaders, lambda m: m.stop_hash == chain.hash_at(9)),
        Question(GetCFilters(0, 1, chain.hash_at(5)), CFilter, lambda m: m.block_hash in some, 5),
        Question(GetCFCheckpt(0, tip), CFCheckpt, lambda m: m.stop_hash == tip),
        Question(
            GetData((InvItem(InvType.BLOCK, chain.hash_at(3)),)),
            BlockMessage,
            lambda m: m.block.hash == chain.hash_at(3),
        ),
    )


@cache
def answers() -> Mapping[int, tuple[tuple[str, bytes], ...]]:
    """The honest answers to each question, by its number: names and payloads."""
    found = {}
    for number, question in enumerate(questions()):
        given = answer(sample_chain(), question.message, NEGOTIATED[0])
        messages = [] if given is None else list(given.messages)
        found[number] = tuple([(m.command, m.to_payload(NEGOTIATED[0])) for m in messages]) or (("verack", b""),)
    return found
