// The page of the live view: takes server-sent events and shows them. Whatever comes from the network is put in as text.
"use strict";

const MOST = 200;
const TROUBLE = new Set(["recovering", "degraded"]);
const numbers = new Intl.NumberFormat("en");
const amounts = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 8, signDisplay: "always" });
const byId = (id) => document.getElementById(id);
const drawn = (attribute) => {
  const found = new Map();
  for (const one of document.querySelectorAll(`[${attribute}]`)) {
    const key = one.getAttribute(attribute);
    found.set(key, [...(found.get(key) ?? []), one]);
  }
  return found;
};
const states = drawn("data-state");
const lines = drawn("data-line");
let heights = { tip: 0, chainlock: null };
let found = [];

const make = (tag, kind = "", ...content) => {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...content);
  return made;
};
const say = (id, text) => {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
};
const number = (value) => (value === null || value === undefined ? "–" : numbers.format(value));
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });
const size = (bytes) => (bytes < 1e6 ? `${number(Math.round(bytes / 1e3))} kB` : `${number(Math.round(bytes / 1e6))} MB`);

function lasting(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48 ? `${hours} h ${Math.round((seconds % 3600) / 60)} min` : `${Math.round(hours / 24)} days`;
}

function mark(drawings, name, wanted) {
  const keys = new Set(wanted);
  for (const [key, elements] of drawings) {
    for (const element of elements) element.classList.toggle(name, keys.has(key));
  }
}

function mood(active) {
  if (active.includes("failed")) return "bad";
  if (active.some((state) => TROUBLE.has(state))) return "trouble";
  return active.includes("synced") ? "good" : "busy";
}

function light(active, name) {
  mark(states, "lit", active);
  document.body.dataset.mood = mood(active);
  say("state", name);
}

function showStep(step) {
  if (!step) return;
  mark(lines, "last", step.lines);
  const why = step.reason ? `: ${step.reason}` : "";
  say("step", `${clock(step.time)}  Event ${step.trigger} led from ${step.from} to ${step.to}${why}`);
}

function takeStep(step) {
  for (const state of step.active) for (const element of states.get(state) ?? []) element.classList.add("been");
  for (const line of step.lines) for (const element of lines.get(line) ?? []) element.classList.add("been");
  light(step.active, step.name);
  showStep(step);
  addToJournal([step]);
}

function addToJournal(steps) {
  const journal = byId("journal");
  const rows = steps.map((step) => {
    const when = make("time", "", clock(step.time));
    when.dateTime = new Date(step.time * 1000).toISOString();
    const why = make("td", "", step.reason);
    return make("tr", "", make("td", "", when), make("td", "", step.name), make("td", "", make("code", "", step.trigger)), why);
  });
  journal.prepend(...rows.reverse());
  while (journal.rows.length > MOST) journal.deleteRow(-1);
}

function showPhases(phases) {
  const list = byId("phase-list");
  if (list.children.length !== phases.length) {
    list.replaceChildren(...phases.map((phase) => {
      const bar = make("progress");
      bar.max = 100;
      bar.setAttribute("aria-label", phase.name);
      return make("li", "", make("span", "title", phase.name.replace(/^Downloading /, "")), make("span", "pace"), bar);
    }));
  }
  phases.forEach((phase, at) => {
    const row = list.children[at];
    row.classList.toggle("on", phase.active);
    row.children[1].textContent = pace(phase);
    const share = isOver(phase) ? 1 : phase.percent / 100;
    row.children[2].value = 100 * share;
    for (const drawing of states.get(phase.phase) ?? []) {
      const fill = drawing.querySelector(".fill");
      fill.setAttribute("width", (fill.dataset.full * share).toFixed(1));
      drawing.querySelector(".figure").textContent = phase.total ? `${number(phase.done)} of ${number(phase.total)}` : "";
    }
  });
}

// A phase that has no items yet may be complete by its guard before it was ever entered; it is shown as over after that.
function isOver(phase) {
  return phase.complete && (phase.total > 0 || (states.get(phase.phase)?.[0].classList.contains("been") && !phase.active));
}

