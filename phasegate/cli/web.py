"""The live view's part of `phasegate sync`: its options, and the way from them to a view beside the client."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.engine.client import Client
    from phasegate.web.place import Place

View = Callable[["Client"], AbstractAsyncContextManager[object]]
"""Makes what stands beside a client while it runs."""

NEEDED = ("hypercorn", "prometheus_client", "starlette")
OPTION = "--web"
ALONE = "127.0.0.1:8777"
"""What `--web` means when no place follows; the same as `phasegate.web.place.DEFAULT`, which would cost an import."""

Web = Annotated[
    str,
    typer.Option(
        OPTION,
        metavar="[HOST:PORT]",
        help=f"Serve a live view of the sync for a browser, with metrics and health; default {ALONE}. "
        "Elsewhere than on the loopback it needs a token.",
    ),
]
WebToken = Annotated[
    str,
    typer.Option(
        "--web-token",
        metavar="TOKEN",
        envvar="PHASEGATE_WEB_TOKEN",
        help="What visitors of the live view have to show; better given by the environment, where nobody reads it. "
        "Default: none on the loopback, elsewhere one that is made up and printed.",
    ),
]


class WithWeb(TyperCommand):
    """A command whose `--web` may stand without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Say the default where no value follows."""
        return super().parse_args(ctx, list(spelt_out(args)))


def spelt_out(words: Iterable[str]) -> Iterator[str]:
    """The words, with a value after each `--web` that has none."""
    before = ""
    for word in words:
        if before == OPTION and word.startswith("-"):
            yield ALONE
        yield word
        before = word
    if before == OPTION:
        yield ALONE


@contextmanager
def view_of(where: str, token: str) -> Iterator[View]:
    """The view that the options ask for; none without `--web`. It listens from now on.

    Raises:
        ConfigError: there is no such place, it is taken, the token is too weak, or a library is missing.
    """
    if not where:
        yield nullcontext
        return
    missing = [name.replace("_", "-") for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"--web needs {', '.join(missing)}: {shlex.join(['pip', 'install', *_bounded(missing)])}")
    from phasegate.web.place import listen

    place = listen(where, token)
    with place.socket:
        typer.echo(f"live view: {place.url}", err=True)
        yield lambda client: _beside(client, place)


def _bounded(names: Iterable[str]) -> list[str]:
    """The libraries as phasegate requires them: in which versions."""
    from importlib import metadata

    required = [text.partition(";")[0].strip() for text in metadata.requires("phasegate") or []]
    return [next((text for text in required if re.match(rf"{name}\b", text)), name) for name in names]


@asynccontextmanager
async def _beside(client: Client, place: Place) -> AsyncIterator[None]:
    from phasegate.web.server import served

    async with served(client, place):
        yield
