// Keep the figures and the last verdicts of the server on the page.

import { feedback } from "./feedback.js";
import { clock, percent, round, short, wait } from "./numbers.js";
import { get } from "./server.js";
import { element, fill, show } from "./text.js";
import { bar, kind, named } from "./verdict.js";

const EVERY_MS = 2000;
const EVERY_MS_IN_TROUBLE = 10_000;
const POINTS = 60;

const place = (id) => document.getElementById(id);
const rates = [];
const shown = new Map();
let version = "";
let timer = 0;

/** Hold what the server told last of itself. */
export const server = { threshold: 0.5, store: "" };

/** Ask now and then again and again, while somebody looks. */
export async function watch() {
  clearTimeout(timer);
  let pause = EVERY_MS;
  try {
    const told = await get("/recent");
    await nameModel(told);
    draw(told);
    place("dot").className = "dot alive";
  } catch (fault) {
    pause = EVERY_MS_IN_TROUBLE;
    place("dot").className = "dot dead";
    fill(place("served"), show(fault.message));
    version = "";
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(watch, pause);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) watch();
});

/** Say which model answers, once for each version. */
async function nameModel({ model_name, model_version, threshold }) {
  const served = `${model_name}/${model_version}`;
  if (served === version) return;
  const { alias, engine, shadow } = await get("/version");
  const words = [`${model_name} ${model_version}`];
  if (alias) words.push(alias);
  words.push(engine, `spam from ${round(threshold)}`);
  if (shadow) words.push(`in the shadow ${shadow}`);
  fill(place("served"), show(words.join(" · ")));
  version = served;
}

function draw(told) {
  Object.assign(server, { threshold: told.threshold, store: told.captured });
  fill(place("rate"), short(told.rows_per_second));
  fill(place("share"), told.spam_share === null ? "–" : percent(told.spam_share, 0));
  fill(place("p50"), wait(told.latency_ms.p50));
  fill(place("p99"), wait(told.latency_ms.p99));
  fill(place("rows"), told.rows ? `of ${told.rows.toLocaleString("en")}` : "");
  fill(place("store"), show(told.captured));
  place("keep-label").hidden = !told.captured;
  spark(told.rows_per_second);
  list(told.verdicts);
}

/** Draw the rate since the page was opened. */
function spark(rate) {
  rates.push(rate);
  if (rates.length > POINTS) rates.shift();
  const most = Math.max(1, ...rates);
  const points = rates.map((value, index) => `${(120 * (POINTS - rates.length + index)) / (POINTS - 1)},${23 - (22 * value) / most}`);
  place("spark").firstElementChild.setAttribute("points", points.join(" "));
}

/** Bring the list up to date; a row that stays keeps its focus, and stays open. */
function list(verdicts) {
  const keys = verdicts.map(({ uuid, date }) => `${date} ${uuid}`);
  for (const [key, row] of shown) {
    if (keys.includes(key)) continue;
    row.remove();
    shown.delete(key);
  }
  let before = null;
  for (let index = verdicts.length - 1; index >= 0; index -= 1) {
    const key = keys[index];
    if (!shown.has(key)) {
      shown.set(key, row(verdicts[index]));
      place("verdicts").insertBefore(shown.get(key), before);
    }
    before = shown.get(key);
  }
  place("none").hidden = verdicts.length > 0;
}

function row({ date, text, classification, probability, uuid, model_version }) {
  const head = element(
    "summary",
    {},
    element("time", { datetime: date }, clock(date)),
    element("strong", { class: kind(classification) }, named(classification)),
    element("span", { class: "figure" }, percent(probability)),
    element("span", { class: "text", dir: "auto" }, text ? show(text) : element("em", {}, "empty")),
  );
  const opened = element("details", {}, head);
  opened.addEventListener("toggle", () => {
    if (!opened.open || opened.children.length > 1) return;
    const facts = element("p", { class: "facts" }, show(`version ${model_version} · ${uuid}`));
    opened.append(bar(probability, server.threshold, classification), feedback(uuid), facts);
  });
  return element("li", {}, opened);
}
