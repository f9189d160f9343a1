"""Where a new store begins: at the genesis block, at a built-in checkpoint, or at a header that the user trusts.

The headers that the first difficulty and median time depend on are fetched from below the beginning, each by the hash
that the one above it states, so that no header above the beginning goes unchecked. Filters may begin later still, at
the birthday of what is watched; then the headers begin at the nearest checkpoint before it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from phasegate.consensus.checkpoints import Checkpoint, checkpoints, start_before, start_before_time
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.headers import MAX_AHEAD, ChainTip, follow
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.engine.errors import ConfigError
from phasegate.store import Anchor

_HEX = frozenset("0123456789abcdefABCDEF")
_FORM = "a trusted header is HEIGHT:HEADER:CHAINWORK"
_ANY_TIME = (1 << 32) - 1
"""The clock for a trusted header: when it was mined is its owner's business."""


@attrs.frozen
class Start:
    """The first block of a new store (None: genesis), and the first height whose filter is wanted (None: any)."""

    anchor: Anchor | None = None
    birthday: int | None = None


def start_at(chain: Network, *, checkpoint: str = "", trusted_header: str = "", birthday: str = "") -> Start:
    """Where to begin, from what people write.

    Args:
        chain: the network.
        checkpoint: a height, `latest`, or "" for none: the newest built-in checkpoint at or below it.
        trusted_header: `HEIGHT:HEADER:CHAINWORK`, the header as 160 hex digits, the chainwork up to it in hex.
        birthday: a height, or a date as `2024-05-31`; "" for none. A date stands for the newest block that is known
            beforehand to have none of that day before it: a built-in checkpoint, the trusted header, or genesis.

    Raises:
        ConfigError: one of them is not of its form, they contradict each other or what is known of the chain, or there
            is no such checkpoint.
    """
    if checkpoint and trusted_header:
        raise ConfigError("--checkpoint and --trusted-header exclude each other")
    anchor = _trusted(chain, trusted_header) if trusted_header else None
    if checkpoint:
        anchor = _built_in(chain, checkpoint)
    if not birthday:
        return Start(anchor)
    born = _born(chain, birthday, anchor)
    if anchor is None:
        return Start(_anchor(start_before(chain, born)), born)
    if anchor.height > born:
        raise ConfigError(f"the birthday {birthday} is before the first header, at {anchor.height}")
    return Start(anchor, born)


def _is_height(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _born(chain: Network, text: str, anchor: Anchor | None) -> int:
    if _is_height(text):
        return int(text)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ConfigError(f"birthday {text!r} is neither a height nor a date like 2024-05-31") from error
    before = start_before_time(chain, day)
    known = 0 if before is None else before.height
    if anchor is not None and int.from_bytes(anchor.header[68:72], "little") + MAX_AHEAD <= day:
        return max(known, anchor.height)
    return known


def _built_in(chain: Network, text: str) -> Anchor:
    if text != "latest" and not _is_height(text):
        raise ConfigError(f"checkpoint {text!r} is neither a height nor `latest`")
    found = _anchor(start_before(chain, (1 << 31) - 1 if text == "latest" else int(text)))
    if found is None:
        below = "" if text == "latest" else f" at or below {text}"
        raise ConfigError(f"{chain.file_name} has no built-in checkpoint{below} to begin at")
    return found


def _anchor(found: Checkpoint | None) -> Anchor | None:
    if found is None or found.header is None or found.work is None:
        return None
    return Anchor(found.height, found.header, found.work)


def _trusted(chain: Network, text: str) -> Anchor:
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigError(f"{_FORM}, three parts and not {len(parts)}")
    height, header, work = parts
    if not _is_height(height) or int(height) == 0:
        raise ConfigError(f"{_FORM}: {height!r} is no height above genesis")
    if len(header) != 2 * HEADER_SIZE or not _HEX.issuperset(header):
        raise ConfigError(f"{_FORM}: its header is {2 * HEADER_SIZE} hex digits, not these {len(header)} characters")
    if not 0 < len(work) <= 64 or not _HEX.issuperset(work):
        raise ConfigError(f"{_FORM}: its chainwork is 1 to 64 hex digits, not {work!r}")
    anchor = Anchor(int(height), bytes.fromhex(header), int(work, 16))
    _refuse_impossible(chain, anchor)
    return anchor


def _refuse_impossible(chain: Network, anchor: Anchor) -> None:
    """Hold a trusted header against what is known without its past: its own claims and the checkpoints around it."""
    below = ChainTip(anchor.height - 1, anchor.header[4:36], 0, ())
    try:
        own = follow(chain, below, anchor.header, _ANY_TIME).tip.work
    except PeerMisbehaved as wrong:
        raise ConfigError(f"the trusted header is none of {chain.file_name}: {wrong}") from wrong
    known = [(c.height, c.work) for c in checkpoints(chain).values() if c.work is not None]
    least = max([own, *[work + own for height, work in known if height < anchor.height]])
    most = min([(1 << 256) - 1, *[work for height, work in known if height >= anchor.height]])
    if anchor.height in dict(known):
        least = most
    if not least <= anchor.work <= most:
        detail = f"less than {least:x}" if anchor.work < least else f"more than {most:x}"
        raise ConfigError(f"the chainwork {anchor.work:x} of a trusted header at {anchor.height} cannot be {detail}")
