"""The quorums and masternode lists of the recorded chain, by height: replayed from its blocks and from its messages."""

from __future__ import annotations

from collections.abc import Mapping

from phasegate.consensus.codec import Reader
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_diff
from phasegate.consensus.params import Network
from phasegate.consensus.primitives import QUORUM_COMMITMENT, Block, CoinbasePayload
from phasegate.consensus.quorums import QuorumCommitment
from tests.conftest import Conversation
from tests.consensus.conftest import RecordedChain

Active = tuple[QuorumCommitment, ...]


def mined(block: Block) -> Active:
    """The quorums that a block announces."""
    payloads = [tx.payload for tx in block.transactions if tx.type == QUORUM_COMMITMENT]
    commitments = [QuorumCommitment.parse(Reader(payload[6:])) for payload in payloads]
    return tuple([commitment for commitment in commitments if not commitment.is_null])


def active_sets(chain: RecordedChain, network: Network) -> list[Active]:
    """The active quorums after every block, by height: the newest of a type, or of an index of a rotated one."""
    newest: dict[tuple[int, int | None], Active] = {}
    sets: list[Active] = [()]
    for height in range(1, len(chain.blocks)):
        for commitment in mined(chain.block(height)):
            kind = network.quorum_types[commitment.type]
            count, place = 1 if kind.rotated else kind.active, (commitment.type, commitment.index)
            newest[place] = (*newest.get(place, ()), commitment)[-count:]
        sets.append(tuple([commitment for group in newest.values() for commitment in group]))
    return sets


def recorded_lists(chain: RecordedChain, network: Network, messages: Conversation) -> Mapping[int, MasternodeState]:
    """Every list that the recorded differences lead to, by height."""
    states = {0: MasternodeState.empty(network)}
    for way, command, payload in messages:
        if (way, command) == ("<", "mnlistdiff"):
            diff = MasternodeListDiff.parse(Reader(payload), 70240)
            height = CoinbasePayload.from_bytes(diff.coinbase.payload).height
            base = states[chain.height_of(diff.base_hash)]
            states[height] = apply_diff(network, base, diff, chain.header(height), height)
    return states
