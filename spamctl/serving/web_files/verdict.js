// Draw one verdict: the word, how sure the model is, and which words pushed it there.

import { feedback } from "./feedback.js";
import { facts } from "./mail.js";
import { percent, round, signed } from "./numbers.js";
import { element, show } from "./text.js";

const MOST_STRONGEST = 5;
const MOST_LETTERS = 40;
const WEAK = 0.05; // in log-odds; less is noise to a reader
const NAMES = { spam: "Spam", "not spam": "Not spam" };

/** Name a classification as a heading does. */
export function named(classification) {
  return NAMES[classification] ?? classification;
}

/** Return the class that colours a classification. */
export function kind(classification) {
  return classification === "spam" ? "is-spam" : "is-fine";
}

/** Return the verdict in words, short enough to be read aloud. */
export function headline({ classification, probability }) {
  return [
    element("strong", { class: kind(classification) }, named(classification)),
    element("span", { class: "sure" }, `${percent(probability)} likely to be spam`),
  ];
}

/** Return a bar of the probability with the threshold marked. */
export function bar(probability, threshold, classification) {
  const words = `probability of spam ${percent(probability)}, threshold ${round(threshold)}`;
  const filled = element("span", { class: "filled" });
  const mark = element("span", { class: "mark-at" });
  const label = element("span", { class: "mark-label" }, `spam from ${round(threshold)}`);
  filled.style.setProperty("--at", probability);
  for (const part of [mark, label]) part.style.setProperty("--at", threshold);
  label.classList.toggle("leftwards", threshold > 0.5);
  return element("div", { class: `bar ${kind(classification)}`, role: "img", "aria-label": words }, filled, mark, label);
}

/** Return all that is known of an answer to a text, and of the mail that the text was read from. */
export function details({ text, mail }, answer, threshold, store) {
  const reach = answer.in_reach === false ? "out of reach" : "in reach";
  const where = answer.captured ? `kept in ${store}` : "not kept";
  const parts = [bar(answer.probability, threshold, answer.classification)];
  if (answer.in_reach === false) parts.push(element("p", { class: "note" }, "Out of reach: unlike the training data."));
  if (answer.captured) parts.push(feedback(answer.uuid));
  parts.push(...facts(text, mail), ...explained(text, answer.explanation ?? [], mail ? "bare" : true));
  if (answer.truncated) parts.push(element("p", { class: "note" }, "Longer than the model reads: its end did not count."));
  const told = [`version ${answer.model_version}`, reach, where, answer.uuid];
  parts.push(element("p", { class: "facts" }, show(told.join(" · "))));
  return parts;
}

/** Return the message with its words tinted by their push, broken into its lines, and the strongest in figures. */
function explained(text, words, lines) {
  const strongest = Math.max(1, ...words.map(({ push }) => Math.abs(push)));
  const letters = Array.from(text); // offsets count code points
  const shown = element("p", { class: "message", dir: "auto" });
  let at = 0;
  for (const word of words) {
    shown.append(show(letters.slice(at, word.start).join(""), { lines }));
    shown.append(tinted(letters.slice(word.start, word.end).join(""), word.push, strongest, lines));
    at = word.end;
  }
  shown.append(show(letters.slice(at).join(""), { lines }));
  return [shown, ...ranking(words, strongest)];
}

function tinted(text, push, strongest, lines) {
  const words = show(text, { lines: lines === "bare" && lines });
  if (Math.abs(push) < WEAK) return words;
  const tint = element("mark", { class: push > 0 ? "is-spam" : "is-fine" }, words);
  tint.style.setProperty("--weight", Math.abs(push) / strongest);
  return tint;
}

/** Return the words that pushed most, the strongest first. */
function ranking(words, strongest) {
  const ranked = words.filter(({ push }) => Math.abs(push) >= WEAK).sort((a, b) => Math.abs(b.push) - Math.abs(a.push));
  if (!ranked.length) return [];
  const rows = ranked.slice(0, MOST_STRONGEST).map(({ word, push }) => {
    const side = push > 0 ? "is-spam" : "is-fine";
    const length = element("span", { class: `push ${side}`, "aria-hidden": "true" });
    length.style.setProperty("--weight", Math.abs(push) / strongest);
    const letters = Array.from(word);
    const cut = letters.length > MOST_LETTERS ? `${letters.slice(0, MOST_LETTERS).join("")}…` : word;
    const figure = element("span", { class: "figure" }, signed(push));
    return element("li", {}, element("span", { class: "word", dir: "auto" }, show(cut)), length, figure);
  });
  const title = element("h2", {}, "What pushed it");
  const help = "In log-odds: the score less the score without the word. Above 0 pushes towards spam.";
  return [title, element("ol", { class: "pushes" }, ...rows), element("p", { class: "quiet" }, help)];
}
