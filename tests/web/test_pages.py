"""What the view answers: the page, the document, the figures, the health; all of the very client that runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from phasegate.engine.progress import PHASES
from phasegate.web import app as pages
from tests.simulated_world import World, small_chain
from tests.web.visits import Viewed, ask

pytestmark = pytest.mark.trio

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]


def _hold_against_the_schema(document: Any) -> None:
    schema = json.loads((DOCS / "live-view-status.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    validator.validate(document)


async def test_the_document_tells_a_synced_client(synced: Viewed) -> None:
    """State, way, heights, phases and peers are those of the client, and the document is that of the schema."""
    told = (await ask(synced.app, "/status.json")).json
    _hold_against_the_schema(told)
    marks = synced.client.status.marks
    assert (told["state"], told["name"], told["active"]) == ("synced", "Fully synced", ["online", "synced"])
    assert told["heights"]["tip"] == told["heights"]["matched"] == marks.tip == small_chain().height
    assert [phase["phase"] for phase in told["phases"]] == list(PHASES)
    assert [phase for phase in told["phases"] if not phase["complete"] or phase["done"] != phase["total"]] == []
    assert told["phases"][0]["items"] == marks.tip
    assert told["overall"] == 100.0
    assert [(peer["address"], peer["score"]) for peer in told["peers"]] == [("node:1", 0.0)]
    assert told["requests"]["sent"] == synced.client.requests.sent > 0


async def test_the_way_so_far_is_that_of_the_journal(synced: Viewed) -> None:
    """The states that were entered, and the lines between them, no others."""
    told = (await ask(synced.app, "/status.json")).json
    assert [state for state in told["been"]["states"] if state in WALK] == WALK
    assert told["been"]["lines"] == [
        "idle>online", "headers>mnlist", "mnlist>cfheaders", "cfheaders>filters", "filters>blocks", "blocks>synced",
    ]  # fmt: skip
    assert (told["step"]["from"], told["step"]["to"], told["step"]["lines"]) == ("blocks", "synced", ["blocks>synced"])


async def test_a_client_without_peers_says_so(viewing: Any, autojump_clock: Any) -> None:
    """Nothing is complete, nothing is stored, and what it waits for is told."""
    async with viewing() as viewed:
        await viewed.until("waiting")
        told = (await ask(viewed.app, "/status.json")).json
        _hold_against_the_schema(told)
        assert told["active"] == ["online", "recovering", "waiting"]
        assert told["reason"]
        assert told["peers"] == []
        assert not [phase for phase in told["phases"] if phase["active"] or phase["percent"]]
        assert not told["phases"][0]["complete"]
        assert told["heights"]["filters"] is None


@pytest.mark.parametrize("strategy", ["sequential", "interleaved"])
async def test_phases_that_are_off_are_not_shown(
    world: World, viewing: Any, autojump_clock: Any, strategy: str
) -> None:
    """With either chart."""
    world.add(small_chain(), 1)
    async with viewing(filters=False, strategy=strategy) as viewed:
        await viewed.until("synced")
        told = (await ask(viewed.app, "/status.json")).json
        _hold_against_the_schema(told)
        assert [phase["phase"] for phase in told["phases"]] == ["headers", "mnlist"]
        assert told["overall"] == 100.0


async def test_the_page_has_the_chart_and_nothing_foreign(synced: Viewed) -> None:
    """Each state of the chart is in it, and no address that is not ours, no inline script, no inline style."""
    page = (await ask(synced.app, "/")).body
    for leaf in synced.board.anatomy.leaves:
        assert page.count(f'data-state="{leaf}"') == 2  # wide and tall
    outside = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]", outside)
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert "<!--" not in page
    for path in re.findall(r'(?:href|src)="(/[^"?]*)"', page):
        if path != "/":
            assert (await ask(synced.app, path)).status == 200, path


async def test_files_of_the_page_reach_for_nothing(synced: Viewed) -> None:
    """Neither style sheet nor script loads anything from elsewhere, and the script never makes markup of text."""
    for path in ("/page.css", "/page.js"):
        text = (await ask(synced.app, path)).body
        assert not re.search(r"https?:|@import|url\(", text), path
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)


async def test_health(world: World, viewing: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 while it lives, in trouble too; 503 and the reason when it has failed."""
    async with viewing() as viewed:
        await viewed.until("waiting")
        answer = await ask(viewed.app, "/healthz")
        assert (answer.status, answer.body) == (200, "ok: waiting\n")
        await viewed.client.stop()
        with trio.fail_after(60):
            while viewed.client.state != "stopped":
                await trio.sleep(0.05)
        answer = await ask(viewed.app, "/healthz")
        assert (answer.status, answer.body) == (503, "stopped\n")


async def test_figures_for_prometheus(synced: Viewed) -> None:
    """They are in its format, each family is told in the documents, and they are the client's own."""
    answer = await ask(synced.app, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.body)
        for sample in family.samples
    }
    assert samples["phasegate_state", "synced"] == 1
    assert sum(value for name, value in samples.items() if name[0] == "phasegate_state") == 1
    assert samples["phasegate_height", "tip"] == samples["phasegate_target_height",] == small_chain().height
    assert samples["phasegate_phase_progress_ratio", "blocks"] == 1
    assert samples["phasegate_phase_stored_items_total", "headers"] == small_chain().height
    assert samples["phasegate_peers",] == samples["phasegate_filter_peers",] == 1
    assert samples["phasegate_requests_total", "sent"] == synced.client.requests.sent
    assert samples["phasegate_transitions_total",] == len(WALK)
    assert samples["phasegate_found_transactions_total",] == len(synced.client.transactions())
    assert ("process_resident_memory_bytes",) in samples
    page = (DOCS / "live-view.md").read_text(encoding="utf-8")
    families = {family.name for family in text_string_to_metric_families(answer.body)}
    own = {name for name in families if name.startswith("phasegate")}
    told = {name.removesuffix("_total") for name in re.findall(r"^\| `(phasegate_\w+)", page, re.MULTILINE)}
    assert own == told


async def test_metrics_have_no_label_that_strangers_choose(synced: Viewed) -> None:
    """Nothing of a peer is among them: neither its address nor its user agent."""
    text = (await ask(synced.app, "/metrics")).body
    (peer,) = synced.client.peers
    assert peer.info is not None
    assert str(peer.address) not in text
    assert peer.info.user_agent not in text


async def test_pages_that_follow_are_bounded(synced: Viewed, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to come again."""
    monkeypatch.setattr(synced.board, "streams", pages.MOST_PAGES)
    answer = await ask(synced.app, "/events")
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")


async def test_what_is_not_there(synced: Viewed) -> None:
    """404, strict as all answers are."""
    answer = await ask(synced.app, "/../pyproject.toml")
    assert answer.status == 404
    assert "content-security-policy" in answer.headers
