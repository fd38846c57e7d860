// An answer that is being written, as it is drawn: a lane for each branch, side by side. What a model
// writes is text: it enters the page through text nodes and never as HTML.

import { Refusal } from "./server.js";

export function make(name, kind = "", text = "") {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.textContent = text;
  return element;
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
export class Answer {
  content = ""; // in document order, as far as the server has told it
  usage = null;
  cutBy = null;
  branches = 0;

  /** `tells` is given a sentence where the answer forks. */
  constructor(shown, tells) {
    this.tells = tells;
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
      if (lane === this.main) this.tells(`Branches: ${[...titles.values()].join(", ")}.`);
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
export function drawPlain(into, lane, text) {
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

