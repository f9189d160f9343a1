"""The law of the sequential chart: whole phases in one order, each proven before the next one is entered."""

from __future__ import annotations

from phasegate.statecharts.law import Law, respond
from phasegate.statecharts.law_recovery import (
    ENDS,
    EVERYWHERE,
    HEADERS_ALONE,
    LEADS,
    ONWARD,
    RECOVERING,
    RETURNS,
    RUNS,
    beside_the_phases,
)

PHASES = "headers mnlist cfheaders filters blocks"

SYNC = Law(
    name="sync",
    initial="idle",
    ends=ENDS,
    leaves=frozenset(f"idle {PHASES} {RECOVERING} synced degraded paused failed stopped".split()),
    goal="synced",
    requires={
        "headers": (),
        "mnlist": ("headers",),
        "cfheaders": ("headers", "mnlist"),
        "filters": ("headers", "mnlist", "cfheaders"),
        "blocks": ("headers", "mnlist", "cfheaders", "filters"),
        "synced": ("headers", "mnlist", "cfheaders", "filters", "blocks"),
    },
    completed_by={
        "headers": "headers_complete",
        "mnlist": "mnlist_complete",
        "cfheaders": "cfheaders_complete",
        "filters": "filters_complete",
        "blocks": "blocks_complete",
    },
    enabled_by={
        "mnlist": "mn_enabled",
        "cfheaders": "filters_enabled",
        "filters": "filters_enabled",
        "blocks": "filters_enabled",
    },
    guarded={"synced": ("all_enabled_complete", "sound")},
    exclusive=frozenset({"advance"}),
    leads={**LEADS, "advance": frozenset({*PHASES.split(), "synced", "degraded"})},
    everywhere=EVERYWHERE,
    runs=RUNS,
    returns=RETURNS,
    onward=ONWARD,
    bad_news=frozenset({"work_left"}),
    responses=(
        *respond(
            "headers",
            "advance",
            "headers_complete mn_enabled -> mnlist",
            "headers_complete !mn_enabled filters_enabled -> cfheaders",
            *HEADERS_ALONE,
        ),
        *respond(
            "mnlist",
            "advance",
            "mnlist_complete filters_enabled -> cfheaders",
            "mnlist_complete !filters_enabled all_enabled_complete sound -> synced",
            "mnlist_complete !filters_enabled all_enabled_complete !sound -> degraded",
            "mnlist_complete !filters_enabled !all_enabled_complete -> stay",
            "!mnlist_complete -> stay",
        ),
        *respond("cfheaders", "advance", "cfheaders_complete -> filters", "!cfheaders_complete -> stay"),
        *respond("filters", "advance", "filters_complete -> blocks", "!filters_complete -> stay"),
        *respond(
            "blocks",
            "advance",
            "blocks_complete all_enabled_complete sound -> synced",
            "blocks_complete all_enabled_complete !sound -> degraded",
            "blocks_complete !all_enabled_complete -> stay",
            "!blocks_complete -> stay",
        ),
        *beside_the_phases(PHASES),
    ),
)
