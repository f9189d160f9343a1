"""Text on the page can be read, light and dark: its colours have contrast enough [WCAG 2.2, 1.4.3]."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SHEET = (files("phasegate.web") / "page.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", SHEET, re.DOTALL)
)
TEXT = ("ink", "soft", "busy", "good", "trouble", "bad")


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out(colors: dict[str, str]) -> None:
    """Every colour of text on every ground that it stands on, and the name of a lit state on the state."""
    for ground in ("paper", "card", "inset"):
        for text in TEXT:
            assert _contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for mood in ("busy", "good", "trouble", "bad"):
        assert _contrast(colors["on"], colors[mood]) >= 4.5, mood
    for text in ("ink", "soft"):
        assert _contrast(colors[text], colors["done"]) >= 4.5, text
