// Ask this server, and say in a person's words why it does not answer.

/** Hold why there is no answer: its status (0 if the server cannot be reached) and words to show. */
export class Fault extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

/** Get a route as JSON; throws Fault. */
export function get(path) {
  return ask(path, { method: "GET" });
}

/** Send JSON to a route and return its answer; throws Fault. */
export function post(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Send a mail, as text or as bytes, to be read and classified; throws Fault. */
export function postMail(content, params) {
  const headers = { "Content-Type": "message/rfc822" };
  return ask(`/mail?${new URLSearchParams(params)}`, { method: "POST", headers, body: content });
}

async function ask(path, request) {
  let answer;
  try {
    // The origin holds no user and no password, with which a browser would not fetch: http://any:token@host/ works too.
    answer = await fetch(location.origin + path, { ...request, cache: "no-store", credentials: "same-origin" });
  } catch {
    throw new Fault(0, "The server cannot be reached. Is it still running?");
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  throw new Fault(answer.status, words(answer, told));
}

function words(answer, told) {
  const said = typeof told.message === "string" ? told.message : "";
  const after = answer.headers.get("Retry-After");
  switch (answer.status) {
    case 401:
      return "This server wants its token. Reload the page, and give the token as the password.";
    case 429:
      return `The server is busy. Try again in ${after || "a few"} s.`;
    case 503:
      return `The server cannot answer now: ${said || "it is not ready"}. Try again soon.`;
    default:
      return `${said || "The server gave no reason"} (status ${answer.status})`;
  }
}
