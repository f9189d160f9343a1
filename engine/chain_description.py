"""What the first section of an exported chain says about the rest, held against what its reader knows.

It is a claim like all else in the file. The network has to be the reader's; a chain that begins above genesis has to
begin at a built-in checkpoint, or at the very header that the reader trusts, with its chainwork.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from phasegate.consensus.checkpoints import checkpoints
from phasegate.consensus.headers import context_size
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.engine.chain_export import Reach
from phasegate.engine.chain_file import BadChainFile, Kind, Section
from phasegate.store import Anchor

LONGEST = 1 << 16
"""Bytes of a description at most."""
HIGHEST = (1 << 31) - 1
"""The last height that Dash Core can count to."""


@attrs.frozen
class Description:
    """What a file is said to hold.

    Args:
        network: the name that its stores have.
        reach: the heights.
        anchor: the trusted first block; None: genesis.
        previous: the filter header before the first block, 32 bytes in wire order.
        context: how many headers from below the base have to come.
    """

    network: str
    reach: Reach
    anchor: Anchor | None
    previous: bytes
    context: int


def network_of(section: Section) -> str:
    """The name of the network that a file says it is of.

    Raises:
        BadChainFile: it does not say.
    """
    return _text(_fields(section), section, "network")


def first_section(sections: Iterator[Section]) -> Section:
    """The description of a file.

    Raises:
        BadChainFile: it does not begin with one, or is damaged there.
    """
    section = next(sections, None)
    if section is None or section.kind is not Kind.DESCRIPTION or len(section.payload) > LONGEST:
        raise BadChainFile("it does not begin with its description")
    return section


def read_description(sections: Iterator[Section], network: Network, anchor: Anchor | None) -> Description:
    """The description of a file, if it is one of `network` and begins where one can begin.

    Args:
        sections: of the file; the first is taken.
        network: the reader's.
        anchor: a header that the reader trusts.

    Raises:
        BadChainFile: it is not.
    """
    section = first_section(sections)
    fields = _fields(section)
    _refuse_other_network(section, fields, network)
    reach = Reach(*[_height(fields, section, name) for name in ("base", "tip", "birthday", "filters")])
    if not (reach.base <= reach.tip <= HIGHEST and reach.base <= reach.birthday and reach.filters <= reach.tip):
        raise section.refused(f"no chain has {reach.base}..{reach.tip} and filters to {reach.filters}")
    if not reach.filter_count:  # nothing of what it says about filters can be held against anything
        reach = Reach(reach.base, reach.tip, reach.base, reach.base - 1)
    first = Anchor(reach.base, _bytes(fields, section, "base_header", HEADER_SIZE), _number(fields, section))
    previous = _bytes(fields, section, "previous_filter_header", 32)
    start = _trusted(section, network, first, anchor)
    context = 0 if start is None else _context(fields, section, network, reach.base)
    return Description(network.file_name, reach, start, previous, context)


def _refuse_other_network(section: Section, fields: dict[str, Any], network: Network) -> None:
    name = _text(fields, section, "network")
    if name != network.file_name or _bytes(fields, section, "genesis", HEADER_SIZE) != network.genesis:
        raise section.refused(f"it is of network {name}, not {network.file_name}")
    told, ours = fields.get("activations"), dict(network.activations)
    if not isinstance(told, dict):
        raise section.refused("it has no activation heights")
    if differing := sorted(key for key in ours if told.get(key) != ours[key]):
        theirs, wanted = (", ".join(f"{key}={str(d.get(key))[:12]}" for key in differing) for d in (told, ours))
        raise section.refused(f"it was made with activation {theirs}, not {wanted}")


def _trusted(section: Section, network: Network, first: Anchor, anchor: Anchor | None) -> Anchor | None:
    """Where the chain begins, if that is known to be good; None: at genesis."""
    if first.height == 0:
        if first.header != network.genesis:
            raise section.refused(f"its first block is not the genesis block of {network.file_name}")
        return None
    known = checkpoints(network).get(first.height)
    if known is not None and (known.header, known.work) == (first.header, first.work):
        return first
    if anchor is not None and (anchor.height, anchor.header, anchor.work) == (first.height, first.header, first.work):
        return first
    detail = f"its chain begins at height {first.height}, which is no built-in checkpoint"
    raise section.refused(f"{detail}; if you trust that block, name it with --trusted-header")


def _context(fields: dict[str, Any], section: Section, network: Network, base: int) -> int:
    count = _height(fields, section, "context")
    if not min(base, context_size(network, base) - 1) <= count <= min(base, 576):
        raise section.refused(f"{count} headers from below the base are too few or too many")
    return count


# -- fields of an unknown writer ---------------------------------------------------------------------------------


def _fields(section: Section) -> dict[str, Any]:
    try:
        fields = json.loads(section.payload)
    except (ValueError, RecursionError) as error:
        raise section.refused("it is no JSON") from error
    if not isinstance(fields, dict):
        raise section.refused("it is no JSON object")
    return fields


def _text(fields: dict[str, Any], section: Section, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > 2 * HEADER_SIZE:
        raise section.refused(f"its {name} is no short text")
    return value


def _bytes(fields: dict[str, Any], section: Section, name: str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(_text(fields, section, name))
    except ValueError as error:
        raise section.refused(f"its {name} is no hex") from error
    if len(raw) != size:
        raise section.refused(f"its {name} is not {size} bytes")
    return raw


def _height(fields: dict[str, Any], section: Section, name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not -1 <= value <= HIGHEST:
        raise section.refused(f"its {name} is no height")
    return value


def _number(fields: dict[str, Any], section: Section) -> int:
    try:
        work = int(_text(fields, section, "base_work"), 16)
    except ValueError as error:
        raise section.refused("its base_work is no hex number") from error
    if not 0 <= work < 1 << 256:
        raise section.refused("its base_work is no chainwork")
    return work
