// Let a person try a message, and watch what the server does.

import { server, watch } from "./live.js";
import { post } from "./server.js";
import { fill, show } from "./text.js";
import { details, headline } from "./verdict.js";

const EXAMPLES = {
  prize: "Congratulations! Your number was drawn for a £900 voucher. Call 0906 555 0142 before Friday to claim. 150p a minute.",
  parcel: "Your parcel is waiting. Pay the 1.99 customs fee within 24 hours: http://parcel-fee.example/pay",
  friend: "Running ten minutes late, save me a seat? I have the tickets with me.",
};

const place = (id) => document.getElementById(id);
const message = place("message");
let asked = 0;

place("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  classify(message.value);
});

message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  place("ask").requestSubmit();
});

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => {
    message.value = EXAMPLES[button.dataset.example];
    place("ask").requestSubmit();
  });
}

/** Show the verdict of a text, unless another one was asked for meanwhile. */
async function classify(text) {
  const turn = (asked += 1);
  place("send").setAttribute("aria-busy", "true");
  try {
    const params = { data_capture: place("keep").checked, explain: true };
    const { predictions } = await post("/invocations", { inputs: [{ text }], params });
    if (turn === asked) draw(text, predictions[0]);
  } catch (fault) {
    if (turn === asked) refuse(fault);
  } finally {
    if (turn === asked) place("send").removeAttribute("aria-busy");
  }
  watch();
}

function draw(text, answer) {
  place("fault").hidden = true;
  fill(place("headline"), ...headline(answer));
  fill(place("verdict"), ...details(text, answer, server.threshold, server.store));
}

function refuse(fault) {
  fill(place("headline"));
  fill(place("verdict"));
  fill(place("fault"), show(fault.message));
  place("fault").hidden = false;
}

watch();
