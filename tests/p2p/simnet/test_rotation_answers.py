"""A getqrinfo is answered as Core answers it: what proves the rotated quorums, from whatever lists the asker has."""

from __future__ import annotations

from functools import cache
from itertools import product

import attrs
import pytest

from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_diff
from phasegate.consensus.params import SIMNET, Network
from phasegate.consensus.rotation_info import RotatedQuorums, RotationShare, check_rotation, states_of
from phasegate.p2p.messages import GetQrInfo, QrInfo, decode
from phasegate.p2p.simnet.answers import answer
from phasegate.p2p.simnet.chain import StoredBlocks
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.recording import RecordedChain
from phasegate.p2p.simnet.rotation_answer import rotation_info

NEW, OLD = 70240, 70235
LENGTH = 700
Chain = GeneratedChain | RecordedChain


@cache
def chain() -> GeneratedChain:
    return generate(LENGTH, "rotation")


def asked(
    of: Chain, block: int, bases: tuple[int, ...] = (), *, extra: bool = False, version: int = NEW
) -> QrInfo | None:
    """The answer about the block at this height, for one who has the lists at `bases`."""
    request = GetQrInfo(tuple(of.hash_at(base) for base in bases), of.hash_at(block), extra)
    given = answer(of, request, version)
    if given is None:
        return None
    (message,) = given.messages
    assert isinstance(message, QrInfo)
    again = decode("qrinfo", message.to_payload(version), version)
    assert isinstance(again, QrInfo)
    return again


def proven(of: StoredBlocks, network: Network, told: QrInfo, held: list[MasternodeState]) -> list[MasternodeState]:
    """The lists that the answer leads to."""

    def apply(state: MasternodeState, diff: MasternodeListDiff) -> MasternodeState:
        height = of.height_of(diff.block_hash)
        assert height is not None
        return apply_diff(network, state, diff, of.header(height), height)

    return list(states_of(network, told.rotation, held, apply))


def judged(of: StoredBlocks, network: Network, told: QrInfo, held: list[MasternodeState]) -> RotatedQuorums:
    """What a client makes of the answer."""
    states = proven(of, network, told, held)
    return check_rotation(network, told.rotation, [*states, *held], of.height_of)


def ends(of: StoredBlocks, diffs: list[MasternodeListDiff]) -> list[tuple[int | None, int | None]]:
    return [(of.height_of(diff.base_hash), of.height_of(diff.block_hash)) for diff in diffs]


def test_every_answer_about_the_tip_verifies() -> None:
    """Wherever in a cycle the chain ends, from whatever lists: the newest quorum of each index is proven."""
    growing = generate(160, "rotation")
    for tip in (168, 187, 311, 312, 325, 332, 335, 500):
        growing.extend(tip - growing.height)
        newest = set(growing.last_commitments(SIMNET.quorum_types[103], tip))
        for bases, version, extra in product([(), (50,), (151, 40), (tip,)], [NEW, OLD], [False, True]):
            told = asked(growing, tip, bases, extra=extra, version=version)
            assert told is not None
            assert (told.extra is not None) is extra
            quorums = judged(growing, SIMNET, told, [growing.masternodes_at(base) for base in bases])
            assert set(told.last_commitments) == newest
            assert {quorum for quorum, _ in quorums.pairs} >= newest


def test_each_list_starts_from_the_newest_that_is_there() -> None:
    """Since 70236 lists build upon each other, the tip's last; a base above a list is no base for it."""
    told = asked(chain(), 528, (100, 430))
    assert told is not None
    assert ends(chain(), list(told.diffs)) == [(100, 424)]
    assert ends(chain(), [share.diff for share in told.earlier]) == [(472, 496), (448, 472), (430, 448)]
    assert ends(chain(), [told.cycle, told.tip]) == [(496, 520), (520, LENGTH)]


def test_older_peers_start_every_list_from_what_was_asked() -> None:
    """Before 70236 only the asker's own lists are bases, in whatever order they are named, and genesis without any."""
    for bases, low, high in (((430, 100), 100, 430), ((), 0, 0)):
        told = asked(chain(), 528, bases, version=OLD)
        assert told is not None
        assert ends(chain(), list(told.diffs)) == [(low, 424)]
        assert ends(chain(), [share.diff for share in told.earlier]) == [(high, 496), (high, 472), (high, 448)]
        assert ends(chain(), [told.cycle, told.tip]) == [(high, 520), (high, LENGTH)]


