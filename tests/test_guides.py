"""What the tutorial and the how-tos print is run as it is printed, a page at a time, in an empty folder.

Blocks are taken in their order. `sh` is run by bash, all blocks of a page in one shell, which ends at the first command
that fails. `python` whose first line is a comment with a file's name is written to that file. `text` is what the
commands before it print: its lines have to come, in this order, among those that were printed; `…` stands for anything.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.printed import ROOT, Block, blocks_of, printed
from tests.documents.shells import FILE, bash, first_unsaid, script

BEHIND_A_PROXY = "docs/howto/run-behind-tor.md"  # has a runner of its own, with a proxy
HOWTOS = [str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs" / "howto").glob("*.md"))]
PAGES = ["docs/tutorial.md", *[page for page in HOWTOS if page != BEHIND_A_PROXY]]


def test_every_block_of_a_guide_is_of_a_kind_that_is_tried() -> None:
    for page in PAGES:
        for block in blocks_of(page):
            assert block.language in {"sh", "python", "text"}, str(block)
            assert block.language != "python" or FILE.match(block.text), f"{block}: a block of Python names no file"


@printed(*[blocks_of(page) for page in PAGES])
def test_a_guide_does_what_it_prints(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    code, output = bash(script(blocks), tmp_path)
    assert code == 0, output
    expected = [line for block in blocks if block.language == "text" for line in block.text.splitlines()]
    assert first_unsaid(expected, output) is None, output


@pytest.mark.parametrize(
    ("expected", "missing"),
    [(["a", "c"], None), (["a…"], None), (["c", "a"], "a"), (["b…d"], "b…d"), (["x"], "x")],
)
def test_lines_are_found_in_order(expected: list[str], missing: str | None) -> None:
    assert first_unsaid(expected, "a\nb\nc\n") == missing
