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

LISTS = "mnlist_waiting mnlist mnlist_rest"
HEADERS = "cfheaders_rest cfheaders"
FILTERS = "filters_rest filters"
BLOCKS = "blocks_rest blocks"
REGIONS = f"{LISTS} {HEADERS} {FILTERS} {BLOCKS}"
RECOVERING = "backoff restarting switching waiting"
ALONE = f"headers {RECOVERING} synced degraded"

INTERLEAVED = Law(
    name="interleaved",
    initial="idle",
    ends=frozenset({"failed", "stopped"}),
    leaves=frozenset(f"idle {ALONE} {REGIONS} paused failed stopped".split()),
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
    leads={
        "start": frozenset({"headers"}),
        "advance": frozenset({"headers", *REGIONS.split(), "synced", "degraded"}),
        "rewalk": frozenset({"headers"}),
        "rewind": frozenset({"headers"}),
        "fail": frozenset({*RECOVERING.split(), "degraded"}),
        "recover": frozenset({"headers"}),
        "pause": frozenset({"paused"}),
        "resume": frozenset({"headers"}),
        "crash": frozenset({"failed"}),
        "stop": frozenset({"stopped"}),
    },
    everywhere=frozenset({"crash", "stop"}),
    runs={
        "headers": "download_headers",
        "mnlist_waiting": "begin_masternodes",
        "mnlist": "download_masternodes",
        "mnlist_rest": "rest_masternodes",
        "cfheaders_rest": "rest_filter_headers",
        "cfheaders": "download_filter_headers",
        "filters_rest": "rest_filters",
        "filters": "download_filters",
        "blocks_rest": "rest_blocks",
        "blocks": "download_blocks",
        "backoff": "back_off",
        "restarting": "restart_phase",
        "switching": "switch_peer",
        "waiting": "wait_for_network",
        "synced": "follow_tip",
        "degraded": "await_remedy",
    },
    returns={
        "download_headers": "advance",
        "begin_masternodes": "advance",
        "download_masternodes": "advance",
        "rest_masternodes": "advance",
        "rest_filter_headers": "advance",
        "download_filter_headers": "advance",
        "rest_filters": "advance",
        "download_filters": "advance",
        "rest_blocks": "advance",
        "download_blocks": "advance",
        "back_off": "recover",
        "restart_phase": "recover",
        "switch_peer": "recover",
        "wait_for_network": "recover",
        "await_remedy": "recover",
    },
    onward=frozenset({"start", "advance", "recover", "resume"}),
    bad_news=frozenset({"work_left"}),
    responses=(
        *respond("idle", "start", "-> headers"),
        *respond(
            "headers",
            "advance",
            "headers_complete mn_enabled -> interleaved",
            "headers_complete !mn_enabled filters_enabled -> interleaved",
            "headers_complete !mn_enabled !filters_enabled all_enabled_complete sound -> synced",
            "headers_complete !mn_enabled !filters_enabled all_enabled_complete !sound -> degraded",
            "headers_complete !mn_enabled !filters_enabled !all_enabled_complete -> stay",
            "!headers_complete -> stay",
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
        *respond(
            "synced", "advance", "work_left -> headers", "!work_left sound -> stay", "!work_left !sound -> degraded"
        ),
        *respond("headers interleaved synced", "rewalk", "-> headers"),
        *respond("headers interleaved synced", "rewind", "-> headers"),
        *respond(
            "headers interleaved synced",
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
        *respond(f"{ALONE} interleaved", "pause", "-> paused"),
        *respond("paused", "resume", "-> headers"),
        *respond(f"idle {ALONE} interleaved paused", "crash", "-> failed"),
        *respond(f"idle {ALONE} interleaved paused", "stop", "-> stopped"),
    ),
)
