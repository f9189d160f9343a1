"""The seeds: what a fuzzer begins with, made anew each time from a recording of Dash Core and a generated chain.

A recording is a folder of `conversation*.jsonl.xz`, one JSON object a line with the command and the payload in hex;
that of the project lies in `tests/data/dashcore-regtest`. Of the messages of one kind some suffice: the smallest, the
largest and some between them. Each seed has a name, so that a test can say which forms are there.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import attrs

from phasegate.consensus.codec import Reader
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.merkle import PartialMerkleTree
from phasegate.consensus.params import NETWORKS
from phasegate.consensus.primitives import Block
from phasegate.p2p.address_forms import to_v1, to_v2
from phasegate.p2p.addresses import Address
from phasegate.p2p.compressed import compress
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import KNOWN, Addr, AddrV2, CFilter, NotFound, QrInfo
from phasegate.verification.fuzzing import chain_files, conversations, lists, samples, wire
from phasegate.verification.fuzzing.filters import filter_input
from phasegate.verification.fuzzing.payloads import entry_input, lock_input, special_input
from phasegate.verification.fuzzing.samples import sample_chain
from phasegate.verification.fuzzing.targets import TARGETS
from phasegate.verification.fuzzing.texts import text_input

RECORDING = Path(__file__).resolve().parents[2] / "tests" / "data" / "dashcore-regtest"
"""Where the project's own recording stands in the source tree."""
MOST_OF_A_KIND = 12
_PLACES = ("192.0.2.1:9999", "[2001:db8::1]:9999", "[fc00::1]:9999", f"{'a' * 56}.onion:9999", "node.example:9999")


@attrs.frozen
class Seed:
    """One input of a target, with the name of what it is."""

    target: str
    name: str
    data: bytes


@attrs.frozen
class Recorded:
    """One message of a recording or of the generated chain."""

    version: int
    command: str
    payload: bytes


def seeds(recording: Path = RECORDING) -> list[Seed]:
    """All seeds that their targets have room for; without the recording those of the generated chain and by hand."""
    messages = [*recorded(recording), *generated()]
    found = [
        *of_messages(messages),
        *of_payloads(messages),
        *of_lists(messages),
        *of_filters(messages),
        *of_chain_files(),
        *of_addresses(),
        *of_connections(messages),
    ]
    return [seed for seed in found if len(seed.data) <= TARGETS[seed.target].most]


def recorded(recording: Path) -> list[Recorded]:
    """Some messages of each kind and version that the recording has."""
    found = []
    for path in sorted(recording.glob("conversation*.jsonl.xz")):
        version = path.name.removesuffix(".jsonl.xz").partition("-")[2] or "70240"
        with lzma.open(path, "rt", encoding="ascii") as lines:
            rows = [json.loads(line) for line in lines]
        found += [Recorded(int(version), row["command"], bytes.fromhex(row["payload"])) for row in rows]
    return some_of_each(found)


def generated() -> list[Recorded]:
    """The answers and the locks of the generated chain, addresses, and every special transaction."""
    version = conversations.NEGOTIATED[0]
    answers = [message for number in sorted(conversations.answers()) for message in conversations.answers()[number]]
    places = [Address.parse(text, 9999) for text in _PLACES]
    older = tuple([first for place in places if (first := to_v1(place, 1, 1)) is not None])
    newer = tuple([second for place in places if (second := to_v2(place, 1, 1)) is not None])
    made = [(m.command, m.to_payload(version)) for m in (Addr(older), AddrV2(newer), NotFound(()))]
    made += [("tx", raw) for _, raw in samples.special_transactions()]
    made += [(lock.command, lock.payload) for lock in samples.sample_locks()]
    return [Recorded(version, command, payload) for command, payload in [*answers, *made]]


def some_of_each(messages: Iterable[Recorded]) -> list[Recorded]:
    """Of each kind and version at most so many, of all sizes."""
    kinds: dict[tuple[int, str], dict[bytes, Recorded]] = {}
    for message in messages:
        kinds.setdefault((message.version, message.command), {})[message.payload] = message
    return [message for kind in kinds.values() for message in _spread(list(kind.values()))]


