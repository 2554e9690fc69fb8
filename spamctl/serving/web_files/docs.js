// Explain the routes of the server, from its own OpenAPI document.

import { curl } from "./curl.js";
import { outline, resolved } from "./schema.js";
import { get } from "./server.js";
import { element, fill, prose, show } from "./text.js";

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
  const every = shared(routes);
  fill(place("contents"), element("ul", {}, ...[...routes, every].map(entry)));
  place("routes").append(...routes.map((route) => section(api, without(route, every))), section(api, every));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

/** Return what every route takes and may answer, as a route of its own: it is told once. */
function shared(routes) {
  const same = (pick) => (one) => routes.every((route) => pick(route).some((other) => alike(one, other)));
  const parameters = routes[0].parameters.filter(same((route) => route.parameters));
  const responses = Object.fromEntries(answersOf(routes[0]).filter(same(answersOf)));
  return { id: "every-route", title: "Every route", parameters, responses };
}

/** Return a route less what every route has. */
function without(route, every) {
  const own = (given, common) => given.filter((one) => !common.some((other) => alike(one, other)));
  const responses = Object.fromEntries(own(answersOf(route), answersOf(every)));
  return { ...route, parameters: own(route.parameters, every.parameters), responses };
}

function answersOf(route) {
  return Object.entries(route.responses ?? {});
}

/** Tell whether two parameters, or two answers, say the same; an answer's body may have the form of another wire. */
function alike(one, other) {
  const said = (given) => JSON.stringify(Array.isArray(given) ? [given[0], given[1].description] : given);
  return said(one) === said(other);
}

function entry(route) {
  return element("li", {}, element("a", { href: `#${route.id}` }, ...name(route)));
}

function name({ title, method, path }) {
  return title ? [element("span", { class: "plain" }, title)] : [element("span", { class: "method" }, method), " ", show(path)];
}

function section(api, route) {
  const made = element("section", { class: "route", id: route.id, "aria-labelledby": `${route.id}-title` });
  made.append(element("h2", { id: `${route.id}-title` }, ...name(route)));
  if (route.summary) made.append(element("p", { class: "summary" }, show(route.summary)));
  made.append(...paragraphs(route.description).map((words) => element("p", {}, words)));
  made.append(...command(api, route), ...access(api, route), ...parameters(api, route), ...body(api, route), ...answers(api, route));
  return made;
}

/** Return the paragraphs of a description, each as one node. */
function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).filter(Boolean).map(prose);
}

function parameters(api, route) {
  if (!route.parameters.length) return [];
  const rows = route.parameters.map((given) => {
    const one = resolved(api, given);
    const kind = [one.in, one.required ? "required" : "optional"].join(", ");
    return [element("code", {}, show(one.name)), show(kind), prose(one.description ?? "")];
  });
  return [element("h3", {}, "Parameters"), table(["Name", "Where", "What"], rows)];
}

function body(api, route) {
  const content = resolved(api, route.requestBody ?? {}).content ?? {};
  return Object.entries(content).flatMap(([kind, { schema }]) => [
    element("h3", {}, "Body ", element("code", {}, show(kind))),
    folded(api, schema ?? {}),
  ]);
}

/** Fold a body that may be written in several ways; the examples tell enough to begin with. */
function folded(api, schema) {
  const drawn = outline(api, schema);
  const { oneOf, description } = resolved(api, schema);
  return oneOf ? element("details", {}, element("summary", {}, show(description ?? "Every spelling")), drawn) : drawn;
}

/** Tell how to show the token, if the server wants one. */
function access(api, route) {
  if (route.path) return [];
  const ways = Object.values(api.components?.securitySchemes ?? {});
  if (!ways.length) return [];
  const rows = ways.map((way) => element("li", {}, element("code", {}, show(way.scheme ?? way.type)), " ", prose(way.description ?? "")));
  return [element("h3", {}, "If the server has a token"), element("ul", { class: "fields" }, ...rows)];
}

function command(api, route) {
  if (!route.path) return [];
  const lines = curl(api, route, location.origin);
  return [
    element("h3", {}, "Try it"),
    ...lines.map(({ title, line }) => {
      const copy = element("button", { type: "button", class: "copy" }, "Copy");
      copy.addEventListener("click", () => copied(copy, line));
      const words = title ? [element("p", { class: "quiet" }, show(title))] : [];
      return element("div", { class: "command" }, ...words, element("pre", { tabindex: "0" }, line), copy);
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
  if (!answersOf(route).length) return [];
  const rows = answersOf(route).map(([status, given]) => {
    const answer = resolved(api, given);
    const kinds = Object.entries(answer.content ?? {}).map(([kind, { schema }]) => {
      const title = element("summary", {}, element("code", {}, show(kind)));
      return schema && kind.includes("json") ? element("details", {}, title, outline(api, schema)) : element("code", {}, show(kind));
    });
    const shade = status < "400" ? "is-fine" : "is-fault";
    return [element("code", { class: shade }, show(status)), element("span", {}, prose(answer.description ?? ""), ...kinds)];
  });
  return [element("h3", {}, "Answers"), table(["Status", "Meaning"], rows)];
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((words) => element("th", { scope: "col" }, words)));
  const lines = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines));
}

main();
