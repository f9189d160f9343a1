"""What nodes served, one JSON line a request: from it a test proves that nothing was downloaded twice."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import attrs


@attrs.define
class RequestLog:
    """An open log; each line is flushed at once, so that it outlives whoever is killed next.

    With a `node` each line names it: the log is that of several nodes.
    """

    _file: TextIO
    node: str | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Append to the file at `path`."""
        return cls(path.open("a", encoding="utf-8"))

    def of(self, node: str) -> RequestLog:
        """The same log, for the lines of one of several nodes."""
        return RequestLog(self._file, node)

    def write(self, peer: str, command: str, facts: Mapping[str, Any], served: int) -> None:
        """One request of `peer`: its `command`, heights among `facts`, and the number of items `served`."""
        server = {} if self.node is None else {"node": self.node}
        line = {"time": round(time.time(), 3), **server, "peer": peer, "command": command, **facts, "served": served}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
