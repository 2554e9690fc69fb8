// Show hostile text as the characters that it is: never as markup, and with what a reader would not see spelled out.

// What spamctl.display spells out: characters that draw nothing, draw a blank, or steer what is drawn.
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]/u;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Make an element; children are nodes, or text that stays text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/**
 * Return the text as nodes, each hidden character as an escape that stands out; `lines` also breaks at line ends, and
 * `bare` lines do so without the escape.
 */
export function show(text, { lines = false } = {}) {
  const shown = document.createDocumentFragment();
  let plain = "";
  for (const character of text) {
    if (!HIDDEN.test(character) || (lines === "bare" && character === "\n")) {
      plain += character;
      continue;
    }
    shown.append(plain, element("span", { class: "hidden-character" }, spelled(character)));
    plain = lines && character === "\n" ? "\n" : "";
  }
  shown.append(plain);
  return shown;
}

/** Return a sentence as nodes; what stands between backticks is code. */
export function prose(text) {
  const nodes = document.createDocumentFragment();
  const parts = text.replace(/\s+/g, " ").split("`");
  nodes.append(...parts.map((part, index) => (index % 2 ? element("code", {}, show(part)) : show(part))));
  return nodes;
}

/** Put other content into an element. */
export function fill(place, ...children) {
  place.replaceChildren(...children);
}

/** Spell a character as Python would. */
function spelled(character) {
  const point = character.codePointAt(0);
  const digits = point.toString(16);
  if (SHORT[character]) return SHORT[character];
  if (point < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return point < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}
