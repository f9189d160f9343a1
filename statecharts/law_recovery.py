"""What the laws of both charts that sync say alike: about failures, about users, and about the ends.

This is a law as any other, by hand, and knows nothing of a chart, not even of the parts that the charts share. Each of
the two charts is held against all of it, so a wrong in a shared part of theirs is found in both.
"""

from __future__ import annotations

from collections.abc import Mapping

from phasegate.statecharts.law import Response, respond

RECOVERING = "backoff restarting switching waiting"
ENDS = frozenset({"failed", "stopped"})
EVERYWHERE = frozenset({"crash", "stop"})
ONWARD = frozenset({"start", "advance", "recover", "resume"})

LEADS: Mapping[str, frozenset[str]] = {
    "start": frozenset({"headers"}),
    "rewalk": frozenset({"headers"}),
    "rewind": frozenset({"headers"}),
    "fail": frozenset({*RECOVERING.split(), "degraded"}),
    "recover": frozenset({"headers"}),
    "pause": frozenset({"paused"}),
    "resume": frozenset({"headers"}),
    "crash": frozenset({"failed"}),
    "stop": frozenset({"stopped"}),
}
"""All events but `advance`."""

RUNS: Mapping[str, str] = {
    "headers": "download_headers",
    "mnlist": "download_masternodes",
    "cfheaders": "download_filter_headers",
    "filters": "download_filters",
    "blocks": "download_blocks",
    "backoff": "back_off",
    "restarting": "restart_phase",
    "switching": "switch_peer",
    "waiting": "wait_for_network",
    "synced": "follow_tip",
    "degraded": "await_remedy",
}
RETURNS: Mapping[str, str] = {
    "download_headers": "advance",
    "download_masternodes": "advance",
    "download_filter_headers": "advance",
    "download_filters": "advance",
    "download_blocks": "advance",
    "back_off": "recover",
    "restart_phase": "recover",
    "switch_peer": "recover",
    "wait_for_network": "recover",
    "await_remedy": "recover",
}

HEADERS_ALONE = (
    "headers_complete !mn_enabled !filters_enabled all_enabled_complete sound -> synced",
    "headers_complete !mn_enabled !filters_enabled all_enabled_complete !sound -> degraded",
    "headers_complete !mn_enabled !filters_enabled !all_enabled_complete -> stay",
    "!headers_complete -> stay",
)
"""Response lines of `headers` on `advance`, where nothing else is wanted or `headers` is not complete."""


def beside_the_phases(syncing: str) -> tuple[Response, ...]:
    """The response lines that do not depend on the order of the phases; `syncing` are the owners of theirs."""
    online = f"{syncing} {RECOVERING} synced degraded"
    return (
        *respond("idle", "start", "-> headers"),
        *respond(
            "synced", "advance", "work_left -> headers", "!work_left sound -> stay", "!work_left !sound -> degraded"
        ),
        *respond(f"{syncing} synced", "rewalk", "-> headers"),
        *respond(f"{syncing} synced", "rewind", "-> headers"),
        *respond(
            f"{syncing} synced",
            "fail",
            "wait_advised -> waiting",
            "!wait_advised retry_advised -> backoff",
            "!wait_advised !retry_advised restart_advised -> restarting",
            "!wait_advised !retry_advised !restart_advised switch_advised -> switching",
            "!wait_advised !retry_advised !restart_advised !switch_advised -> degraded",
        ),
        *respond(RECOVERING, "fail", "-> degraded"),
        *respond("backoff restarting", "recover", "-> headers"),
        *respond("switching waiting", "recover", "peer_ready -> headers", "!peer_ready -> stay"),
        *respond("degraded", "recover", "remedy_found -> headers", "!remedy_found -> stay"),
        *respond(online, "pause", "-> paused"),
        *respond("paused", "resume", "-> headers"),
        *respond(f"idle {online} paused", "crash", "-> failed"),
        *respond(f"idle {online} paused", "stop", "-> stopped"),
    )
