"""The `phasegate` command; light, so that Ctrl-C is heard from the first moment on."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, by default that of the process.

    Returns:
        The exit code: 0 synced, 2 usage, 3 degraded, 4 failed, 5 store, 130 interrupted.
    """
    try:
        from phasegate.cli.app import call

        return call(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
