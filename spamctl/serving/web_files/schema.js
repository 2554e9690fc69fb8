// Draw a JSON schema as an outline of names, kinds and meanings.

import { element, prose, show } from "./text.js";

const DEEPEST = 6;

/** Follow a reference into the document. */
export function resolved(api, given) {
  let here = given;
  for (let hops = 0; here.$ref && hops < DEEPEST; hops += 1) {
    here = here.$ref.slice(2).split("/").reduce((node, name) => node[name.replaceAll("~1", "/").replaceAll("~0", "~")], api);
  }
  return here;
}

/** Return a schema as nested lists. */
export function outline(api, given, depth = 0) {
  const schema = resolved(api, given);
  const ways = schema.oneOf ?? schema.anyOf;
  if (depth > DEEPEST) return show("…");
  if (ways) return element("ul", { class: "ways" }, ...ways.map((way) => element("li", {}, named(api, way), outline(api, way, depth + 1))));
  if (schema.items) return outline(api, schema.items, depth);
  const fields = Object.entries(schema.properties ?? {});
  if (!fields.length) return depth ? show("") : element("p", { class: "quiet" }, kind(api, schema));
  const needed = new Set(schema.required ?? []);
  return element("ul", { class: "fields" }, ...fields.map(([name, field]) => line(api, name, field, needed.has(name), depth)));
}

function line(api, name, field, needed, depth) {
  const what = element("span", { class: "kind" }, show([kind(api, field), needed ? "" : "optional"].filter(Boolean).join(", ")));
  const words = resolved(api, field).description;
  const meaning = words ? [" ", element("span", {}, prose(words))] : [];
  return element("li", {}, element("code", {}, show(name)), " ", what, ...meaning, outline(api, field, depth + 1));
}

/** Name one of several ways; an object is known by its fields. */
function named(api, given) {
  const way = resolved(api, given);
  return way.properties ? "" : show(way.title ?? kind(api, way));
}

/** Name the kind of a value: text, number, list of object, "spam" or "not spam". */
function kind(api, given) {
  const schema = resolved(api, given);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.oneOf ?? schema.anyOf) return "one of";
  if (schema.items) return `list of ${kind(api, schema.items)}`;
  return [schema.type ?? "anything"].flat().join(" or ").replace("string", "text").replace("array", "list");
}
