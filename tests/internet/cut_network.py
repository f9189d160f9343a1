"""A line that can fail: broken, so that every connection ends at once, or dark, so that nothing comes through."""

from __future__ import annotations

import errno

import attrs
import trio

from phasegate.engine.seams import OpenStream


@attrs.define(eq=False)
class Line:
    """What stands between a client and its network, `opens` being the way when the line is whole."""

    opens: OpenStream
    down: bool = False
    dark: bool = False
    tried: int = 0
    _streams: list[_Fragile] = attrs.field(factory=list)
    _whole: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._whole.set()

    async def open_stream(self, host: str, port: int, /) -> trio.abc.Stream:
        """The caller's end of a new connection.

        Raises:
            OSError: the line is broken, or nothing listens there.
        """
        await trio.lowlevel.checkpoint()
        self.tried += 1
        if self.down:
            raise OSError(errno.ENETUNREACH, "network is unreachable")
        await self.passed()
        stream = _Fragile(self, await self.opens(host, port))
        self._streams.append(stream)
        return stream

    async def passed(self) -> None:
        """Wait while nothing comes through."""
        await self._whole.wait()

    async def cut(self, *, dark: bool) -> None:
        """From now on nothing works."""
        if dark:
            self._whole = trio.Event()
            return
        self.down = True
        for stream in list(self._streams):
            await trio.aclose_forcefully(stream.inner)

    def mend(self) -> None:
        """From now on everything works again."""
        self.down = False
        self._whole.set()

    def forget(self, stream: _Fragile) -> None:
        """A connection is closed."""
        if stream in self._streams:
            self._streams.remove(stream)


@attrs.define(eq=False)
class _Fragile(trio.abc.Stream):
    line: Line
    inner: trio.abc.Stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.line.passed()
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        piece = bytes(await self.inner.receive_some(max_bytes))
        await self.line.passed()
        return piece

    async def aclose(self) -> None:
        self.line.forget(self)
        await self.inner.aclose()