def test_the_extra_share_takes_the_place_of_an_older_cycle() -> None:
    """The fourth cycle back stands among the older ones when it is needed, unless it was asked for by itself."""
    without, extra = asked(chain(), 528), asked(chain(), 528, extra=True)
    assert without is not None
    assert extra is not None
    assert extra.extra == RotationShare(without.snapshots[0], without.diffs[0])
    assert not extra.diffs
    assert (extra.earlier, extra.cycle, extra.tip) == (without.earlier, without.cycle, without.tip)


def test_where_dashd_has_no_answer_it_is_silent() -> None:
    """Unknown blocks and bases, and cycles from before there was any snapshot."""
    known, unknown = chain().hash_at(500), b"\x11" * 32
    assert chain().qrinfo(GetQrInfo((), known, False), NEW) is not None
    for request in (
        GetQrInfo((), unknown, False),
        GetQrInfo((unknown,), known, False),
        GetQrInfo((known, unknown), known, False),
        GetQrInfo((), chain().hash_at(0), False),
        GetQrInfo((), chain().hash_at(95), False),
        GetQrInfo((), chain().hash_at(119), True),
    ):
        assert answer(chain(), request, NEW) is None


def test_the_tip_of_the_answer_is_the_node_s() -> None:
    """Whatever block is asked about, the last list is that of the newest block, and never older than a base."""
    told = asked(chain(), 200, (LENGTH,))
    assert told is not None
    assert ends(chain(), [told.tip]) == [(LENGTH, LENGTH)]


def test_recorded_answers_can_be_built_from_the_lists(recorded: RecordedChain) -> None:
    """What Core 23.1 told of the recorded chain is what comes out here, both forms, apart from the order of entries."""
    tip, genesis = recorded.tip_hash, recorded.hash_at(0)
    for version in (NEW, OLD):
        for extra in (False, True):
            request = GetQrInfo((genesis,), tip, extra)
            told, built = recorded.qrinfo(request, version), rotation_info(recorded, request, version)
            assert told is not None
            assert built is not None
            assert _sorted(told) == _sorted(built)


@pytest.mark.parametrize("version", [NEW, OLD])
def test_a_recording_answers_what_it_was_never_asked(
    recorded: RecordedChain, recorded_network: Network, version: int
) -> None:
    """Other blocks and bases are answered too: about the tip all is proven, about others the lists are."""
    for bases in ((), (250,), (300, 200), (352,)):
        held = [state for base in bases if (state := recorded.state_at(base))]
        told = asked(recorded, recorded.height, bases, version=version)
        assert told is not None
        quorums = judged(recorded, recorded_network, told, held)
        assert {quorum for quorum, _ in quorums.pairs} >= set(told.last_commitments)
        for block in (250, 300, 340):
            told = asked(recorded, block, bases, version=version)
            assert told is not None
            assert recorded.state_at(recorded.height) in proven(recorded, recorded_network, told, held)


def _sorted(told: QrInfo) -> QrInfo:
    """The same with every list difference in one order."""

    def share(one: RotationShare) -> RotationShare:
        return attrs.evolve(one, diff=_ordered(one.diff))

    return attrs.evolve(
        told,
        tip=_ordered(told.tip),
        cycle=_ordered(told.cycle),
        earlier=tuple(map(share, told.earlier)),
        extra=None if told.extra is None else share(told.extra),
        diffs=tuple(map(_ordered, told.diffs)),
    )


def _ordered(diff: MasternodeListDiff) -> MasternodeListDiff:
    places = sorted(range(len(diff.new_quorums)), key=lambda place: diff.new_quorums[place].key)
    moved = {old: new for new, old in enumerate(places)}
    signatures = [(signature, tuple(sorted(moved[p] for p in of))) for signature, of in diff.cl_signatures]
    return attrs.evolve(
        diff,
        deleted=tuple(sorted(diff.deleted)),
        added=tuple(sorted(diff.added, key=lambda entry: entry.pro_tx_hash)),
        deleted_quorums=tuple(sorted(diff.deleted_quorums)),
        new_quorums=tuple([diff.new_quorums[place] for place in places]),
        cl_signatures=tuple(sorted(signatures)),
    )
