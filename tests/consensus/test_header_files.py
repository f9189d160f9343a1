"""Files of real headers keep every rule, and nothing in them can be changed unseen."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.checkpoints import checkpoints
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.header_files import HeaderReport, check_headers, shown_min_difficulty
from phasegate.consensus.headers import first_judged, follow, genesis_tip, work_of
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET, network
from phasegate.consensus.x11 import x11_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.consensus.conftest import HeaderFile, RecordedChain

FAR = 1 << 31
MUTATIONS = 10_000
WHOLE = 40
"""Mutations of which each is held against the check of the whole file too."""
FIELDS = {
    "version": (0, 4),
    "prev": (4, 36),
    "merkle_root": (36, 68),
    "time": (68, 72),
    "bits": (72, 76),
    "nonce": (76, 80),
}


def checked(file: HeaderFile, raw: bytes | None = None, *, end: bool = True) -> HeaderReport:
    end_hash = bytes.fromhex(file.last_hash)[::-1] if end else None
    return check_headers(file.network, file.start, file.raw if raw is None else raw, end_hash, now=FAR)


def test_every_file_keeps_all_rules_from_24_after_its_start(header_files: list[HeaderFile]) -> None:
    """And where the index knows the work, the headers add up to it."""
    assert len(header_files) == 6
    for file in header_files:
        report = checked(file)
        assert (report.first_height, report.last_height, report.count) == (file.start, file.end_height, file.count)
        assert report.difficulty_from == (file.start + 24 if file.start else 1)
        assert report.difficulty_checked == file.count - (24 if file.start else 1)
        assert report.last_hash[::-1].hex() == file.last_hash
        assert report.first_hash == file.hashes[:32]
        if file.first_work:
            assert report.work == file.last_work - file.first_work + work_of(file.window[0][1])


def test_the_files_meet_checkpoints(header_files: list[HeaderFile]) -> None:
    """One that was computed from the work file of another client, and two of Core's list."""
    met = {file.start: checked(file).checkpoints for file in header_files}
    assert (met[1737084], met[900776], met[0]) == ((1739520,), (905100,), (255,))


def test_the_work_at_a_checkpoint_is_the_work_of_the_chain_there(header_files: list[HeaderFile]) -> None:
    """The two origins of the data agree."""
    file = next(file for file in header_files if file.start == 1737084)
    assert file.tip_at(1739520 - file.start).work == checkpoints(MAINNET)[1739520].work


def test_the_text_form_of_the_first_testnet_headers_and_its_fork_pass_too(
    shared: Path, header_files: list[HeaderFile]
) -> None:
    """The two lines that begin with `fork:` are another chain of two blocks behind genesis."""
    lines = (shared / "vectors" / "headers" / "blockheader_testnet3.hex").read_text().split()
    fork = b"".join(bytes.fromhex(line.removeprefix("fork:")) for line in lines if line.startswith("fork:"))
    main = b"".join(bytes.fromhex(line) for line in lines if not line.startswith("fork:"))
    assert main == next(file for file in header_files if file.start == 0).raw[80:]
    assert check_headers(TESTNET, 1, main, now=FAR).difficulty_checked == 255
    report = check_headers(TESTNET, 1, fork, now=FAR)
    assert (report.count, report.difficulty_from, report.checkpoints) == (2, 1, ())


def test_a_recorded_regtest_chain_is_judged_from_anywhere(chain: RecordedChain) -> None:
    """Regtest needs 11 headers, for the times alone."""
    for start in (1, 2, 200):
        report = check_headers(REGTEST, start, chain.headers[80 * (start - 1) :], now=FAR)
        assert report.last_hash == chain.hash_at(356)
        assert report.difficulty_from == (1 if start == 1 else start + 11)
        assert report.work == 2 * report.count


@attrs.frozen
class Mutation:
    """A file with one field of one header changed."""

    file: HeaderFile
    at: int
    field: str
    header: bytes

    @property
    def raw(self) -> bytes:
        return self.file.raw[: 80 * self.at] + self.header + self.file.raw[80 * self.at + 80 :]

    @property
    def last(self) -> bool:
        return self.at == self.file.count - 1