def _spread(messages: list[Recorded]) -> list[Recorded]:
    ordered = sorted(messages, key=lambda message: (len(message.payload), message.payload))
    step = max(1, (len(ordered) - 1) // (MOST_OF_A_KIND - 1))
    return [*ordered[:-1:step][: MOST_OF_A_KIND - 1], ordered[-1]]


def of_messages(messages: Iterable[Recorded]) -> Iterator[Seed]:
    """Of the wire; each kind once with nothing but zeros in it, too."""
    for command in sorted(KNOWN):
        yield Seed("messages", f"{command} of zeros", wire.message_input(command, wire.VERSIONS[0], bytes(64)))
    for one in messages:
        command = one.command if one.command in wire.COMMANDS else "unknown"
        yield Seed("messages", one.command, wire.message_input(command, one.version, one.payload))
        yield Seed("frames", one.command, b"\0\x1f" + encode_frame(NETWORKS["regtest"].magic, one.command, one.payload))
        if one.command == "headers2":
            yield Seed("compressed-headers", one.command, b"\2" + one.payload)
    for count in (1, 2, 9, 30):
        for announcement in (False, True):
            few = compress(sample_chain().headers(5, count), announcement=announcement)
            yield Seed("compressed-headers", f"{count} generated", b"\2" + few.to_bytes())


def of_payloads(messages: Iterable[Recorded]) -> Iterator[Seed]:
    """Of what blocks hold."""
    for name, kind, payload in samples.special_payloads():
        yield Seed("special-payloads", name, special_input(kind, payload))
    for name, raw in samples.special_transactions():
        yield Seed("transactions", name, raw)
    for name, version, raw in samples.masternode_entries():
        yield Seed("entries", name, entry_input(version, raw))
    for name, commitment in samples.quorum_commitments():
        yield Seed("commitments", name, b"\0\3" + commitment.to_bytes())
    for quorum in sample_chain().quorums.active_at(samples.BLOCKS):
        yield Seed("commitments", f"generated, version {quorum.version}", b"\0\4" + quorum.to_bytes())
    for one in messages:
        if one.command == "block":
            yield Seed("blocks", "block", one.payload)
            for tx in Block.from_bytes(one.payload).transactions:
                yield Seed("transactions", f"of a block, type {tx.type}", tx.to_bytes())
        elif one.command in ("clsig", "isdlock"):
            yield Seed("locks", one.command, lock_input(one.command, one.payload))


def of_lists(messages: Iterable[Recorded]) -> Iterator[Seed]:
    """Of masternode lists; the network of number 0 is the generated one, that of 1 the recorded one."""
    diffs = [one for one in messages if one.command == "mnlistdiff" and one.version in wire.VERSIONS]
    for one in diffs:
        number = 0 if one.payload[2:34] == sample_chain().hash_at(0) else 1
        yield Seed("differences", f"at {one.version}", lists.difference_input(one.version, one.payload))
        for anchored in (False, True):
            changed = lists.change_input(number, (one.version, one.payload), anchored=anchored)
            yield Seed("list-changes", f"at {one.version}", changed)
        proof = Reader(one.payload[66:] if one.version >= 70229 else one.payload[64:])
        yield Seed("proofs", f"at {one.version}", PartialMerkleTree.parse(proof).to_bytes())
    for one in messages:
        if one.command == "qrinfo" and one.version in wire.VERSIONS:
            for number in (0, 1):
                yield Seed("rotations", f"at {one.version}", lists.rotation_input(number, one.version, one.payload))
            for share in QrInfo.parse(Reader(one.payload), one.version).rotation.shares:
                yield Seed("commitments", "snapshot", b"\1\4" + share.snapshot.to_bytes())
    yield Seed("list-changes", "three in a row", lists.change_input(0, *_in_a_row((0, 10, 20, 40))))
    for height in (0, 20, samples.BLOCKS):
        yield Seed("stored-lists", f"height {height}", sample_chain().masternodes_at(height).to_bytes())
    yield Seed("stored-lists", "empty", MasternodeState.empty(sample_chain().network).to_bytes())


def _in_a_row(heights: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The differences of the generated chain from each of these heights to the next."""
    for base, height in pairwise(heights):
        diff = sample_chain().mnlistdiff(base, height)
        if diff is not None:
            yield wire.VERSIONS[0], diff.to_bytes(wire.VERSIONS[0])


def of_filters(messages: Iterable[Recorded]) -> Iterator[Seed]:
    """Of filters and header files."""
    for one in messages:
        if one.command == "cfilter":
            found = CFilter.read(Reader(one.payload))
            yield Seed("filters", "cfilter", filter_input(found.block_hash, found.filter, b"\x6a"))
    chain = sample_chain()
    yield Seed("filter-chains", "hashes", bytes(32) + b"".join([chain.filter_hash(height) for height in range(9)]))
    for number, name in enumerate(NETWORKS):
        for start in range(8):
            raw = bytes((number, start, 1, 1)) + chain.headers(1, 4)
            yield Seed("header-files", f"{name}, start {start}", raw)
    yield Seed("header-files", "simnet, as it is", b"\4\0\0\0" + chain.headers(0, 20))


def of_chain_files() -> Iterator[Seed]:
    """Of exported chains: from genesis and from a trusted block on, with and without filters, and odd descriptions."""
    whole, headers = chain_files.whole_file(), chain_files.whole_file(filters=False)
    files = {
        "from genesis": whole,
        "headers only": headers,
        "with a birthday": chain_files.whole_file(birthday=5),
        "from a trusted block": chain_files.whole_file(based=True),
        "a late birthday without filters": chain_files.described(headers, birthday=(1 << 31) - 1, filters=-1),
        "nested activations": chain_files.described(whole, activations={"dip3": [[[]]]}),
    }
    for name, raw in files.items():
        yield Seed("chain-files", name, chain_files.chain_file_input(raw))
    yield Seed("chain-files", "as it is", chain_files.chain_file_input(whole, mended=False, birthday=None))


def of_addresses() -> Iterator[Seed]:
    """Of places and of what people write."""
    for text in _PLACES:
        place = Address.parse(text, 9999)
        if (first := to_v1(place, 1, 1)) is not None:
            yield Seed("addresses", f"addr {text}", b"\0" + first.to_bytes())
        if (second := to_v2(place, 1, 1)) is not None:
            yield Seed("addresses", f"addrv2 {text}", b"\1" + second.to_bytes())
        yield Seed("texts", text, text_input("node", text))
    yield Seed("addresses", "plain", b"\2" + bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1)) + b"\x27\x0f")
    yield Seed("addresses", "extended", b"\2" + samples.EXTENDED_ADDRESS)
    yield Seed("addresses", "netinfo", b"\3" + samples.EXTENDED_ADDRESS)
    for item in sample_chain().watch:
        yield Seed("texts", item, text_input("watched", item, on="simnet"))
    yield Seed("texts", "script", text_input("watched", "76a914" + "00" * 20 + "88ac"))
    yield Seed("texts", "devnet", text_input("devnet", "a-name"))
    yield Seed("texts", "quorum size", text_input("quorums", "8:5"))
    yield Seed("texts", "quorum name", text_input("quorums", "llmq_devnet", setting="llmqchainlocks"))


def of_connections(messages: Iterable[Recorded]) -> Iterator[Seed]:
    """Of whole connections: each kind of step, each question, and each message once."""
    for asked in range(len(conversations.ASKED)):
        for kind in range(conversations.KINDS_OF_STEPS):
            steps = b"".join([bytes((kind, n, n, n)) for n in range(3)])
            yield Seed("connection-messages", f"steps {kind}, asked {asked}", bytes((asked, 1, 0, 0, 1)) + steps)
    longest_first = sorted(messages, key=lambda one: -len(one.payload))
    known = dict.fromkeys(sorted(KNOWN), bytes(8)) | {one.command: one.payload for one in longest_first}
    for command, payload in known.items():
        frame = encode_frame(sample_chain().network.magic, command, payload)
        yield Seed("connection-bytes", command, b"\1\xff\0" + frame)
        yield Seed("connection-bytes", f"{command} first", b"\0\xff\0" + frame)
