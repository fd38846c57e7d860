// The chat at "/": asks the server that gave it, and draws branches side by side while they are
// written. What a model writes is text: it enters the page through text nodes and never as HTML.

const TRIES = 10; // of a question, while the server is busy
const LONGEST_WAIT = 60; // seconds until the next try
const NEAR = 80; // pixels from the end of the page within which it follows what is written

const find = (id) => document.getElementById(id);
const [turnList, said, ask, question] = ["turns", "said", "ask", "question"].map(find);
const [keyForm, secret, send, stop] = ["key", "secret", "send", "stop"].map(find);

let key = ""; // of the API, in memory only
let turns = []; // of the conversation
let running = null; // AbortController of the answer under way
let follows = true; // whether the page scrolls with what is written

function make(name, kind = "", text = "") {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.textContent = text;
  return element;
}

function button(text, act) {
  const made = make("button", "", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** What a lane has written, texts and blocks in their order, and the element in which it grows. */
class Lane {
  parts = [];

  constructor(shown) {
    this.shown = shown;
    shown.dir = "auto";
    this.writes = true;
  }

  set writes(on) {
    this.shown.classList.toggle("writes", on);
  }

  write(text, { shows = true } = {}) {
    if (typeof this.parts.at(-1) === "string") this.parts[this.parts.length - 1] += text;
    else this.parts.push(text);
    if (!shows) return;
    let end = this.shown.lastChild;
    if (!(end instanceof Text)) {
      text = text.trimStart(); // a new box stands for the line breaks before it
      if (!text) return;
      end = this.shown.appendChild(new Text());
    }
    end.appendData(text);
  }

  /** Forks into a lane for each title; gives them. */
  fork(titles) {
    const block = this.shown.appendChild(make("div", "block"));
    const lanes = titles.map((title) => {
      const branch = block.appendChild(make("div", "branch"));
      branch.setAttribute("role", "group");
      branch.setAttribute("aria-label", title);
      branch.appendChild(make("p", "title", title)).dir = "auto";
      return new Lane(branch.appendChild(make("div", "text")));
    });
    this.parts.push(lanes);
    this.writes = false;
    return lanes;
  }

  /** All that this lane and those that fork from it have written, in document order. */
  get text() {
    const texts = this.parts.map((part) =>
      typeof part === "string" ? part : part.map((lane) => lane.text).join(""),
    );
    return texts.join("");
  }
}

/** An answer that is being written: events go in, elements grow. */
class Answer {
  content = ""; // in document order, as far as the server has told it
  usage = null;
  cutBy = null;
  branches = 0;

  constructor(shown) {
    this.main = new Lane(shown);
    this.lanes = new Map([[0, this.main]]);
  }

  get begun() {
    return this.main.parts.length > 0;
  }

  take(chunk) {
    if (chunk.error) throw new Refusal(500, chunk.error);
    this.usage = chunk.usage ?? this.usage;
    for (const choice of chunk.choices) {
      this.content += choice.delta.content ?? "";
      this.cutBy = choice.aspd?.cut_by ?? this.cutBy;
      const titles = new Map(); // of the branches that this step began
      for (const event of choice.delta.aspd ?? []) this.#happen(event, titles);
    }
  }

  #happen(event, titles) {
    const lane = this.lanes.get(event.from ?? event.into ?? event.branch);
    if (event.type === "fork") {
      const lanes = lane.fork(event.branches.map(({ title }) => title));
      event.branches.forEach(({ branch, title }, at) => {
        this.lanes.set(branch, lanes[at]);
        titles.set(branch, title);
      });
      this.branches += lanes.length;
      if (lane === this.main) say(`Branches: ${[...titles.values()].join(", ")}.`);
    } else if (event.type === "text") {
      // A lead repeats the title, which already stands above the branch.
      const isLead = titles.has(event.branch) && event.text.includes(titles.get(event.branch));
      titles.delete(event.branch);
      lane.write(event.text, { shows: !isLead });
    } else {
      lane.writes = event.type === "merge";
    }
  }

  end() {
    for (const lane of this.lanes.values()) lane.writes = false;
  }
}

/** A text as it is read, with its branches marked where it is what the lanes have written. */
function drawPlain(into, lane, text) {
  let at = 0;
  const draw = (parent, parts) => {
    for (const part of parts) {
      if (typeof part === "string") {
        const shown = text.startsWith(part, at) ? part : text.slice(at, at + part.length);
        parent.append(new Text(shown));
        at += shown.length;
      } else {
        const block = parent.appendChild(make("span", "block"));
        for (const branch of part) draw(block.appendChild(make("span", "branch")), branch.parts);
      }
    }
  };
  if (lane.text.startsWith(text) || text.startsWith(lane.text)) draw(into, lane.parts);
  into.append(new Text(text.slice(at)));
}

/** A question, and what became of it. */
class Turn {
  text = ""; // the answer; without one the turn is no part of the conversation

  constructor(asked) {
    this.asked = asked;
    this.element = turnList.appendChild(make("article"));
    this.element.append(make("h2", "question", asked));
    this.element.firstChild.dir = "auto";
    this.begin();
  }

  begin() {
    this.text = "";
    this.element.replaceChildren(this.element.firstChild);
    this.live = this.element.appendChild(make("div", "live"));
    this.note = this.element.appendChild(make("p", "note"));
    this.element.setAttribute("aria-busy", "true");
    this.answer = new Answer(this.live);
    this.began = performance.now();
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  tick() {
    const { branches, begun } = this.answer;
    const state = branches ? `${branches} branches` : begun ? "Writing" : "Waiting";
    this.note.textContent = this.waits ?? `${state}, ${this.seconds.toFixed(1)} s`;
  }

  /** The answer has come, or as much of it as will. */
  close(text) {
    this.text = text;
    this.answer.end();
    this.element.removeAttribute("aria-busy");
    this.note.textContent = "";
    const plain = make("div", "plain");
    plain.dir = "auto";
    drawPlain(plain, this.answer.main, text);
    this.live.hidden = true;
    this.live.before(plain);
    this.figures = make("div", "figures");
    if (!this.answer.branches) return;
    const toggle = button("Side by side", () => {
      this.live.hidden = !this.live.hidden;
      plain.hidden = !this.live.hidden;
      toggle.setAttribute("aria-pressed", String(plain.hidden));
    });
    toggle.setAttribute("aria-pressed", "false");
    this.figures.append(toggle);
    this.note.before(this.figures);
  }

  finish() {
    const { seconds } = this;
    this.close(this.answer.content);
    this.note.textContent = CUTS[this.answer.cutBy] ?? "";
    const { useful_tokens, markup_tokens, steps, branches } =
      this.answer.usage.completion_tokens_details;
    const figures = [
      ["speed-up", branches && `${(useful_tokens / steps).toFixed(2)}×`],
      ["tokens", useful_tokens],
      ["markup", branches && markup_tokens],
      ["steps", steps],
      ["branches", branches],
      ["seconds", seconds.toFixed(2)],
    ].filter(([, value]) => value);
    const list = make("dl");
    for (const [name, value] of figures) {
      const pair = list.appendChild(make("div"));
      pair.append(make("dt", "", name), make("dd", "", String(value)));
    }
    this.figures.prepend(list);
    this.note.before(this.figures);
    say(`${this.text} ${figures.map(([name, value]) => `${name} ${value}`).join(", ")}.`);
  }

  fail(error) {
    const sentence = explain(error, this.answer);
    this.close(this.answer.main.text);
    this.note.textContent = `${sentence} `;
    this.note.append(button("Try again", () => running || run(this)));
    say(sentence);
    this.wantsKey = error.status === 401;
    if (this.wantsKey) askKey();
    if (error.param === "mode") ask.elements.mode.value = "plain";
  }
}

const CUTS = {
  max_new_tokens: "The answer was cut at its limit of tokens: raise Max tokens for a longer one.",
  max_branch_tokens: "A branch was cut at its limit of tokens.",
  context: "The answer was cut because the model's context is full: start a new conversation.",
};

/** The server's no, with its reason. */
class Refusal extends Error {
  constructor(status, { message, param = null }) {
    super(message);
    Object.assign(this, { status, param });
  }
}

function explain(error, answer) {
  if (error.name === "AbortError") return "Stopped.";
  if (error.status === 401) {
    return key ? "The server does not take this API key." : "The server asks for an API key.";
  }
  if (error.status === 413) {
    return "The conversation is longer than the server takes: start a new one, or ask less.";
  }
  if (error.status) return `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
  console.error(error);
  if (answer.begun) return "The connection broke off: this is what had come of the answer.";
  return "The server cannot be reached: check that it is still running.";
}

function say(sentence) {
  said.textContent = sentence;
}

function headers() {
  const authorization = key ? { Authorization: `Bearer ${key}` } : {};
  return { "Content-Type": "application/json", ...authorization };
}

async function refusal(response) {
  const other = { message: `the server answered with status ${response.status}` };
  const body = await response.json().catch(() => null);
  return new Refusal(response.status, body?.error?.message ? body.error : other);
}

/** The response to a turn's question; while the server is busy, asks again when it says. */
async function post(turn, signal) {
  const messages = turns
    .slice(0, turns.indexOf(turn))
    .filter(({ text }) => text)
    .flatMap(({ asked, text }) => [
      { role: "user", content: asked },
      { role: "assistant", content: text },
    ]);
  const body = JSON.stringify({
    messages: [...messages, { role: "user", content: turn.asked }],
    mode: ask.elements.mode.value,
    max_completion_tokens: find("limit").valueAsNumber || undefined,
    stream: true,
    stream_options: { include_usage: true },
    branch_events: true,
    return_markup: true,
  });
  for (let left = TRIES; ; left--) {
    const to = { method: "POST", headers: headers(), body, signal };
    const response = await fetch("v1/chat/completions", to);
    if (response.ok) return response;
    if (response.status !== 429 || left <= 1) throw await refusal(response);
    const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_WAIT);
    turn.waits = `The server is busy: trying again in ${seconds} s.`;
    say(turn.waits);
    await pause(seconds, signal);
    turn.waits = null;
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

async function run(turn) {
  const controller = (running = new AbortController());
  const { signal } = controller;
  turn.begin();
  turn.tick();
  show();
  const clock = setInterval(() => turn.tick(), 100);
  try {
    const response = await post(turn, signal);
    for await (const chunk of chunks(response.body)) {
      turn.answer.take(chunk);
      turn.tick();
      follow();
    }
    turn.finish();
  } catch (error) {
    turn.fail(error);
  }
  turn.waits = null;
  clearInterval(clock);
  if (running === controller) running = null;
  show();
}

/** Brings the controls in line with what is going on. */
function show() {
  const [shown, other] = running ? [stop, send] : [send, stop];
  const moves = document.activeElement === other;
  shown.hidden = false;
  other.hidden = true;
  if (moves) shown.focus();
  find("new").hidden = !turns.length;
  find("start").hidden = turns.length > 0;
  follow();
}

function follow() {
  if (follows) requestAnimationFrame(() => scrollTo(0, document.documentElement.scrollHeight));
}

function start(asked) {
  if (running || !asked.trim()) return;
  follows = true;
  turns.push(new Turn(asked));
  run(turns.at(-1));
}

function askKey() {
  keyForm.hidden = false;
  secret.select();
  secret.focus();
}

async function showModel() {
  const response = await fetch("v1/models", { headers: headers() }).catch(() => null);
  if (response?.status === 401) askKey();
  if (response?.ok) find("model").textContent = (await response.json()).data[0].id;
}

ask.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  const asked = question.value;
  question.value = "";
  start(asked);
});

question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!running && question.value.trim()) ask.requestSubmit();
});

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = secret.value.trim();
  // Others cannot stand in a header.
  secret.setCustomValidity(/^[\x21-\x7e]+$/.test(given) ? "" : "A key has no such characters.");
  if (!secret.reportValidity()) return;
  key = given;
  secret.value = "";
  keyForm.hidden = true;
  question.focus();
  showModel();
  if (turns.at(-1)?.wantsKey && !running) run(turns.at(-1));
});

secret.addEventListener("input", () => secret.setCustomValidity(""));
stop.addEventListener("click", () => running?.abort());
addEventListener("keydown", (event) => event.key === "Escape" && running?.abort());
addEventListener("scroll", () => {
  follows = innerHeight + scrollY >= document.documentElement.scrollHeight - NEAR;
});

find("new").addEventListener("click", () => {
  running?.abort();
  turns = [];
  turnList.replaceChildren();
  say("");
  show();
  question.focus();
});

for (const example of find("start").querySelectorAll("button")) {
  example.addEventListener("click", () => start(example.textContent));
}

showModel();