def mutations(files: list[HeaderFile], count: int, seed: int) -> list[Mutation]:
    """Changes of a random field of a random header to random bytes, or by one bit, or by one; never to what it was."""
    rnd = random.Random(seed)
    made: list[Mutation] = []
    counts = [file.count for file in files]
    while len(made) < count:
        file = rnd.choices(files, counts)[0]
        at, field = rnd.randrange(file.count), rnd.choice(list(FIELDS))
        first, end = FIELDS[field]
        header = file.raw[80 * at : 80 * at + 80]
        changed = header[:first] + _changed(rnd, header[first:end]) + header[end:]
        if changed != header:
            made.append(Mutation(file, at, field, changed))
    return made


def _changed(rnd: random.Random, value: bytes) -> bytes:
    size, number = len(value), int.from_bytes(value, "little")
    ways: list[Callable[[], int]] = [
        lambda: rnd.getrandbits(8 * size),
        lambda: number ^ 1 << rnd.randrange(8 * size),
        lambda: (number + rnd.choice((-1, 1))) % (1 << 8 * size),
    ]
    return rnd.choice(ways)().to_bytes(size, "little")


def refusal_nearby(mutation: Mutation) -> str | None:
    """What is wrong with the changed header and the one after it, both judged by the unchanged ones before them."""
    file, at = mutation.file, mutation.at
    raw = mutation.header + file.raw[80 * at + 80 : 80 * at + 160]
    try:
        if at == 0:
            check_headers(file.network, file.start, raw, now=FAR)
        else:
            follow(file.network, file.tip_at(at - 1), raw, FAR)
    except PeerMisbehaved as error:
        return str(error)
    return None


def refusal(mutation: Mutation) -> str:
    """What is wrong with the whole changed file, whose end is known."""
    with pytest.raises(PeerMisbehaved) as caught:
        checked(mutation.file, mutation.raw)
    return str(caught.value)


def test_ten_thousand_changes_of_a_field_are_each_refused(header_files: list[HeaderFile]) -> None:
    """Only a last header that still proves work is told from the real one by the known end alone."""
    unseen = [mutation for mutation in mutations(header_files, MUTATIONS, 1) if refusal_nearby(mutation) is None]
    assert all(mutation.last for mutation in unseen)
    assert all("is not the end" in refusal(mutation) for mutation in unseen)


def test_the_headers_near_a_change_show_what_the_whole_file_shows(header_files: list[HeaderFile]) -> None:
    """At random places, and at those where a rule begins or ends: so the ten thousand stand for whole files."""
    sample = mutations(header_files, WHOLE, 2)
    for file in header_files:
        places = (0, 1, 10, 11, 12, 23, 24, 25, file.count - 2, file.count - 1)
        sample += [attrs.evolve(one, at=at) for one, at in zip(mutations([file], len(places), 3), places, strict=True)]
    for mutation in sample:
        nearby = refusal_nearby(mutation)
        assert refusal(mutation) == nearby if nearby else mutation.last


def test_a_last_header_that_proves_work_is_refused_only_by_who_knows_the_end(header_files: list[HeaderFile]) -> None:
    """The first hundred blocks of the devnet file take no more than a few hashes each."""
    file = next(file for file in header_files if file.network.name == "devnet")
    raw, end = file.raw[: 80 * 100], file.hashes[32 * 99 : 32 * 100]
    others = (raw[:-4] + struct.pack("<I", nonce) for nonce in range(1 << 16))
    other = next(o for o in others if o != raw and int.from_bytes(x11_many(o[-80:]), "little") <= 0x7FFFFF << 232)
    assert check_headers(file.network, file.start, raw, end, now=FAR).last_hash == end
    assert check_headers(file.network, file.start, other, now=FAR).count == 100
    with pytest.raises(PeerMisbehaved, match=rf"height 3999: its hash .* is not the end {end[::-1].hex()}"):
        check_headers(file.network, file.start, other, end, now=FAR)


