"""Opening a store that may be damaged: find it, name it, go back to where everything is good, and go on.

What a light client stores can be downloaded again, so damage never stops it: the store is rolled back to the last
height below the damage, in all tables, the user is told, and the next walk brings the rest. A small store is read
through at each opening. A large one is checked piece by piece as it is read; damage then ends the run, and is repaired.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from phasegate.consensus.params import Network
from phasegate.store import Anchor, Store, StoreCorrupt

READ_THROUGH = 64 * 1024 * 1024
"""Bytes up to which a store is read through at opening (about half a second)."""


def open_store(
    directory: Path,
    network: Network,
    *,
    anchor: Anchor | None = None,
    birthday: int | None = None,
    vfs: str | None = None,
) -> tuple[Store, str]:
    """The store of `network` in `directory`, and what was repaired in it ("" when nothing was).

    `anchor`, `birthday` and `vfs` are as for `Store.open`.

    Raises:
        StoreCorrupt: the damage is beyond repair; the text names the file and says what to do.
        StoreError: it cannot be used, as `Store.open`.
    """
    open_it = partial(Store.open, directory, network, vfs=vfs, anchor=anchor, birthday=birthday)
    try:
        store = open_it()
    except StoreCorrupt as damage:
        told = repair_store(directory, network, damage, vfs)
        return open_it(), told
    if not _is_damaged(store, _file(directory, network)):
        return store, ""
    store.close()
    told = repair_store(directory, network, vfs=vfs)
    return open_it(), told


def _is_damaged(store: Store, file: Path) -> bool:
    try:
        return file.stat().st_size <= READ_THROUGH and bool(store.check())
    except StoreCorrupt:
        return True  # its structure: repair says whether anything can be done
    except BaseException:
        store.close()
        raise


def repair_store(directory: Path, network: Network, cause: StoreCorrupt | None = None, vfs: str | None = None) -> str:
    """Roll a closed store back to below its damage and say so in one line.

    Raises:
        StoreCorrupt: the damage is beyond repair; the text names the file and says what to do.
    """
    try:
        found = Store.repair(directory, network, vfs=vfs)
    except StoreCorrupt as hopeless:
        reason = f"{cause}; {hopeless}" if cause and str(cause) != str(hopeless) else str(hopeless)
        raise StoreCorrupt(f"{_file(directory, network)}: {reason}; move the file away and sync again") from hopeless
    what = ", ".join(f"{d.what} {d.start}..{d.end}" for d in found.damages[:3]) or "its structure"
    back = f"rolled back from {found.from_height} to {found.to_height}"
    return f"the store was damaged ({what}) and has been {back if found.to_height < found.from_height else 'repaired'}"


def _file(directory: Path, network: Network) -> Path:
    return directory / f"{network.file_name}.sqlite"
