// Tell a whole mail from a bare message, have the server read it, and show what it read beside the text.

import { postMail } from "./server.js";
import { element, show } from "./text.js";

const MOST_HEAD = 65_536; // characters in which the head of a mail must end
const MOST_HOSTS = 20;
const FIELD = /^[!-9;-~]{1,80}:/;
const TELLING = /^(?:from|to|subject|date|received|message-id|mime-version|return-path|delivered-to):/i;
const LINK = /https?:\/\/[^\s<>"']{1,2000}/gi;

/** Return whether a text begins as a mail does: with fields alone up to an empty line, two of which only mails have. */
export function isMail(text) {
  const [head] = text.slice(0, MOST_HEAD).split(/\r?\n\r?\n/, 1);
  const lines = head.split(/\r?\n/).filter((line, index) => !(index === 0 && line.startsWith("From ")));
  if (!lines.every((line, index) => FIELD.test(line) || (index > 0 && /^[ \t]/.test(line)))) return false;
  return lines.filter((line) => TELLING.test(line)).length >= 2;
}

/** Have a mail classified; returns the text that the server read, its prediction, and what else it found. */
export async function classifyMail(content, keep) {
  const { prediction, mail } = await postMail(content, { data_capture: keep, explain: true });
  return { text: mail.text, prediction, mail };
}

/** Return the hosts that the links of a bare message lead to, as a browser would spell them. */
export function hostsOf(text) {
  const found = new Set();
  for (const [link] of text.matchAll(LINK)) {
    if (found.size < MOST_HOSTS && URL.canParse(link)) found.add(new URL(link).hostname);
  }
  return [...found];
}

/** Return a list of what a mail says of itself, or what a bare message links to; nothing if there is nothing. */
export function facts(text, mail) {
  const rows = mail ? factsOf(mail) : [["Links to", hostsOf(text).join(", ")]];
  const told = rows.filter(([, value]) => value);
  if (!told.length) return [];
  const parts = told.flatMap(([name, value]) => [element("dt", {}, name), element("dd", { dir: "auto" }, show(value))]);
  return [element("dl", { class: "mail" }, ...parts)];
}

function factsOf(mail) {
  const name = mail.from_name && `${mail.from_name} `;
  const more = mail.hosts.length > MOST_HOSTS ? ` and ${mail.hosts.length - MOST_HOSTS} more` : "";
  return [
    ["From", mail.from_domain ? `${name}at ${mail.from_domain}` : mail.from_name],
    ["Answers go to", mail.reply_domain],
    ["Links to", mail.hosts.slice(0, MOST_HOSTS).join(", ") + more],
    ["Attached, not read", mail.attachments.join(", ")],
    ["Noted", mail.notes.join("; ")],
  ];
}
