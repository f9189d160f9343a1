"""The code blocks of the documents, and which test runs which of them.

A runner test takes its blocks by `printed`, which hands them to it and notes that they are run. `test_census.py` holds
that every block of every page is run, or stands in its table of those that cannot be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
_FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *(\S[^\n]*)?\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)


@attrs.frozen
class Block:
    """A fenced block.

    Args:
        page: the file, from the root of the tree.
        line: that of its fence, from 1.
        language: what stands behind the fence, "" for nothing.
        text: what is in it.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language}: {self.text.strip().splitlines()[:1]})"


RUN: dict[Block, str] = {}
"""The blocks that are run, and the test that does."""


def pages() -> list[str]:
    """Every page that people read, but for the list of changes."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(page.relative_to(ROOT)) for page in found]


def blocks_in(text: str, page: str) -> list[Block]:
    """The blocks of a page's text."""
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, (found[3] or "").strip(), found[4])
        for found in _FENCE.finditer(text)
    ]


@cache
def blocks_of(page: str) -> tuple[Block, ...]:
    """The blocks of a page."""
    return tuple(blocks_in((ROOT / page).read_text(encoding="utf-8"), page))


def every_block() -> list[Block]:
    """Of every page."""
    return [block for page in pages() for block in blocks_of(page)]


def some(page: str, language: str = "", begins: str = "") -> tuple[Block, ...]:
    """The blocks of a page that are in this language and begin so.

    Raises:
        LookupError: there is none any more.
    """
    found = [block for block in blocks_of(page) if language in ("", block.language) and block.text.startswith(begins)]
    if not found:
        raise LookupError(f"{page} has no block of {language} that begins with {begins!r}")
    return tuple(found)


def printed(*cases: tuple[Block, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test once for each case, with its argument `blocks`, and note that it runs them."""

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        assert test.__name__.startswith("test_"), "nobody would collect it"
        RUN.update({block: f"{test.__module__}.{test.__name__}" for case in cases for block in case})
        names = [f"{Path(case[0].page).stem}-{case[0].line}" for case in cases]
        given: Callable[..., Any] = pytest.mark.parametrize("blocks", cases, ids=names)(test)
        return given

    return decorate
