"""All targets by name: what is run, and how many bytes it is given at most.

The bounds keep an input cheap; what a decoder does with more of the same, its own limits say and other tests hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from phasegate.verification.fuzzing import chain_files, conversations, filters, lists, payloads, texts, wire


@attrs.frozen
class Target:
    """Something to fuzz.

    Args:
        name: in lower case, words joined by dashes.
        run: returns if all is well; what it raises is a finding.
        most: bytes of an input.
    """

    name: str
    run: Callable[[bytes], None]
    most: int = 4096


_ALL = (
    Target("frames", wire.frames, 1024),
    Target("messages", wire.messages, 16_384),
    Target("compressed-headers", wire.compressed_headers, 2048),
    Target("addresses", wire.addresses, 1024),
    Target("texts", texts.texts, 256),
    Target("transactions", payloads.transactions),
    Target("special-payloads", payloads.special_payloads, 2048),
    Target("blocks", payloads.blocks),
    Target("entries", payloads.entries, 1024),
    Target("commitments", payloads.commitments, 2048),
    Target("proofs", payloads.proofs, 2048),
    Target("locks", payloads.locks, 2048),
    Target("differences", lists.differences, 8192),
    Target("list-changes", lists.list_changes, 8192),
    Target("rotations", lists.rotations, 16_384),
    Target("stored-lists", lists.stored_lists, 8192),
    Target("filters", filters.filters, 1024),
    Target("filter-chains", filters.filter_chains, 1024),
    Target("header-files", filters.header_files, 2048),
    Target("chain-files", chain_files.chain_files, 8192),
    Target("connection-bytes", conversations.connection_bytes, 8192),
    Target("connection-messages", conversations.connection_messages, 1024),
)
TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in _ALL})
