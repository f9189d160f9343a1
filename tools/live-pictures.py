"""Takes the pictures of the live view in docs/pictures, of a sync with simulated nodes, in the Chromium here.

    .venv/bin/python tools/live-pictures.py [FOLDER]

The nodes talk slowly, so that there is time to look; a picture is taken when the page shows what the picture is about.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PHASEGATE = (sys.executable, "-m", "phasegate")
CHAIN = ("--blocks", "5000", "--seed", "7")
LINE = "25000"
"""Bytes a second of one node."""
NODES = 3
FILTERING = """() => {
  const drawn = document.querySelector('.wide [data-state="filters"]');
  const width = Number(drawn.querySelector(".fill").getAttribute("width"));
  return drawn.classList.contains("lit") && width > 40 && width < 130;
}"""
SYNCED = "() => document.querySelector('.wide [data-state=synced]').classList.contains('lit')"
SIZES = {"screen": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@contextmanager
def _node() -> Iterator[dict[str, Any]]:
    words = [*PHASEGATE, "simnet", "--port", "0", *CHAIN, "--trickle", LINE]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None  # noqa: S101 - it was asked for
        try:
            yield json.loads(node.stdout.readline())
        finally:
            node.terminate()


@contextmanager
def _sync(nodes: list[dict[str, Any]], datadir: str) -> Iterator[str]:
    words = [*PHASEGATE, "sync", "--network", "simnet", "--datadir", datadir, "--web", "127.0.0.1:0"]
    words += [word for node in nodes for word in ("--peer", f"{node['host']}:{node['port']}")]
    words += [word for address in nodes[0]["watch"] for word in ("--watch", address)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as client:
        assert client.stderr is not None  # noqa: S101 - it was asked for
        try:
            yield client.stderr.readline().removeprefix("live view: ").strip()
        finally:
            client.terminate()


def _take(page: Page, name: str, place: Path) -> None:
    page.screenshot(path=place / f"live-{name}.png")
    print(f"{name}: {(place / f'live-{name}.png').stat().st_size // 1000} kB")


def _pictures(url: str, place: Path) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        light = browser.new_page(viewport=SIZES["screen"], color_scheme="light")
        phone = browser.new_page(viewport=SIZES["phone"], color_scheme="light", device_scale_factor=1.5)
        dark = browser.new_page(viewport=SIZES["screen"], color_scheme="dark")
        for page in (light, phone, dark):
            page.goto(url)
        light.wait_for_function(FILTERING, timeout=300_000)
        _take(light, "light", place)
        _take(phone, "phone", place)
        dark.wait_for_function(SYNCED, timeout=300_000)
        _take(dark, "dark", place)
        browser.close()


def main() -> None:
    """Take all pictures."""
    place = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "pictures")
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        nodes = [stack.enter_context(_node()) for _ in range(NODES)]
        datadir = stack.enter_context(tempfile.TemporaryDirectory())
        _pictures(stack.enter_context(_sync(nodes, datadir)), place)


if __name__ == "__main__":
    main()
