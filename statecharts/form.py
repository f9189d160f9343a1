"""What a chart can be drawn as; apart from the drawing, so that who only names a form loads no chart."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """What a chart can be drawn as."""

    MERMAID = "mermaid"
    MD = "md"
    DOT = "dot"
    SVG = "svg"
    PNG = "png"
