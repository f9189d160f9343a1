"""The command line behind a wall: the process may connect to one address, and look up no name at all.

    python tests/internet/walled_client.py HOST:PORT LOG sync ...

Whatever else it tries is refused as by a network that is not there, and told in LOG, a line each.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


def wall(allowed: tuple[str, int], log: Path) -> None:
    """Refuse from now on, in this process, everything but connections to `allowed`."""

    def refuse(what: str) -> None:
        with log.open("a", encoding="utf-8") as lines:
            lines.write(f"{what}\n")
        raise OSError(errno.ENETUNREACH, f"behind a wall: {what}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][:2] != allowed:
            refuse(f"connect {arguments[1]}")
        elif event in LOOK_UPS and arguments[0] != allowed[0]:
            refuse(f"look up {arguments[0]}")
        elif event in ("socket.sendto", "socket.sendmsg"):
            refuse("send a datagram")

    sys.addaudithook(hook)


def main() -> int:
    """Build the wall, then run the command."""
    host, _, port = sys.argv[1].rpartition(":")
    wall((host, int(port)), Path(sys.argv[2]))
    from phasegate.cli import main as phasegate

    return phasegate(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
