"""The page in a real browser: each phase lights up in order, and who comes late sees how things stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phasegate.web.board import KEPT
from tests.simulated_world import small_chain
from tests.web.browsers import CHROMIUM, FLAGS, Sync, free_port, serving, syncing

playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright for Python is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
expect = playwright.expect

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
CHAIN = ("--blocks", "300", "--seed", "7")
PATIENT = 60_000.0
RECORD = """
window.lit = [];
new MutationObserver((changes) => {
  for (const { target, oldValue } of changes) {
    const was = (oldValue ?? "").split(" ").includes("lit");
    const lit = target.classList.contains("lit") && target.matches(".wide .state");
    if (lit && !was && window.lit.at(-1) !== target.dataset.state) window.lit.push(target.dataset.state);
  }
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["class"], attributeOldValue: true });
"""
"""Notes each state of the chart when it lights up; several changes of one moment count once."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def _complains(message: Any) -> bool:
    """Whether it is the page that complains, and not the browser about a connection that nobody takes."""
    return message.type in ("error", "warning") and "net::ERR_" not in message.text


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens pages; none of them may complain."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def opened(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text) if _complains(message) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sync]:
    """A sync that is done, and stays."""
    watch = [word for address in small_chain().watch for word in ("--watch", address)]
    with serving(*CHAIN) as node:
        peer = f"{node['host']}:{node['port']}"
        with syncing(tmp_path_factory.mktemp("done"), "--peer", peer, *watch) as sync:
            sync.until("synced")
            yield sync


def test_each_phase_lights_up_in_order(open_page: Any, tmp_path: Path) -> None:
    """From a client that waits for its only peer to one that is synced, seen by the page alone."""
    port = free_port()
    page = open_page()
    page.add_init_script(RECORD)
    with syncing(tmp_path, "--peer", f"127.0.0.1:{port}", "--give-up", "120") as sync:
        page.goto(sync.url)
        expect(page.locator("#state")).to_have_text(re.compile("Waiting for network|Backing off"), timeout=PATIENT)
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator("body")).to_have_attribute("data-mood", "trouble")
        with serving(*CHAIN, port=port):
            expect(page.locator("#state")).to_have_text("Fully synced", timeout=PATIENT)
            lit = page.evaluate("window.lit")
            expect(page.locator(".wide .state.lit")).to_have_count(1)
            expect(page.locator("body")).to_have_attribute("data-mood", "good")
            assert lit[: lit.index("synced") + 1][-len(WALK) :] == WALK  # after whatever waiting it began with
            for key in ("headers>mnlist", "mnlist>cfheaders", "cfheaders>filters", "filters>blocks", "blocks>synced"):
                expect(page.locator(f'.wide [data-line="{key}"]')).to_have_class(re.compile(r"\bbeen\b"))
            expect(page.locator(".phases progress")).to_have_count(5)
            assert page.eval_on_selector_all(".phases progress", "all => all.map((one) => one.value)") == [100] * 5


def test_a_page_opened_late_shows_how_things_stand(open_page: Any, done: Sync) -> None:
    """State, way, journal, transactions, peers: everything that there is is there at once."""
    page = open_page()
    page.goto(done.url)
    expect(page.locator("#state")).to_have_text("Fully synced")
    expect(page.locator("#tip")).to_have_text("300")
    expect(page.locator(".wide .state.lit")).to_have_attribute("data-state", "synced")
    for state in WALK:
        expect(page.locator(f'.wide .state.been[data-state="{state}"]')).to_have_count(1)
    rows = page.locator("#journal tr td:nth-child(2)").all_inner_texts()
    assert rows[::-1][-len(WALK) :][-1] == "Fully synced"
    assert "Downloading filters" in rows
    expect(page.locator("#found tr")).to_have_count(KEPT)
    expect(page.locator("#peers tr")).to_have_count(1)
    expect(page).to_have_title(re.compile("Synced at 300"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("width", "shown", "hidden"), [(1280, "wide", "tall"), (375, "tall", "wide"), (320, "tall", "wide")]
)
def test_nothing_is_wider_than_the_screen(
    open_page: Any, done: Sync, scheme: str, width: int, shown: str, hidden: str
) -> None:
    """On a phone the chart stands upright; nothing has to be pushed aside to be read."""
    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(done.url)
    expect(page.locator("#state")).to_have_text("Fully synced")
    expect(page.locator(f".chart.{shown}")).to_be_visible()
    expect(page.locator(f".chart.{hidden}")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_keyboard_is_enough(open_page: Any, done: Sync) -> None:
    """The first stop passes the chart by, and every table that scrolls can be reached."""
    page = open_page()
    page.goto(done.url)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip the chart")
    expect(page.locator(":focus")).to_be_in_viewport()
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-labelledby') ?? document.activeElement.href")
        )
    assert {"found-title", "peers-title", "warnings-title", "journal-title", f"{done.url}metrics"} <= reached


HOSTILE = '<img src=x onerror="window.hurt = 1"><script>window.hurt = 1</script>' + "w" * 300


def _hostile(document: dict[str, Any]) -> str:
    step = document["step"] | {"reason": HOSTILE, "name": HOSTILE}
    peers = [document["peers"][0] | {"agent": HOSTILE, "address": HOSTILE, "services": [HOSTILE]}]
    found = [
        {
            "row_id": 1,
            "txid": "f" * 64,
            "height": 7,
            "received": 1,
            "sent": 5 * 10**8,
            "instantlock": False,
            "scripts": [HOSTILE],
        }
    ]
    now = document | {"reason": HOSTILE, "search": HOSTILE, "step": step, "peers": peers, "name": HOSTILE}
    warnings = [{"time": 1.0, "code": HOSTILE, "message": HOSTILE, "count": 2}]
    frames = {"hello": {"steps": [step]}, "now": now, "found": found, "warnings": warnings}
    return "".join(f"event: {name}\ndata: {json.dumps(content)}\n\n" for name, content in frames.items())


@pytest.mark.parametrize("width", [1280, 375])
def test_what_strangers_say_is_text(open_page: Any, done: Sync, width: int) -> None:
    """Markup in user agents, reasons and warnings is shown as it was sent, runs nothing, and bursts nothing."""
    page = open_page(viewport={"width": width, "height": 800})
    document = page.request.get(f"{done.url}status.json").json()
    body = _hostile(document)
    page.route("**/events", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.goto(done.url)
    expect(page.locator("#peers tr")).to_contain_text(HOSTILE)
    expect(page.locator("#warnings li")).to_contain_text(HOSTILE)
    expect(page.locator("#state")).to_have_text(HOSTILE)
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_page_says_when_nobody_answers_and_goes_on_by_itself(open_page: Any, tmp_path: Path) -> None:
    """When the client has ended the page says so; when it runs again the same page follows it, from the row it had."""
    port = free_port()
    place = ("--web", f"127.0.0.1:{port}", "--peer", "127.0.0.1:1", "--give-up", "120")
    page = open_page()
    with syncing(tmp_path, *place) as sync:
        page.goto(sync.url)
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator("#journal tr").first).to_be_visible()
    expect(page.locator("#link")).to_have_text(re.compile("ended|trying again"))
    with syncing(tmp_path, *place):
        expect(page.locator("#link")).to_have_text("live", timeout=PATIENT)
        expect(page.locator("#journal")).to_contain_text("Stopped")
