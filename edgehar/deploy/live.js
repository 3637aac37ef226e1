"use strict";
// One picture a second comes as a server-sent event; all text is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const at = (name) => document.getElementById(name);
const rows = new Map();  // "wearer/placement" as JSON -> {row, stretches, parts}
let chosen = null, source = null, paused = false, heard = 0, picture = null, said = "";

// ------------------------------------------------------------------ the connection

function connect() {
  if (source) source.close();
  const asked = new URLSearchParams();
  if (at("find").value) asked.set("find", at("find").value);
  if (chosen) { asked.set("wearer", chosen[0]); asked.set("placement", chosen[1]); }
  source = new EventSource("events?" + asked);
  source.onmessage = (event) => { heard = Date.now(); picture = JSON.parse(event.data); take(); };
}

function look() {
  const silent = (Date.now() - heard) / 1000;
  const lost = heard > 0 && silent > 4;
  at("banner").hidden = !lost;
  if (lost) at("banner").textContent = "No word from the gateway for " + age(silent) + ". What stands below is old.";
}

function take() {
  picture.rows.forEach(remember);
  if (!paused) draw();
}

function remember(row) {
  const key = JSON.stringify([row.wearer, row.placement]);
  const each = rows.get(key) || { stretches: [], parts: null };
  each.row = row;
  for (const stretch of row.stretches) {
    const before = each.stretches.findIndex((old) => old[1] === stretch[1]);
    if (before >= 0) each.stretches[before] = stretch; else each.stretches.push(stretch);
  }
  each.stretches = each.stretches.filter((old) => old[2] > picture.now_s - picture.span_s);
  rows.set(key, each);
}

// ------------------------------------------------------------------ words

function age(seconds) {
  if (seconds === null) return "never";
  if (seconds < 10) return (seconds ? seconds.toFixed(1) : "0") + " s";
  if (seconds < 100) return Math.round(seconds) + " s";
  return seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
}

const whole = (number) => Number(number).toLocaleString("en");
const words = (text) => String(text).replace(/_/g, " ");
const task = () => Object.keys(picture.tasks)[0];
const name = (row) => row.wearer || "the wearer";
const share = (part) => Math.round(100 * part) + " %";

function hue(label) {
  const place = picture.tasks[task()].indexOf(label);
  if (place < 0) return "unknown";
  return "k" + place % 10 + (place >= 10 ? " again" : "");
}

function doubts(row) {  // what must be known beside a label, in words
  const found = [];
  if (row.label && row.label[task()] === "unknown") found.push("perhaps " + words(row.raw_label[task()]));
  if (row.status !== "ok") found.push(words(row.status));
  if (row.quality !== undefined && row.quality < 0.995) found.push(share(1 - row.quality) + " of samples filled in");
  if (row.staleness_s > 0) found.push("ends " + age(row.staleness_s) + " after the last sample");
  return found;
}

// ------------------------------------------------------------------ drawing

