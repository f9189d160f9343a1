"""How a chain of keys stands: how far it is watched, how far it was used, and how far that was searched for.

Used is what was paid, or mentioned in the payload of a special transaction, as far as was found; the gap limit counts
from there.
"""

from __future__ import annotations

import attrs

from phasegate.store.database import Session
from phasegate.store.key_chains import StoredKeyChain, key_chains, scripts_at


@attrs.frozen(kw_only=True)
class KeyChainUse(StoredKeyChain):
    """A chain of keys, and what became of it.

    Args:
        highest_used: the highest index that was used; None when none was.
        matched_to: the height up to which all of its scripts have been matched against the filters.
    """

    highest_used: int | None
    matched_to: int


def key_chain_uses(rows: Session) -> list[KeyChainUse]:
    """All chains, by descriptor."""
    return [_use(rows, chain) for chain in key_chains(rows)]


def _use(rows: Session, chain: StoredKeyChain) -> KeyChainUse:
    used, reached = list[int](), list[int]()
    for index in range(chain.derived):
        for script in scripts_at(chain, index):
            was_used, matched_to = rows.run(_SCRIPT, (script,))[0]
            used += [index] * was_used
            reached.append(matched_to)
    known = attrs.asdict(chain)
    return KeyChainUse(**known, highest_used=max(used, default=None), matched_to=min(reached))


_SCRIPT = """SELECT EXISTS (SELECT 1 FROM coins WHERE script = ?1) OR EXISTS (SELECT 1 FROM mentions WHERE script = ?1),
    (SELECT matched_to FROM watch WHERE script = ?1)"""
