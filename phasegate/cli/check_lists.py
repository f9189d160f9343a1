"""`phasegate check mnlistdiff` and `check qrinfo`: judge what a peer said about masternodes and their quorums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from phasegate.cli import options
from phasegate.cli.payload_files import read_payload
from phasegate.cli.refusal import Code, refusals, refuse

if TYPE_CHECKING:
    from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState
    from phasegate.consensus.params import Network
    from phasegate.consensus.quorums import QuorumCommitment
    from phasegate.consensus.rotation_info import RotatedQuorums, RotationInfo

LISTS, ROTATION = "check mnlistdiff", "check qrinfo"
OLDEST = 70227

MessageFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The payload: raw, as hex text, with its 24-byte header, or any of these .xz."),
]
Protocol = Annotated[int, typer.Option("--protocol", metavar="V", min=OLDEST, help="The negotiated protocol version.")]


def mnlistdiff(
    file: MessageFile,
    network: options.NetworkName,
    protocol: Protocol,
    base: Annotated[
        Path | None, typer.Option(metavar="FULL_DIFF_FILE", help="The whole list that FILE starts from, likewise.")
    ] = None,
    header: Annotated[str | None, typer.Option(metavar="HEX80", help="The header of the block it leads to.")] = None,
    activation: options.Activations = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge a masternode list. Its coinbase proof, both roots, and what each quorum signed of itself."""
    with refusals(LISTS):
        chain, before = _chain(network, activation), None
        anchor = None if header is None else options.hex_bytes("header", header, 80)
        if base is not None:
            with _judging(LISTS, base):
                before = _applied(chain, None, _diff(base, chain, protocol), None)
        with _judging(LISTS, file):
            diff = _diff(file, chain, protocol)
            state = _applied(chain, before, diff, anchor)
            verified, legacy = _judged_alone(chain, list(state.quorums.values()))
    fields = {
        "protocol": protocol,
        "base_hash": diff.base_hash[::-1].hex(),
        **_standing(state),
        "added": len(diff.added),
        "deleted": len(diff.deleted),
        "commitments": len(state.quorums),
        "commitments_verified": verified,
        "commitments_legacy": legacy,
        "members_checked": False,
        "unanchored": anchor is None,
    }
    _conclude("mnlistdiff", chain, fields, as_json)


def qrinfo(
    file: MessageFile,
    network: options.NetworkName,
    protocol: Protocol,
    activation: options.Activations = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge rotation data. Every list in it, the snapshots, and the rotated quorums with their members' signatures."""
    with refusals(ROTATION):
        chain = _chain(network, activation)
        with _judging(ROTATION, file):
            info = _rotation(file, chain, protocol)
            states, quorums = _rotated(chain, info)
    keys = {commitment.key for commitment, _ in quorums.pairs}
    fields = {
        "protocol": protocol,
        **_standing(states[-1]),
        "lists": len(states),
        "commitments": len(info.last_commitments),
        "commitments_verified": sum(commitment.key in keys for commitment in info.last_commitments),
        "rotated_quorums": len(quorums.pairs) + len(quorums.beyond),
        "rotated_quorums_verified": len(quorums.pairs),
        "unanchored": True,
    }
    _conclude("qrinfo", chain, fields, as_json)


@contextmanager
def _judging(command: str, path: Path) -> Iterator[None]:
    """Name the file that breaks a rule, or starts from a list that is not there."""
    from phasegate.consensus.faults import PeerMisbehaved

    try:
        yield
    except PeerMisbehaved as error:
        refuse(command, f"{path}: {error}", Code.FAILED)
    except _BaseWanted as error:
        refuse(command, f"{path}: {error}", Code.USAGE)


class _BaseWanted(Exception):
    """The difference starts from a list that was not named."""


def _chain(name: str, activation: Sequence[str] | None) -> Network:
    from phasegate.engine.config import Config

    return Config.create(name, activations=options.activation_heights(activation)).network


def _diff(path: Path, chain: Network, protocol: int) -> MasternodeListDiff:
    from phasegate.consensus.codec import Reader
    from phasegate.consensus.masternodes import MasternodeListDiff

    r = Reader(read_payload(path, chain, "mnlistdiff"), "mnlistdiff")
    diff = MasternodeListDiff.parse(r, protocol)
    r.end()
    return diff


def _rotation(path: Path, chain: Network, protocol: int) -> RotationInfo:
    from phasegate.consensus.codec import Reader
    from phasegate.p2p.messages import QrInfo

    r = Reader(read_payload(path, chain, "qrinfo"), "qrinfo")
    message = QrInfo.parse(r, protocol)
    r.end()
    return message.rotation


def _applied(
    chain: Network, before: MasternodeState | None, diff: MasternodeListDiff, header: bytes | None
) -> MasternodeState:
    from phasegate.consensus.masternodes import MasternodeState, apply_diff, apply_unanchored
    from phasegate.consensus.primitives import CoinbasePayload

    state = MasternodeState.empty(chain) if before is None else before
    if before is None and diff.base_hash not in (bytes(32), state.block_hash):
        _refuse_base(chain, diff.base_hash)
    if header is None:
        return apply_unanchored(chain, state, diff)
    return apply_diff(chain, state, diff, header, CoinbasePayload.from_bytes(diff.coinbase.payload).height)


def _refuse_base(chain: Network, base_hash: bytes) -> NoReturn:
    from phasegate.consensus.faults import Fault, PeerMisbehaved
    from phasegate.consensus.params import NETWORKS
    from phasegate.consensus.x11 import x11

    whose = " or ".join([other.name for other in NETWORKS.values() if x11(other.genesis) == base_hash])
    if whose:
        raise PeerMisbehaved(Fault.WRONG_NETWORK, f"it starts from the genesis block of {whose}, not of {chain.name}")
    raise _BaseWanted(f"no whole list: it starts from that of block {base_hash[::-1].hex()}, which --base would name")


def _judged_alone(chain: Network, commitments: Sequence[QuorumCommitment]) -> tuple[int, int]:
    """How many commitments are signed by the key that they announce, and how many are too old to tell."""
    from phasegate.consensus.commitments import Verdict, check_announced

    verdicts = check_announced(chain, commitments)
    return verdicts.count(Verdict.VERIFIED), verdicts.count(Verdict.LEGACY)


def _rotated(chain: Network, info: RotationInfo) -> tuple[list[MasternodeState], RotatedQuorums]:
    from phasegate.consensus.masternodes import apply_unanchored
    from phasegate.consensus.rotation_info import apparent_heights, check_rotation, states_of

    states = list(states_of(chain, info, (), partial(apply_unanchored, chain), stand_in=True))
    heights = apparent_heights(chain.quorum_types[chain.roles["instantsend"]], states)
    return states, check_rotation(chain, info, states, heights.get)


def _standing(state: MasternodeState) -> dict[str, Any]:
    return {
        "height": state.height,
        "block_hash": state.block_hash[::-1].hex(),
        "masternodes": state.count,
        "masternodes_valid": state.valid_count,
        "masternode_root": state.merkle_root()[::-1].hex(),
        "quorums": len(state.quorums),
        "quorum_root": state.quorum_root()[::-1].hex(),
    }


def _conclude(checked: str, chain: Network, fields: dict[str, Any], as_json: bool) -> None:
    from phasegate.cli.output import write_line

    fields = {"checked": checked, "network": chain.file_name, **fields}
    if as_json:
        write_line("summary", None, fields)
        return
    for name, value in fields.items():
        typer.echo(f"{name.replace('_', ' '):<24} {value}")
