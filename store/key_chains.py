"""Chains of keys that are watched: descriptors of which more scripts are derived as they are used.

The law of this file: in every committed state the newest `gap` scripts of a chain are unused, as far as was found. It
is kept by whoever commits what was found, in the same transaction (`extend`); so there is no moment, and no crash, that
leaves a used script without enough watched ones above it. What is derived joins the watch items, not matched yet, and
so the marks say at once that not everything is matched.

A chain grows to twice its length, never by a few: what a history of n scripts costs in sweeps through the filters is
log n. The length follows from what is used, not from the order in which that was found. It never shrinks, not even when
a reorganisation takes a use away: what was given away once may be paid to at any time.

A script may be asked for by itself as well as by chains. What is watched without being of any chain needs no row here;
what is both has one, `raw(SCRIPT)` with a gap of 0. So a chain that goes leaves it behind, and a script that is given
up stays watched for its chain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

import attrs

from phasegate.consensus.descriptors import Descriptor, parse_descriptors
from phasegate.store import wallet
from phasegate.store.changes import Change, RecordBlock
from phasegate.store.database import Session
from phasegate.store.key_chain_changes import AddKeyChains, RemoveKeyChains
from phasegate.store.marks import ChainMarks
from phasegate.store.watch_changes import AddWatch, RemoveWatch


@attrs.frozen
class StoredKeyChain:
    """A chain of keys: its canonical descriptor, its gap limit, and how many of its indexes are watched."""

    descriptor: str
    gap: int
    derived: int


@attrs.frozen
class KeyPlace:
    """Where a script comes from: the canonical descriptor of its chain, and its index there."""

    descriptor: str
    index: int


def place_of(rows: Session, script: bytes) -> KeyPlace | None:
    """Which watched chain has `script`, and where; None if none has it as far as it is watched."""
    for chain in key_chains(rows):
        for index in range(chain.derived):
            if script in scripts_at(chain, index):
                return KeyPlace(chain.descriptor, index)
    return None


def key_chains(rows: Session) -> list[StoredKeyChain]:
    """All chains, by descriptor."""
    return [StoredKeyChain(*row) for row in rows.run(_CHAINS)]


def watched_alone(rows: Session) -> set[bytes]:
    """The scripts that are watched for themselves, whether a chain has them as well or not."""
    return {item.script for item in wallet.watch_items(rows)} - _derived(rows) | _pinned(rows)


def scripts_of(chain: StoredKeyChain) -> set[bytes]:
    """The scripts of a chain that are watched."""
    return {script for index in range(chain.derived) for script in _scripts(chain.descriptor, index)}


def scripts_at(chain: StoredKeyChain, index: int) -> tuple[bytes, ...]:
    """The scripts that a chain has at `index`."""
    return _scripts(chain.descriptor, index)


def add_watch(rows: Session, chain: ChainMarks, change: AddWatch) -> None:
    """Apply `AddWatch`."""
    _pin(rows, _of_chains(rows, [script for script, _ in change.items]))
    wallet.add_watch(rows, chain, change)


def remove_watch(rows: Session, change: RemoveWatch) -> None:
    """Apply `RemoveWatch`."""
    derived = _of_chains(rows, change.scripts)
    _unpin(rows, change.scripts)
    wallet.remove_watch(rows, RemoveWatch(tuple([script for script in change.scripts if script not in derived])))


def add_key_chains(rows: Session, chain: ChainMarks, change: AddKeyChains) -> None:
    """Apply `AddKeyChains`."""
    for descriptor, gap in change.items:
        if gap < 1 or str(_parsed(descriptor)) != descriptor or not _parsed(descriptor).ranged:
            raise ValueError(f"{descriptor} with a gap of {gap} is no key chain")
        rows.run(_PUT, (descriptor, gap))
        stored = StoredKeyChain(*rows.run(_CHAIN, (descriptor,))[0])
        if stored.derived < gap:
            _grow(rows, chain, stored, gap)


def remove_key_chains(rows: Session, change: RemoveKeyChains) -> None:
    """Apply `RemoveKeyChains`."""
    gone = [stored for stored in key_chains(rows) if stored.descriptor in set(change.descriptors)]
    rows.many("DELETE FROM key_chains WHERE descriptor = ?", ((stored.descriptor,) for stored in gone))
    pinned, derived = _pinned(rows), _derived(rows)
    scripts = set[bytes]().union(*[scripts_of(stored) for stored in gone]) - derived
    _unpin(rows, scripts & pinned)  # they are watched for themselves alone from now on
    wallet.remove_watch(rows, RemoveWatch(tuple(sorted(scripts - pinned))))


def may_use(change: Change) -> bool:
    """Whether a chain may have to be longer after `change`: most blocks that are recorded tell of nothing."""
    if isinstance(change, RecordBlock):
        return bool(change.findings.created or change.findings.transactions)
    return isinstance(change, AddKeyChains)


def extend(rows: Session, chain: ChainMarks) -> None:
    """Derive more of every chain whose newest scripts are not all unused."""
    for stored in key_chains(rows):
        while _is_used(rows, stored):
            stored = _grow(rows, chain, stored, 2 * stored.derived)


def _is_used(rows: Session, stored: StoredKeyChain) -> bool:
    """Whether one of the scripts that have to be unused is not."""
    return any(rows.run(_USED, (script,)) for script in _newest(stored))


def _newest(stored: StoredKeyChain) -> list[bytes]:
    """The scripts that have to be unused."""
    indexes = range(max(0, stored.derived - stored.gap), stored.derived)
    return [script for index in indexes for script in _scripts(stored.descriptor, index)]


def _grow(rows: Session, chain: ChainMarks, stored: StoredKeyChain, length: int) -> StoredKeyChain:
    """`stored` with `length` of its indexes watched."""
    new = [script for index in range(stored.derived, length) for script in _scripts(stored.descriptor, index)]
    _pin(rows, wallet.watched(rows, new) - _of_chains(rows, new))
    wallet.add_watch(rows, chain, AddWatch(tuple([(script, "") for script in new])))
    rows.run("UPDATE key_chains SET derived = ? WHERE descriptor = ?", (length, stored.descriptor))
    return attrs.evolve(stored, derived=length)


def _of_chains(rows: Session, scripts: Collection[bytes]) -> set[bytes]:
    """Those of `scripts` that chains have watched."""
    watched = wallet.watched(rows, scripts)
    return watched & _derived(rows) if watched else watched


def _derived(rows: Session) -> set[bytes]:
    """The watched scripts of all chains."""
    return set[bytes]().union(*[scripts_of(stored) for stored in key_chains(rows)])


def _pinned(rows: Session) -> set[bytes]:
    """The scripts that are watched for themselves as well as for a chain."""
    return {bytes.fromhex(text[4:-1]) for (text,) in rows.run("SELECT descriptor FROM key_chains WHERE gap = 0")}


def _pin(rows: Session, scripts: Iterable[bytes]) -> None:
    rows.many("INSERT OR IGNORE INTO key_chains VALUES(?, 0, 1)", ((f"raw({script.hex()})",) for script in scripts))


def _unpin(rows: Session, scripts: Iterable[bytes]) -> None:
    rows.many("DELETE FROM key_chains WHERE descriptor = ?", ((f"raw({script.hex()})",) for script in scripts))


@lru_cache(256)
def _parsed(descriptor: str) -> Descriptor:
    return parse_descriptors(descriptor, None)[0]


@lru_cache(65_536)
def _scripts(descriptor: str, index: int) -> tuple[bytes, ...]:
    return _parsed(descriptor).scripts(index)


_CHAINS = "SELECT descriptor, gap, derived FROM key_chains WHERE gap > 0 ORDER BY descriptor"
_CHAIN = "SELECT descriptor, gap, derived FROM key_chains WHERE descriptor = ?"
_USED = "SELECT 1 FROM coins WHERE script = ?1 UNION ALL SELECT 1 FROM mentions WHERE script = ?1 LIMIT 1"
_PUT = "INSERT INTO key_chains VALUES(?, ?, 0) ON CONFLICT DO UPDATE SET gap = excluded.gap"
