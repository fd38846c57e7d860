// The server that gave the page, as its API is asked.

const TRIES = 10; // of a question, while the server is busy
const LONGEST_WAIT = 60; // seconds until the next try

/** The server's no, with its reason. */
export class Refusal extends Error {
  constructor(status, { message, param = null }) {
    super(message);
    Object.assign(this, { status, param });
  }
}

function headers(key) {
  const authorization = key ? { Authorization: `Bearer ${key}` } : {};
  return { "Content-Type": "application/json", ...authorization };
}

async function refusal(response) {
  const other = { message: `the server answered with status ${response.status}` };
  const body = await response.json().catch(() => null);
  return new Refusal(response.status, body?.error?.message ? body.error : other);
}

/**
 * The chunks of the answer to a chat request. While the server is busy, it is asked again when it
 * says; `waits` is told of it, and then that it is over.
 */
export async function* answerTo(request, key, signal, waits) {
  const body = JSON.stringify({ ...request, stream: true });
  const response = await post({ method: "POST", headers: headers(key), body, signal }, waits);
  yield* chunks(response.body);
}

async function post(request, waits) {
  for (let left = TRIES; ; left--) {
    const response = await fetch("v1/chat/completions", request);
    if (response.ok) return response;
    if (response.status !== 429 || left <= 1) throw await refusal(response);
    const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_WAIT);
    waits(`The server is busy: trying again in ${seconds} s.`);
    await pause(seconds, request.signal);
    waits(null);
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** The objects of a stream of server-sent events, up to the one that ends it. */
async function* chunks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the stream ended too early");
    const events = (held + value).split("\n\n");
    held = events.pop();
    for (const event of events) {
      if (event === "data: [DONE]") return;
      if (event.startsWith("data: ")) yield JSON.parse(event.slice(6));
    }
  }
}

/** The name of the model, or null where it is not told; a refusal where a key is asked for. */
export async function modelName(key) {
  const response = await fetch("v1/models", { headers: headers(key) }).catch(() => null);
  if (response?.status === 401) throw new Refusal(401, { message: "a key is asked for" });
  return response?.ok ? (await response.json()).data[0].id : null;
}
