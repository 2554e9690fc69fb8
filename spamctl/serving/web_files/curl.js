// Write the curl lines that try a route.

import { resolved } from "./schema.js";

const FORM = "application/x-www-form-urlencoded";

/** Return one titled line an example of a route's body, or one line if it takes none. */
export function curl(api, { path, method, requestBody, parameters }, origin) {
  const content = Object.entries(resolved(api, requestBody ?? {}).content ?? {});
  const given = Object.fromEntries((parameters ?? []).map((one) => resolved(api, one)).map(({ name, example }) => [name, example]));
  const address = quoted(`${origin}${path.replace(/\{(\w+)\}/g, (place, name) => given[name] ?? place)}`);
  if (!content.length) return [{ title: "", line: method === "GET" ? `curl ${address}` : `curl -X ${method} ${address}` }];
  return content.flatMap(([kind, media]) =>
    examples(api, media).map(([title, value]) => {
      const data = kind === FORM ? String(new URLSearchParams(value)) : typeof value === "string" ? value : JSON.stringify(value);
      return { title, line: `curl ${address} \\\n  -H ${quoted(`Content-Type: ${kind}`)} \\\n  --data-binary ${quoted(data)}` };
    }),
  );
}

function examples(api, { example, examples: named, schema }) {
  if (named) {
    return Object.entries(named).map(([name, given]) => {
      const one = resolved(api, given);
      return [one.summary ?? name, one.value];
    });
  }
  const shape = schema ? resolved(api, schema) : {};
  const value = example ?? shape.example ?? shape.examples?.[0];
  return value === undefined ? [] : [["", value]];
}

/** Quote a word for a POSIX shell. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
