// Let a person try a message, and watch what the server does.

import { server, watch } from "./live.js";
import { classifyMail, isMail } from "./mail.js";
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
let opened = null; // the mail file whose text is in the box

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

place("open").addEventListener("click", () => place("file").click());

place("file").addEventListener("change", () => {
  const [file] = place("file").files;
  place("file").value = ""; // so that the same file can be chosen again
  if (file) openMail(file);
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const brings = event.dataTransfer?.types.includes("Files");
    place("ask").classList.toggle("awaited", brings && kind === "dragover");
    if (!brings) return; // a text that is dragged goes where it is dropped
    event.preventDefault();
    if (kind === "drop" && event.dataTransfer.files.length) openMail(event.dataTransfer.files[0]);
  });
}

/** Have a file read as a mail, and put the text that was read into the box. */
async function openMail(file) {
  await shown(async () => classifyMail(await file.arrayBuffer(), place("keep").checked), ({ text }) => {
    message.value = text;
    opened = { file, text: message.value };
  });
}

/** Show the verdict of a text, which may be a whole mail. */
async function classify(text) {
  const keep = place("keep").checked;
  await shown(async () => {
    if (text === opened?.text) return classifyMail(await opened.file.arrayBuffer(), keep);
    if (isMail(text)) return classifyMail(text, keep);
    const params = { data_capture: keep, explain: true };
    const { predictions } = await post("/invocations", { inputs: [{ text }], params });
    return { text, prediction: predictions[0] };
  });
}

/** Show what was asked for, unless something else was asked for meanwhile. */
async function shown(asking, then = () => {}) {
  const turn = (asked += 1);
  place("send").setAttribute("aria-busy", "true");
  try {
    const answer = await asking();
    if (turn === asked) {
      then(answer);
      draw(answer);
    }
  } catch (fault) {
    if (turn === asked) refuse(fault);
  } finally {
    if (turn === asked) place("send").removeAttribute("aria-busy");
  }
  watch();
}

function draw({ text, prediction, mail }) {
  place("fault").hidden = true;
  fill(place("headline"), ...headline(prediction));
  fill(place("verdict"), ...details({ text, mail }, prediction, server.threshold, server.store));
}

function refuse(fault) {
  fill(place("headline"));
  fill(place("verdict"));
  fill(place("fault"), show(fault.message));
  place("fault").hidden = false;
}

watch();
