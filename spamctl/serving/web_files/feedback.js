// Let a person say what a message really was.

import { post } from "./server.js";
import { element, fill, show } from "./text.js";

const CHOICES = { spam: "Spam", "not spam": "Not spam" };
const OUTCOMES = { recorded: "Recorded, thank you.", unchanged: "Recorded before." };

/** Return a question with a button a label; the one that was chosen stays pressed, another one corrects it. */
export function feedback(uuid) {
  const status = element("span", { class: "quiet", role: "status" });
  const buttons = Object.entries(CHOICES).map(([label, words]) => {
    const button = element("button", { type: "button", class: "choice", "aria-pressed": "false" }, words);
    button.addEventListener("click", () => send(uuid, label, button, buttons, status));
    return button;
  });
  const question = element("span", { class: "quiet" }, "What is it really?");
  return element("div", { class: "feedback", role: "group", "aria-label": "What is it really?" }, question, ...buttons, status);
}

async function send(uuid, label, chosen, buttons, status) {
  fill(status, "…");
  try {
    const { outcome } = await post("/feedback", { uuid, label });
    for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen));
    fill(status, OUTCOMES[outcome] ?? "Recorded.");
  } catch (fault) {
    fill(status, show(fault.message));
  }
}
