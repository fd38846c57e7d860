// The chat at "/": questions and answers, and the controls.

import { Answer, drawPlain, make } from "./lanes.js";
import { answerTo, modelName } from "./server.js";

const NEAR = 80; // pixels from the end of the page within which it follows what is written

const find = (id) => document.getElementById(id);
const [turnList, said, ask, question] = ["turns", "said", "ask", "question"].map(find);
const [keyForm, secret, send, stop] = ["key", "secret", "send", "stop"].map(find);

let key = ""; // of the API, in memory only
let turns = []; // of the conversation
let running = null; // AbortController of the answer under way
let follows = true; // whether the page scrolls with what is written

function button(text, act) {
  const made = make("button", "", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
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
    this.answer = new Answer(this.live, say);
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

/** What the API is asked for a turn, with the turns before it. */
function request(turn) {
  const messages = turns
    .slice(0, turns.indexOf(turn))
    .filter(({ text }) => text)
    .flatMap(({ asked, text }) => [
      { role: "user", content: asked },
      { role: "assistant", content: text },
    ]);
  return {
    messages: [...messages, { role: "user", content: turn.asked }],
    mode: ask.elements.mode.value,
    max_completion_tokens: find("limit").valueAsNumber || undefined,
    stream_options: { include_usage: true },
    branch_events: true,
    return_markup: true,
  };
}

async function run(turn) {
  const controller = (running = new AbortController());
  const { signal } = controller;
  turn.begin();
  turn.tick();
  show();
  const clock = setInterval(() => turn.tick(), 100);
  try {
    const waits = (sentence) => {
      turn.waits = sentence;
      if (sentence) say(sentence);
    };
    for await (const chunk of answerTo(request(turn), key, signal, waits)) {
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
  try {
    find("model").textContent = (await modelName(key)) ?? find("model").textContent;
  } catch {
    askKey();
  }
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