@pytest.mark.parametrize("size", [0, 79, 81, 80 * 3 - 1])
def test_a_file_that_is_empty_or_ends_within_a_header_is_malformed(header_files: list[HeaderFile], size: int) -> None:
    file = header_files[0]
    with pytest.raises(Malformed, match=f"{size} bytes are {size // 80} headers and {size % 80} bytes"):
        check_headers(file.network, file.start, file.raw[:size], now=FAR)


def test_another_networks_beginning_is_refused(header_files: list[HeaderFile]) -> None:
    """By the genesis block, or by what block 1 continues."""
    file = next(file for file in header_files if file.start == 0)
    with pytest.raises(PeerMisbehaved, match="wrong-network: height 0: not the genesis block of mainnet"):
        check_headers(MAINNET, 0, file.raw, now=FAR)
    with pytest.raises(PeerMisbehaved, match="broken-header-link: height 1:"):
        check_headers(MAINNET, 1, file.raw[80:], now=FAR)


def test_a_file_behind_a_checkpoint_continues_it(header_files: list[HeaderFile]) -> None:
    """What its first header names as its parent is a height that may be known."""
    file = next(file for file in header_files if file.start == 900776)
    cut = 80 * (905101 - file.start)
    assert check_headers(TESTNET, 905101, file.raw[cut:], now=FAR).count == 675
    with pytest.raises(PeerMisbehaved, match="checkpoint-contradicted: height 905100: 0000"):
        check_headers(TESTNET, 905101, file.raw[cut - 80 :], now=FAR)


def test_a_file_at_the_wrong_height_is_refused_by_the_checkpoint_it_then_meets(header_files: list[HeaderFile]) -> None:
    """Nothing else tells the height of a file that begins anywhere."""
    file = next(file for file in header_files if file.start == 1737084)
    with pytest.raises(PeerMisbehaved, match=r"checkpoint-contradicted: height 1739520: .* contradicts the checkpoint"):
        check_headers(MAINNET, file.start + 1, file.raw, now=FAR)


def test_where_bitcoins_rule_held_difficulty_is_judged_behind_the_next_multiple_of_576() -> None:
    """A file of those heights that begins anywhere lacks what the rule looks back to."""
    for start, judged in ((1, 1), (100, 577), (576, 600), (577, 1153), (3900, 4002), (4002, 4026)):
        tip = genesis_tip(TESTNET) if start == 1 else attrs.evolve(genesis_tip(TESTNET), height=start - 1, window=())
        assert first_judged(TESTNET, tip) == judged


def test_progress_is_told_and_ends_with_all(header_files: list[HeaderFile]) -> None:
    told: list[int] = []
    file = header_files[0]
    check_headers(file.network, file.start, file.raw, progress=told.append, now=FAR)
    assert told == [2000, 4000, 5000]


def test_a_header_beyond_the_clock_is_refused(header_files: list[HeaderFile]) -> None:
    file = header_files[0]
    with pytest.raises(PeerMisbehaved, match="header-from-the-future"):
        check_headers(file.network, file.start, file.raw, now=1_600_000_000)


def test_a_devnets_file_shows_how_long_its_difficulty_was_held(header_files: list[HeaderFile]) -> None:
    """Who does not know the number reads it off; without it the file breaks the difficulty rule."""
    file = next(file for file in header_files if file.network.name == "devnet")
    assert shown_min_difficulty(DEVNET, file.start, file.raw) == 4032
    assert shown_min_difficulty(DEVNET, file.start, file.raw[:800]) == 3909
    assert shown_min_difficulty(DEVNET, 4033, file.raw[80 * 133 :]) == 0
    assert shown_min_difficulty(SIMNET, file.start, file.raw) == 0
    for held in (4031, 4033):
        with pytest.raises(PeerMisbehaved) as caught:
            check_headers(network("devnet", min_difficulty_blocks=held), file.start, file.raw, now=FAR)
        assert caught.value.fault is Fault.BAD_DIFFICULTY
