"""The law of the interleaved chart: what the data of each height requires, instead of an order of whole phases.

- Headers come before everything, and are proven before any region is entered.
- Filter headers and masternode lists require nothing more. Filters are entered only after a yes that filter headers are
  stored whose filters are not (`filters_fed`), blocks only after a yes that matches are stored and none can come below
  them any more (`blocks_fed`).
- `synced` requires every enabled phase to be proven, and a region proves nothing by coming to rest: they are proven
  together, by the one step that leaves them all.
"""

from __future__ import annotations

from phasegate.statecharts.law import Beside, Law, respond
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

LISTS = "mnlist_waiting mnlist mnlist_rest"
HEADERS = "cfheaders_rest cfheaders"
FILTERS = "filters_rest filters"
BLOCKS = "blocks_rest blocks"
REGIONS = f"{LISTS} {HEADERS} {FILTERS} {BLOCKS}"

INTERLEAVED = Law(
    name="interleaved",
    initial="idle",
    ends=ENDS,
    leaves=frozenset(f"idle headers {REGIONS} {RECOVERING} synced degraded paused failed stopped".split()),
    goal="synced",
    beside=Beside(
        "interleaved", (tuple(LISTS.split()), tuple(HEADERS.split()), tuple(FILTERS.split()), tuple(BLOCKS.split()))
    ),
    requires={
        "headers": (),
        **dict.fromkeys(REGIONS.split(), ("headers",)),
        "synced": ("headers", "mnlist", "cfheaders", "filters", "blocks"),
    },
    completed_by={
        "headers": "headers_complete",
        "mnlist": "regions_complete",
        "cfheaders": "regions_complete",
        "filters": "regions_complete",
        "blocks": "regions_complete",
    },
    enabled_by={
        "mnlist": "mn_enabled",
        "mnlist_rest": "mn_enabled",
        "cfheaders": "filters_enabled",
        "filters": "filters_enabled",
        "blocks": "filters_enabled",
    },
    guarded={
        "synced": ("all_enabled_complete", "sound"),
        "mnlist_rest": ("mnlist_complete",),
        "filters": ("filters_fed",),
        "blocks": ("blocks_fed",),
    },
    exclusive=frozenset({"advance"}),
    leads={**LEADS, "advance": frozenset({"headers", *REGIONS.split(), "synced", "degraded"})},
    everywhere=EVERYWHERE,
    runs={
        **RUNS,
        "mnlist_waiting": "begin_masternodes",
        "mnlist_rest": "rest_masternodes",
        "cfheaders_rest": "rest_filter_headers",
        "filters_rest": "rest_filters",
        "blocks_rest": "rest_blocks",
    },
    returns={
        **RETURNS,
        "begin_masternodes": "advance",
        "rest_masternodes": "advance",
        "rest_filter_headers": "advance",
        "rest_filters": "advance",
        "rest_blocks": "advance",
    },
    onward=ONWARD,
    bad_news=frozenset({"work_left"}),
    responses=(
        *respond(
            "headers",
            "advance",
            "headers_complete mn_enabled -> interleaved",
            "headers_complete !mn_enabled filters_enabled -> interleaved",
            *HEADERS_ALONE,
        ),
        *respond("mnlist_waiting", "advance", "mn_enabled -> mnlist", "!mn_enabled -> stay"),
        *respond("mnlist", "advance", "mnlist_complete -> mnlist_rest", "!mnlist_complete -> stay"),
        *respond("mnlist_rest", "advance", "mnlist_complete -> stay", "!mnlist_complete -> mnlist"),
        *respond(
            "cfheaders_rest",
            "advance",
            "filters_enabled !cfheaders_complete -> cfheaders",
            "filters_enabled cfheaders_complete -> stay",
            "!filters_enabled -> stay",
        ),
        *respond("cfheaders", "advance", "cfheaders_complete -> cfheaders_rest", "!cfheaders_complete -> stay"),
        *respond(
            "filters_rest",
            "advance",
            "filters_enabled filters_fed -> filters",
            "filters_enabled !filters_fed -> stay",
            "!filters_enabled -> stay",
        ),
        *respond("filters", "advance", "filters_fed -> stay", "!filters_fed -> filters_rest"),
        *respond(
            "blocks_rest",
            "advance",
            "filters_enabled blocks_fed -> blocks",
            "filters_enabled !blocks_fed -> stay",
            "!filters_enabled -> stay",
        ),
        *respond("blocks", "advance", "blocks_fed -> stay", "!blocks_fed -> blocks_rest"),
        *respond(
            "interleaved",
            "advance",
            "regions_complete all_enabled_complete sound -> synced",
            "regions_complete all_enabled_complete !sound -> degraded",
            "regions_complete !all_enabled_complete -> stay",
            "!regions_complete -> stay",
        ),
        *beside_the_phases("headers interleaved"),
    ),
)
