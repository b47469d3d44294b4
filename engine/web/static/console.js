"use strict";
// One page, refreshed every two seconds. All text goes in as text nodes: nothing that a node or an event says becomes markup.
const EVERY_MS = 2000;     // as often as the engine asks the nodes
const OLD_S = 10;          // older than this is said to be old (the engine counts a node as silent then)
let lastGood = null;       // performance.now() of the last answer

const at = id => document.getElementById(id);
const put = (id, text, kind) => { const e = at(id); e.textContent = text; e.classList.remove("good", "warn", "bad"); if (kind) e.classList.add(kind); };
const age = s => s === null ? "never heard" : s < 90 ? `${Math.round(s)} s ago` : `${Math.round(s / 60)} min ago`;
const size = b => {
  if (b === null) return "–";
  let unit = 0;
  for (; b >= 1024 && unit < 4; unit++) b /= 1024;
  return `${b.toFixed(b < 10 && unit ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
};

function cell(content, kind) {
  const td = document.createElement("td");
  if (content instanceof Node) td.append(content); else td.textContent = content === null ? "–" : content;
  if (kind) td.className = kind;
  return td;
}
function mark(text, kind) {
  const span = document.createElement("span");
  span.className = `mark ${kind}`;
  span.textContent = text;
  return span;
}
function share(used, total) {
  const box = document.createElement("span");
  box.className = "nowrap";
  if (used === null || !total) { box.textContent = "–"; return box; }
  const meter = document.createElement("meter");
  meter.min = 0; meter.max = total; meter.high = total * 0.9; meter.value = used;
  box.append(meter, `${size(used)} of ${size(total)}`);
  return box;
}
function rows(id, list, make) {
  const body = document.createElement("tbody");
  for (const item of list) {
    const row = document.createElement("tr");
    row.append(...make(item, row));
    body.append(row);
  }
  at(id).tBodies[0].replaceWith(body);
}

function node(item, row) {
  const old = item.age_s === null || item.age_s >= OLD_S;
  if (old) row.className = "old";
  const kind = { up: "good", initializing: "warn" }[item.status] || "bad";
  const state = document.createElement("span");
  state.append(mark(item.status.replace("_", " "), kind));
  if (old) state.append(` last heard ${age(item.age_s)}`);
  const name = document.createElement("span");
  name.append(item.name);
  if (item.engine_here) name.append(" ", mark("engine", "good"));
  return [cell(name, "nowrap"), cell(state), cell(item.address, "nowrap"),
    cell(item.cpu_percent === null ? null : `${item.cpu_percent.toFixed(0)} %`, "number"),
    cell(share(item.memory_used_bytes, item.memory_total_bytes)), cell(item.score, "number"), cell(item.decision || "–")];
}
function volume(item) {
  const all = item.bricks_online === item.bricks;
  return [cell(item.name, "nowrap"), cell(mark(item.status, item.status === "Started" ? "good" : "bad")),
    cell(`${item.bricks_online} of ${item.bricks}`, all ? "number" : "number bad"),
    cell(item.heal_known ? String(item.heal_pending) : `at least ${item.heal_pending}`, "number"),
    cell(share(item.used_bytes, item.size_bytes)),
    cell(item.safe ? mark("yes", "good") : Object.assign(mark("no", "bad"), { title: item.reasons.join("\n") }))];
}
function event(item) {
  const text = document.createElement("span");
  if (item.severity !== "normal") text.append(mark(item.severity, item.severity === "warning" ? "warn" : "bad"), " ");
  text.append(item.text);
  return [cell(new Date(item.time_ms).toLocaleString(), "nowrap quiet"), cell(text)];
}

function show(data) {
  const { engine, nodes, storage } = data;
  const up = nodes.filter(one => one.status === "up").length;
  put("engine-host", `on ${engine.host}`);
  const since = engine.since_ms ? `, since ${new Date(engine.since_ms).toLocaleString()}` : "";
  put("engine-text", `epoch ${engine.epoch}${since}${engine.maintenance === "global" ? ", global maintenance" : ""}`);
  put("nodes-up", `${up} of ${nodes.length} up`, up === nodes.length ? "good" : "bad");
  put("nodes-text", nodes.filter(one => one.status !== "up").map(one => `${one.name}: last heard ${age(one.age_s)}`).join(", ") || "all answer");
  const stale = storage.age_s === null || storage.age_s >= 3 * OLD_S;
  const safe = storage.safe === null ? "not known" : storage.safe ? "safe" : "at risk";
  put("storage-safe", stale && storage.safe !== null ? `was ${safe}` : safe, stale || storage.safe === null ? "warn" : storage.safe ? "good" : "bad");
  put("storage-text", storage.verdict + (stale && storage.age_s !== null ? ` (last heard ${age(storage.age_s)})` : ""));
  rows("nodes", nodes, node);
  rows("volumes", storage.volumes, volume);
  rows("events", data.events, event);
  const alarm = at("alarm");
  alarm.hidden = !engine.superseded;
  alarm.textContent = engine.superseded ? "A newer engine has been started elsewhere. What this page shows is not true any more." : "";
}

function freshness() {
  const age_s = lastGood === null ? null : (performance.now() - lastGood) / 1000;
  if (age_s === null) put("freshness", "waiting for the engine …");
  else if (age_s < 3 * EVERY_MS / 1000) put("freshness", "live");
  else put("freshness", `The engine does not answer. This is how it was ${age(age_s)}.`, "bad");
}

async function turn() {
  try {
    const answer = await fetch("/api/v1/overview", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (answer.status === 401) { location.reload(); return; }
    if (answer.ok) { show(await answer.json()); lastGood = performance.now(); }
  } catch (error) {
    console.info("no answer", error);
  }
  freshness();
  setTimeout(turn, EVERY_MS);
}
setInterval(freshness, 1000);
turn();
