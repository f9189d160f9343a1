"""Files that are made aside and appear at their place whole, or not at all; nothing that is there is ever replaced.

A database is more than one file: a write-ahead log that was left behind beside a name would be replayed into whatever
comes to stand under that name. So a name counts as taken as long as any of its files is there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from phasegate.store.errors import StoreFailed, StoreMismatch
from phasegate.store.lock import Lock

LOG_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by the end of the name."""


def refuse_taken(target: Path) -> None:
    """Make sure that nothing stands at `target`.

    Raises:
        StoreMismatch: something does, if only a log of what was there.
    """
    for path in (target, *[target.with_name(target.name + end) for end in LOG_FILES]):
        if os.path.lexists(path):
            raise StoreMismatch(f"{path} is there already, and is not overwritten")


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """A path beside `target`, whose file gets that name when the block has ended well; else it is removed.

    What a killed process has left of the same target is cleared away.

    Raises:
        StoreMismatch: something stands at `target`, or came there meanwhile.
        StoreFailed: the directory refuses.
    """
    refuse_taken(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        for left in (*left_behind(target.parent, target.name), partial):
            _remove(left)
        yield partial
        refuse_taken(target)
        settle(partial)
        _give_name(partial, target)
        settle(target.parent)
    except FileExistsError as error:
        raise StoreMismatch(f"{target} is there already, and is not overwritten") from error
    except OSError as error:
        raise StoreFailed(f"{target}: {error.strerror}") from error
    finally:
        _remove(partial)


_PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<owner>[1-9][0-9]{0,9})\.partial(-wal|-shm|-journal)?")


def left_behind(directory: Path, target: str = "") -> list[Path]:
    """Files that `made_whole` began in a directory, of one target or of any, and whose process is there no more.

    Raises:
        OSError: the directory cannot be read.
    """
    found = [(path, told) for path in directory.iterdir() if (told := _PARTIAL.fullmatch(path.name)) is not None]
    return sorted([path for path, told in found if target in ("", told["name"]) and not _lives(int(told["owner"]))])


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def _give_name(partial: Path, target: Path) -> None:
    """A link never replaces what is there, as a renaming does; some file systems have none."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        partial.rename(target)


def _remove(partial: Path) -> None:
    for path in (partial, *[partial.with_name(partial.name + end) for end in LOG_FILES]):
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def new_store(directory: Path, name: str) -> Iterator[Path]:
    """A directory in which to make the store `name`, which becomes that of `directory` when the block has ended well.

    The name is locked meanwhile, so no client and no second import begins there. What an interrupted one has left is
    cleared away.

    Raises:
        StoreLocked: somebody uses the directory.
        StoreMismatch: it holds such a store.
        StoreFailed: the disk refuses.
    """
    final, place = directory / f"{name}.sqlite", directory / f"{name}.import"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"{directory} cannot be a data directory: {error.strerror}") from error
    lock = Lock(final.with_name(f"{final.name}.lock"))
    try:
        refuse_taken(final)
        shutil.rmtree(place, ignore_errors=True)
        with made_whole(final) as partial:
            place.mkdir()
            yield place
            (place / final.name).rename(partial)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.release()


def settle(path: Path) -> None:
    """Have a file, or the names in a directory, on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
