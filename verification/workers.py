"""How a process of a verification run begins: with everything loaded, and with an eye on who started it.

Hypothesis looks for constants in the modules that are loaded, so what it draws from a seed depends on them: all of
phasegate is loaded before anything is drawn, whatever the process is going to do first. And a process whose parent has
been killed has nobody to work for: it ends by itself.
"""

from __future__ import annotations

import os
import pkgutil
import signal
import threading
import time
from importlib import import_module

import phasegate

LOOKING = 0.5
"""Seconds between two looks at the parent."""
NOT_LOADED = ("__main__", "libfuzzer")
"""Modules that are programs."""


def begin() -> None:
    """To be called first in a new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends this process
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True, name="parent").start()
    load_everything()


def load_everything() -> None:
    """Import every module of phasegate but its programs."""
    for module in pkgutil.walk_packages(phasegate.__path__, "phasegate."):
        if module.name.rpartition(".")[2] not in NOT_LOADED:
            import_module(module.name)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOKING)
    os._exit(1)
