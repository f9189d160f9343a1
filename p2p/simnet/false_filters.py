"""False filters that are at one with themselves: filter, filter headers and checkpoints of the liar fit each other.

A liar that means it does not only twist one message: it commits to its filter by the filter headers from that height
on. What is false is the set of elements, so here the honest set is made again from the block and the outputs that it
spends, changed, and coded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from phasegate.consensus.addresses import parse_watch_item
from phasegate.consensus.filter_proofs import Provable
from phasegate.consensus.filters import block_elements, build_filter, filter_hash, filter_header
from phasegate.consensus.primitives import Block
from phasegate.consensus.spent_scripts import spent_script
from phasegate.p2p.simnet.chain import SimulatedChain

JUNK = b"\x51\x20junk element number "
Falsifier = Callable[[SimulatedChain, int], bytes | None]
"""Makes the false filter of a height; None where this lie cannot be told."""


@attrs.define
class FalseFilters:
    """The filters and filter headers of a liar.

    Args:
        falsify: makes the false filters.
        start: the first height it lies at.
        throughout: whether it lies at every height from there on, where it can, instead of at one only.
    """

    falsify: Falsifier
    start: int
    throughout: bool = False
    _headers: dict[bytes, bytes] = attrs.field(factory=dict, init=False)
    _filters: dict[bytes, bytes] = attrs.field(factory=dict, init=False)

    def filter(self, chain: SimulatedChain, height: int) -> bytes:
        """The filter told at `height`."""
        if height != self.start and not (self.throughout and height > self.start):
            return chain.filter(height)
        name = chain.hash_at(height)
        if name not in self._filters:
            self._filters[name] = self.falsify(chain, height) or chain.filter(height)
        return self._filters[name]

    def header(self, chain: SimulatedChain, height: int) -> bytes:
        """The filter header told at `height`, which may be -1."""
        first = height
        while first >= self.start and chain.hash_at(first) not in self._headers:
            first -= 1
        told = self._headers[chain.hash_at(first)] if first >= self.start else chain.filter_header(first)
        for at in range(first + 1, height + 1):
            told = filter_header(filter_hash(self.filter(chain, at)), told)
            self._headers[chain.hash_at(at)] = told
        return told


def omitted_output(chain: SimulatedChain, height: int) -> bytes | None:
    """The filter hides an output of the block, a watched one if there is one."""
    block = _block(chain, height)
    return _without(chain, height, block, Provable.of(block).outputs)


def omitted_spend(chain: SimulatedChain, height: int) -> bytes | None:
    """The filter hides a P2PKH spend, whose script the scriptSig tells, a watched one if there is one."""
    block = _block(chain, height)
    return _without(chain, height, block, {script for script in Provable.of(block).spent if script[0] == 0x76})


def wrong_count(chain: SimulatedChain, height: int) -> bytes | None:
    """The filter has one element more than its block can have."""
    block = _block(chain, height)
    elements, most = _elements(chain, height, block), Provable.of(block).most
    return None if most is None else build_filter(block.hash, elements | _junk(most - len(elements) + 1))


def added_element(chain: SimulatedChain, height: int) -> bytes | None:
    """A junk element stands where nobody can disprove it: instead of a spent script that the block does not tell."""
    block = _block(chain, height)
    shown, elements = Provable.of(block), _elements(chain, height, block)
    unknown = sorted(elements - shown.outputs - shown.special - shown.spent.keys())
    if shown.most is None or (not unknown and len(elements) >= shown.most):
        return None
    return build_filter(block.hash, (elements - set(unknown[:1])) | _junk(1))


def without_special(chain: SimulatedChain, height: int) -> bytes | None:
    """The filter of a node before 23.0: what special transactions add is not in it."""
    block = _block(chain, height)
    if not Provable.of(block).special:
        return None
    plain = attrs.evolve(block, transactions=tuple([attrs.evolve(tx, type=0) for tx in block.transactions]))
    return build_filter(block.hash, block_elements(plain, _spent(chain, height, block)))


def _block(chain: SimulatedChain, height: int) -> Block:
    return Block.from_bytes(chain.block(height) or chain.header(height) + b"\0")


def _without(chain: SimulatedChain, height: int, block: Block, of: set[bytes] | frozenset[bytes]) -> bytes | None:
    watched = {parse_watch_item(address, chain.network) for address in chain.watch}
    hidden = sorted(of, key=lambda script: (script not in watched, script))[:1]
    return build_filter(block.hash, _elements(chain, height, block) - set(hidden)) if hidden else None


def _junk(count: int) -> set[bytes]:
    return {JUNK + bytes((i,)) for i in range(count)}


def _elements(chain: SimulatedChain, height: int, block: Block) -> set[bytes]:
    return block_elements(block, _spent(chain, height, block))


def _spent(chain: SimulatedChain, height: int, block: Block) -> Iterator[bytes]:
    """The scripts of the outputs that `block` spends: told by it, or looked up in the blocks below."""
    yield from Provable.of(block).spent
    inputs = [txin for tx in block.transactions if not tx.is_coinbase for txin in tx.inputs]
    wanted = {txin.prevout for txin in inputs if spent_script(txin.script_sig) is None}
    for below in range(height, 0, -1):
        if not wanted:
            return
        made = {tx.txid: tx for tx in _block(chain, below).transactions}
        found = [point for point in wanted if point.txid in made]
        wanted.difference_update(found)
        yield from [made[point.txid].outputs[point.index].script for point in found]