function make(kind, parent, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function shape(kind, parent, attributes) {
  const made = document.createElementNS(SVG, kind);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  parent.append(made);
  return made;
}

function write(element, text) {  // only what changed, so that a screen reader's place is kept
  if (element.textContent !== text) element.textContent = text;
}

function list(parent, pairs) {
  pairs.forEach(([term, value, warned], number) => {
    const dt = parent.children[2 * number] || make("dt", parent);
    const dd = parent.children[2 * number + 1] || make("dd", parent);
    write(dt, term);
    write(dd, String(value));
    dd.className = warned ? "warned" : "";
  });
  while (parent.children.length > 2 * pairs.length) parent.lastChild.remove();
}

function draw() {
  write(at("model"), picture.model);
  document.title = picture.model + ", live";
  at("marks").hidden = !picture.marks;
  write(at("marks"), picture.marks);
  drawFacts();
  drawLegend();
  drawRows();
  drawOne();
  drawHealth();
}

function drawFacts() {
  const health = picture.health, lost = Object.values(picture.lost).reduce((a, b) => a + b, 0);
  const facts = [[whole(picture.count.ok || 0), "of " + whole(picture.of) + (picture.of === 1 ? " wearer well" : " wearers well")],
                 [whole(health.decisions || 0), "decisions"], [whole(lost), "windows lost"],
                 [words(health.status || "…"), "status"]];
  facts.forEach(([value, what], number) => {
    const item = at("facts").children[number] || make("li", at("facts"));
    if (!item.children.length) { make("b", item); make("span", item); }
    write(item.children[0], value);
    write(item.children[1], what);
  });
}

function drawLegend() {
  const labels = [...picture.tasks[task()], "unknown"];
  const seen = new Set();
  rows.forEach((each) => each.stretches.forEach((stretch) => seen.add(stretch[0])));
  const shown = labels.filter((label) => seen.has(label));
  const legend = at("legend");
  if (legend.dataset.of === shown.join()) return;
  legend.dataset.of = shown.join();
  legend.replaceChildren(...shown.map((label) => make("li", null, hue(label), words(label))));
}

function drawRows() {
  write(at("span"), String(Math.round(picture.span_s / 60)));
  const find = at("find").value.toLowerCase();
  const shown = picture.rows.filter((row) => row.wearer.toLowerCase().includes(find))
    .map((row) => JSON.stringify([row.wearer, row.placement]));
  shown.forEach((key, number) => {
    const each = rows.get(key);
    if (!each.parts) each.parts = newRow(key);
    drawRow(each);
    const body = at("rows");
    if (body.children[number] !== each.parts.line) body.insertBefore(each.parts.line, body.children[number] || null);
  });
  while (at("rows").children.length > shown.length) at("rows").lastChild.remove();
  at("more").hidden = picture.found <= shown.length;
  write(at("more"), whole(shown.length) + " of " + whole(picture.found) + " are shown; find others by name.");
  if (!shown.length) { at("more").hidden = false; write(at("more"), "Nobody of that name."); }
}

function newRow(key) {
  const line = make("tr"), head = make("th", line);
  head.scope = "row";
  const button = make("button", head);
  button.type = "button";
  button.addEventListener("click", () => choose(JSON.parse(key)));
  const who = make("span", button), where = make("small", button);
  const cell = make("td", line), now = make("span", cell, "now"), beside = make("small", cell);
  const sure = make("td", line, "n"), aged = make("td", line, "n aged"), past = make("td", line, "past");
  const picture = shape("svg", past, { viewBox: "0 0 1000 22", preserveAspectRatio: "none", role: "img" });
  return { line, button, who, where, now, beside, sure, aged, picture };
}

function drawRow(each) {
  const { row, parts } = each;
  const label = row.label ? row.label[task()] : "";
  const others = row.label ? Object.keys(row.label).slice(1).map((other) => words(row.label[other])) : [];
  write(parts.who, name(row));
  write(parts.where, row.placement);
  parts.where.hidden = !row.placement;
  parts.button.setAttribute("aria-pressed", String(isChosen(row)));
  parts.line.className = row.status === "ok" ? "" : "off";
  write(parts.now, label ? words(label) : "nothing yet");
  parts.now.className = "now " + hue(label);
  const doubtful = doubts(row);
  write(parts.beside, [...others, ...doubtful].join("; "));
  parts.beside.className = doubtful.length ? "warned" : "";
  write(parts.sure, label ? share(row.confidence[task()]) : "–");
  write(parts.aged, row.decided_age_s === null ? "never" : age(row.decided_age_s) + " ago");
  drawPast(each);
}

function drawPast({ row, parts, stretches }) {
  const box = parts.picture, from = picture.now_s - picture.span_s, scale = 1000 / picture.span_s;
  const lasted = {};
  box.replaceChildren();
  for (let minute = 1; minute * 60 < picture.span_s; minute++) {
    const x = 1000 - 60 * minute * scale;
    shape("line", box, { x1: x, x2: x, y1: 0, y2: 22 });
  }
  stretches.forEach(([label, begin, last], number) => {
    const next = number + 1 < stretches.length ? stretches[number + 1][1] : picture.now_s;
    const end = Math.min(next, last + 1.5 * picture.hop_s);
    const x = Math.max(0, (begin - from) * scale);
    shape("rect", box, { x, width: Math.max(0.5, (end - from) * scale - x), y: 0, height: 22, class: hue(label) });
    lasted[label] = (lasted[label] || 0) + end - Math.max(begin, from);
  });
  const told = Object.entries(lasted).sort((a, b) => b[1] - a[1]).map(([label, s]) => words(label) + " " + age(s));
  box.setAttribute("aria-label", name(row) + ": " + (told.join(", ") || "nothing"));
}

// ------------------------------------------------------------------ one wearer

const isChosen = (row) => chosen !== null && row.wearer === chosen[0] && row.placement === chosen[1];

function choose(who) {
  chosen = who;
  said = "";
  connect();
  draw();
  if (window.matchMedia("(max-width: 900px)").matches) at("one").focus();
}

function drawOne() {
  const row = picture.rows.find(isChosen);
  at("one-shown").hidden = !row;
  at("one-hint").hidden = Boolean(row);
  if (!row) { write(at("one-title"), chosen ? chosen[0] + " is not there" : "Nobody is chosen"); return; }
  const label = row.label ? row.label[task()] : "";
  write(at("one-title"), name(row) + (row.placement ? ", " + row.placement : ""));
  write(at("one-label"), label ? words(label) : "nothing yet");
  write(at("one-sure"), label ? ["confidence " + share(row.confidence[task()]), ...doubts(row)].join("; ") : "");
  tell(name(row) + ": " + (label ? words(label) : "nothing yet"));
  const lost = Object.entries(row.lost).map(([reason, count]) => [reason + ", windows lost", whole(count), true]);
  list(at("one-facts"), [
    ["last decision", row.decided_age_s === null ? "never" : age(row.decided_age_s) + " ago"],
    ["last sample heard", row.heard_age_s === null ? "never" : age(row.heard_age_s) + " ago"],
    ["samples that came", row.quality === undefined ? "–" : share(row.quality), row.quality < 0.995],
    ["stale by", row.staleness_s === undefined ? "–" : age(row.staleness_s), row.staleness_s > 0],
    ["decisions", whole(row.decisions)], ["gaps", whole(row.gaps)], ...lost,
    ...(row.status === "ok" ? [] : [["status", words(row.status), true]]),
    ...(row.problem ? [["last problem", row.problem, true]] : [])]);
  drawSignal();
  drawChanges(rows.get(JSON.stringify(chosen)).stretches);
}

function tell(sentence) {  // to a screen reader: only what changed of the one who is chosen
  if (sentence !== said) { said = sentence; at("told").textContent = sentence; }
}

function drawSignal() {
  const box = at("signal"), values = picture.signal || [];
  box.replaceChildren();
  const all = values.flat();
  if (!values.length) { write(at("signal-title"), "No samples now"); at("channels").replaceChildren(); return; }
  const low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
  const y = (value) => 172 - 164 * (value - low) / span;
  const units = [...new Set(picture.channels.map((channel) => channel.unit))].join(", ");
  write(at("signal-title"), "Signal, the last " + picture.signal_s.toFixed(1) + " s: from " + low.toPrecision(3) + " to " + high.toPrecision(3) + " " + units);
  if (low < 0 && high > 0) shape("line", box, { x1: 0, x2: 600, y1: y(0), y2: y(0) });
  values.forEach((column, number) => {
    const points = column.map((value, place) => (600 * place / Math.max(1, column.length - 1)).toFixed(1) + "," + y(value).toFixed(1));
    shape("polyline", box, { points: points.join(" "), class: "k" + number % 10 });
  });
  const legend = at("channels");
  if (legend.children.length !== values.length) {
    legend.replaceChildren(...values.map((_, number) => make("li", null, "k" + number % 10, picture.channels[number].name)));
  }
}

function drawChanges(stretches) {
  const newest = stretches.slice(-8).reverse(), parent = at("changes");
  newest.forEach(([label, begin], number) => {
    const item = parent.children[number] || make("li", parent);
    if (!item.children.length) { make("time", item); make("span", item); }
    const moment = new Date(1000 * begin);
    item.children[0].dateTime = moment.toISOString();
    write(item.children[0], moment.toTimeString().slice(0, 8));
    write(item.children[1], words(label));
  });
  while (parent.children.length > newest.length) parent.lastChild.remove();
}

// ------------------------------------------------------------------ health

function drawHealth() {
  const health = picture.health, counted = ["decisions", "changes", "late", "missed", "gaps", "refused", "starts"];
  const pairs = [["status", words(health.status || "…"), health.status !== "ok"]];
  for (const key of counted) if (typeof health[key] === "number") pairs.push([words(key), whole(health[key])]);
  for (const line of health.lines || []) {
    pairs.push([line.name + ", waiting", whole(line.waiting), line.stuck]);
    if (line.problem) pairs.push([line.name, line.problem, true]);
  }
  for (const status in picture.count) pairs.push(["wearers " + words(status), whole(picture.count[status])]);
  list(at("health"), pairs);
  const lost = Object.entries(picture.lost).map(([reason, count]) => [reason + ", windows", whole(count)]);
  const dropped = Object.entries((health.samples || {}).dropped || {}).map(([reason, count]) => [reason + ", samples", whole(count)]);
  const unsent = (health.lines || []).filter((line) => line.dropped).map((line) => [line.name + ", given up", whole(line.dropped)]);
  const found = [...lost, ...dropped, ...unsent];
  list(at("lost"), found.length ? found : [["nothing", ""]]);
}

// ------------------------------------------------------------------ the visitor

let waiting = 0;
at("find").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(connect, 300); });
at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  if (!paused && picture) draw();
});
setInterval(look, 1000);
connect();
