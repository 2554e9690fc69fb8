// Explain the routes of the server, from its own OpenAPI document.

import { curl } from "./curl.js";
import { outline, resolved } from "./schema.js";
import { get } from "./server.js";
import { element, fill, show } from "./text.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const place = (id) => document.getElementById(id);

async function main() {
  try {
    draw(await get("/openapi.json"));
  } catch (fault) {
    fill(place("fault"), show(fault.message));
    place("fault").hidden = false;
  }
}

function draw(api) {
  fill(place("title"), show(api.info.title));
  fill(place("lead"), ...paragraphs(api.info.description ?? api.info.summary));
  fill(place("about"), show(`version ${api.info.version}`));
  const routes = Object.entries(api.paths).flatMap(([path, operations]) =>
    METHODS.filter((method) => operations[method]).map((method) => ({
      ...operations[method],
      path,
      method: method.toUpperCase(),
      parameters: [...(operations.parameters ?? []), ...(operations[method].parameters ?? [])],
      id: `${method}${path.replace(/[^a-z]+/gi, "-")}`,
    })),
  );
  fill(place("contents"), element("ul", {}, ...routes.map(entry)));
  place("routes").append(...routes.map((route) => section(api, route)));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function entry(route) {
  return element("li", {}, element("a", { href: `#${route.id}` }, ...name(route)));
}

function name({ method, path }) {
  return [element("span", { class: "method" }, method), " ", show(path)];
}

function section(api, route) {
  const made = element("section", { class: "route", id: route.id, "aria-labelledby": `${route.id}-title` });
  made.append(element("h2", { id: `${route.id}-title` }, ...name(route)));
  if (route.summary) made.append(element("p", { class: "summary" }, show(route.summary)));
  made.append(...paragraphs(route.description).map((words) => element("p", {}, words)));
  made.append(...parameters(api, route), ...body(api, route), ...command(api, route), ...answers(api, route));
  return made;
}

/** Return the paragraphs of a description, each as one node. */
function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).filter(Boolean).map((words) => show(words.replace(/\s+/g, " ")));
}

function parameters(api, route) {
  if (!route.parameters.length) return [];
  const rows = route.parameters.map((given) => {
    const one = resolved(api, given);
    const kind = [one.in, one.required ? "required" : "optional"].join(", ");
    return [element("code", {}, show(one.name)), show(kind), show(one.description ?? "")];
  });
  return [element("h3", {}, "Parameters"), table(["Name", "Where", "What"], rows)];
}

function body(api, route) {
  const content = resolved(api, route.requestBody ?? {}).content ?? {};
  return Object.entries(content).flatMap(([kind, { schema }]) => [
    element("h3", {}, "Body ", element("code", {}, show(kind))),
    outline(api, schema ?? {}),
  ]);
}

function command(api, route) {
  const lines = curl(api, route, location.origin);
  return [
    element("h3", {}, "Try it"),
    ...lines.map(({ title, line }) => {
      const copy = element("button", { type: "button", class: "copy" }, "Copy");
      copy.addEventListener("click", () => copied(copy, line));
      const words = title ? [element("p", { class: "quiet" }, show(title))] : [];
      return element("div", { class: "command" }, ...words, element("pre", { tabindex: "0" }, show(line)), copy);
    }),
  ];
}

async function copied(button, line) {
  try {
    await navigator.clipboard.writeText(line);
    fill(button, "Copied");
  } catch {
    fill(button, "Not allowed");
  }
  setTimeout(() => fill(button, "Copy"), 1500);
}

function answers(api, route) {
  const rows = Object.entries(route.responses ?? {}).map(([status, given]) => {
    const answer = resolved(api, given);
    const kinds = Object.entries(answer.content ?? {}).map(([kind, { schema }]) => {
      const title = element("summary", {}, element("code", {}, show(kind)));
      return schema && kind.includes("json") ? element("details", {}, title, outline(api, schema)) : element("code", {}, show(kind));
    });
    const shade = status < "400" ? "is-fine" : "is-fault";
    return [element("code", { class: shade }, show(status)), element("span", {}, show(answer.description ?? ""), ...kinds)];
  });
  return [element("h3", {}, "Answers"), table(["Status", "Meaning"], rows)];
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((words) => element("th", { scope: "col" }, words)));
  const lines = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines));
}

main();
