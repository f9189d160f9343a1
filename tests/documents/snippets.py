"""Runs a piece of Python of a page, with the names that the page takes for granted."""

from __future__ import annotations

import ast
import inspect
from typing import Any

from tests.documents.printed import Block


async def execute(block: Block, **names: Any) -> dict[str, Any]:
    """Run a block as the body of an asynchronous function; what it leaves behind."""
    code = compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)  # noqa: S307 - it is what the page tells people to write
    if inspect.isawaitable(running):
        await running
    return names
