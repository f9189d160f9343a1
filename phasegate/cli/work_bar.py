"""One bar on standard error for a command that works through something long, where a person looks on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def work_bar(title: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """A function that is told how many items of how many are done; it shows nothing where nobody can see it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=hidden or not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