function pace(phase) {
  const parts = [phase.total ? `${number(phase.done)} of ${number(phase.total)}` : isOver(phase) ? "nothing to do" : "not begun"];
  if (phase.active && phase.rate > 0) parts.push(`${number(Math.round(phase.rate))} a second`);
  if (phase.active && phase.eta) parts.push(`${lasting(phase.eta)} left`);
  if (!phase.active && phase.seconds > 0) parts.push(`took ${lasting(phase.seconds)}`);
  return parts.join(" · ");
}

function empty(columns, text) {
  const cell = make("td", "none", text);
  cell.colSpan = columns;
  return make("tr", "", cell);
}

function showPeers(peers) {
  const rows = peers.map((peer) => {
    const who = make("td", "", peer.address, make("span", "sub", `${peer.agent || "unnamed"} · ${peer.services.join(", ")}`));
    const figures = [number(peer.height), number(peer.answers), number(peer.score)];
    return make("tr", "", who, ...figures.map((text) => make("td", "number", text)));
  });
  byId("peers").replaceChildren(...(rows.length ? rows : [empty(4, "Nobody is connected.")]));
  say("peer-count", number(peers.length));
}

function showFound() {
  const rows = [...found].reverse().map((one) => {
    const gain = one.received - one.sent;
    const txid = make("span", "cut mono sub", one.txid);
    txid.title = one.txid;
    const script = make("span", "cut", one.scripts.join(", "));
    const locks = [one.instantlock === false ? "another is locked" : one.instantlock ? "InstantSend" : "",
      heights.chainlock !== null && one.height <= heights.chainlock ? "ChainLock" : ""].filter(Boolean).join(", ");
    const depth = make("td", "number", number(Math.max(0, heights.tip - one.height + 1)), make("span", "sub", locks));
    return make("tr", "", make("td", gain >= 0 ? "amount in" : "amount", amounts.format(gain / 1e8)),
      make("td", "", script, txid), make("td", "number", number(one.height)), depth);
  });
  byId("found").replaceChildren(...(rows.length ? rows : [empty(4, "Nothing was found yet.")]));
  say("found-count", rows.length ? `the newest ${rows.length}, in Dash` : "");
}

function showWarnings(warnings) {
  const rows = [...warnings].reverse().map((one) => {
    const often = one.count > 1 ? ` (${one.count} times)` : "";
    return make("li", "", make("span", "none", `${clock(one.time)} `), make("code", "", one.code), ` ${one.message}${often}`);
  });
  byId("warnings").replaceChildren(...(rows.length ? rows : [make("li", "none", "None.")]));
  say("warning-count", rows.length ? String(rows.length) : "");
}

function showNow(now) {
  light(now.active, now.name);
  mark(states, "been", now.been.states);
  mark(lines, "been", now.been.lines);
  showStep(now.step);
  const stale = heights.tip !== now.heights.tip || heights.chainlock !== now.heights.chainlock;
  heights = now.heights;
  if (stale) showFound();
  showPhases(now.phases);
  showPeers(now.peers);
  say("why", now.reason || now.search || standing(now));
  say("tip", now.heights.target > now.heights.tip ? `${number(now.heights.tip)} of ${number(now.heights.target)}` : number(now.heights.tip));
  say("chainlock", number(now.heights.chainlock));
  say("overall", `${Math.floor(now.overall)} %`);
  say("memory", `${size(now.memory)} in memory`);
  document.title = now.active.includes("synced") ? `Synced at ${number(now.heights.tip)} · phasegate` : `${Math.floor(now.overall)} % ${now.name} · phasegate`;
}

function standing(now) {
  const phase = now.phases.find((one) => one.active);
  if (phase) return pace(phase);
  if (now.active.includes("synced")) return "Everything enabled is complete and verified, for one and the same tip.";
  return "";
}

function connected(kind, text) {
  byId("link").dataset.link = kind;
  say("link", text);
}

function follow() {
  const events = new EventSource("/events");
  const on = (name, take) => events.addEventListener(name, (event) => take(JSON.parse(event.data)));
  on("hello", (hello) => {
    byId("journal").replaceChildren();
    addToJournal(hello.steps);
  });
  on("step", takeStep);
  on("now", showNow);
  on("found", (list) => {
    found = list;
    showFound();
  });
  on("warnings", showWarnings);
  on("bye", (last) => {
    showNow(last);
    connected("lost", "the client has ended");
  });
  events.onopen = () => connected("live", "live");
  events.onerror = () => {
    connected("lost", "not connected, trying again");
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
  };
}

follow();
