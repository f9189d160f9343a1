"""One client a directory: an advisory lock that the system itself gives back when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from phasegate.store.errors import StoreFailed, StoreLocked


class Lock:
    """An exclusive `flock` on `path`, which holds the owner's process id; taken at creation.

    Raises:
        StoreLocked: someone has it, this process included.
        StoreFailed: the file cannot be made.
    """

    _fd = -1

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreFailed(f"{path}: {error.strerror}") from error
        try:
            self._take(path)
        except BaseException:
            self.release()
            raise

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            raise StoreLocked(f"{path.with_suffix('')} is in use by process {_owner(self._fd)}") from error
        except OSError as error:
            raise StoreFailed(f"{path}: {error.strerror}") from error

    def __del__(self) -> None:
        """Whoever let go of it without a word holds it no more."""
        self.release()

    def release(self) -> None:
        """Give it back, once; the file stays, so that nobody locks a file that is being deleted."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def holder(path: Path) -> str | None:
    """Who holds the lock at `path`: a process id, or `unknown`; None when nobody does, or there is no such file.

    Raises:
        StoreFailed: the file cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(fd)
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from error
    finally:
        os.close(fd)
    return None


def _owner(fd: int) -> str:
    return os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
