"""A scripted model behind the tests' endpoint: it reads transform's prompts and replies to them.

It is no model, but it does what one is asked to: it finds the lists of an answer by their markers,
writes an answer again with tags, and judges by the words that it is shown. `script` replies alike
to every sample; `Model` also makes mistakes, drawn for each prompt by its text alone.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

from aspd_cli.core.markup import Block
from aspd_cli.transform.rules import propose
from aspd_cli.transform.rules.cross_references import cross_reference
from aspd_cli.transform.rules.titles import title_of
from tests.endpoint_server import faulty

_ITEM = re.compile(r"(?:\d{1,2}[.)、]|[-*•])\s+(.*)|(\*\*.{2,40}?\*\*:?)\s")
_SEGMENT = re.compile(r"^\[(\d+)\] (.*?)(?=\n\[\d+\] |\Z)", re.DOTALL | re.MULTILINE)
_PART = re.compile(r'<part number="\d+" title="(.*?)">\n(.*?)\n</part>', re.DOTALL)


def between(prompt: str, tag: str) -> str:
    """What stands in the last pair of a tag that fills whole lines."""
    return prompt.rpartition(f"<{tag}>\n")[2].partition(f"\n</{tag}>")[0]


def stage_of(prompt: str) -> str:
    """Which prompt of transform it is."""
    for words, stage in {
        "cut into numbered segments": "annotate",
        "You rewrite an answer": "rewrite",
        "parts of an answer are independent": "independence",
        "says the same as the original": "integrity",
        "still answers the question": "answer",
    }.items():
        if words in prompt.partition("\n")[0] or words in prompt[:600]:
            return stage
    raise AssertionError(f"an unknown prompt: {prompt[:200]}")


@lru_cache(1000)
def annotate(segments: str) -> str:
    """Runs of list items and bold labels as groups."""
    groups: list[list[dict[str, Any]]] = [[]]
    for number, text in _SEGMENT.findall(segments):
        item = _ITEM.match(text)  # an indented line is part of the item above
        if item is not None:
            title = (title_of(item[1] or item[2]) or f"part {number}")[:60]
            if any(part["title"].casefold() == title.casefold() for part in groups[-1]):
                title = f"{title} {number}"
            groups[-1].append({"title": title, "first": int(number), "last": int(number)})
        elif text[:1].isspace() and groups[-1]:
            groups[-1][-1]["last"] = int(number)
        else:
            groups.append([])
    written = [[_written(part) for part in group] for group in groups if len(group) > 1]
    return json.dumps({"groups": written}, ensure_ascii=False)


def _written(part: dict[str, Any]) -> str:
    first, last = part["first"], part["last"]
    return f"{first}{f'-{last}' if last > first else ''}: {part['title']}"


def rewrite(prompt: str) -> str:
    """The answer with tags around what rules hold to be independent."""
    answer = between(prompt, "answer")
    out = []
    for part in propose(answer, between(prompt, "question")).document.parts:
        if isinstance(part, Block):
            out.append("<parallel>\n")
            for branch, text in zip(part.branches, part.texts, strict=True):
                out.append(f'<branch title="{escape(branch.title)}">\n{text}</branch>\n')
            out.append("</parallel>\n")
        else:
            out.append(part)
    return "".join(out)


@lru_cache(1000)
def _independence(parts: str, beginning: str) -> str:
    branches = _PART.findall(parts)
    assert len(branches) > 1, parts
    found = cross_reference(branches, beginning)
    why = "each stands for itself" if found is None else f"one {found.reason}"
    return json.dumps({"reason": why, "dependent": [] if found is None else [found.branch + 1]})


def numbers(prompt: str, titles: tuple[str, ...]) -> list[int]:
    """The numbers of the parts with these titles that a judge is shown."""
    parts = re.findall(r'<part number="(\d+)" title="(.*?)">', between(prompt, "parts"))
    return [int(number) for number, title in parts if title in titles]


def verdict(prompt: str, stage: str) -> str:
    """What a reader of the words would say."""
    if stage == "independence":
        return _independence(between(prompt, "parts"), between(prompt, "beginning"))
    original = sorted(between(prompt, "original").split())
    rewritten = sorted(between(prompt, "rewritten").split())
    key = "intact" if stage == "integrity" else "same"
    yes = original == rewritten or (stage == "answer" and original[:3] == rewritten[:3])
    return json.dumps({"reason": "the words are compared", key: yes})


def script(body: dict[str, Any]) -> str:
    """The reply to a request, the same for all its samples."""
    [message] = body["messages"]
    prompt = message["content"]
    stage = stage_of(prompt)
    if stage == "annotate":
        return annotate(between(prompt, "answer"))
    return rewrite(prompt) if stage == "rewrite" else verdict(prompt, stage)


unreliable = faulty(script, 0.1, kinds=("slow", "rate-limit", "error", "drop", "list"))
"""`script` behind faults after which no reply was delivered, or all of them were."""


@dataclass(frozen=True)
class Model:
    """A model that errs."""

    careless: float = 0.0
    """Share of rewritings in which a sentence is left out."""
    wordy: float = 0.0
    """Share of replies with words and a fence around their JSON."""

    def __call__(self, body: dict[str, Any]) -> list[str]:
        prompt = body["messages"][0]["content"]
        stage, reply = stage_of(prompt), script(body)
        replies = []
        for sample in range(body.get("n", 1)):
            seed = hashlib.blake2b(f"{sample}{prompt}".encode(), digest_size=4).digest()
            draw = int.from_bytes(seed, "big") / 2**32
            text = reply
            if stage == "rewrite" and draw < self.careless:
                sentences = re.split(r"(?<=[.!?])\s+(?!<)", text)
                text = " ".join(sentences[:-2] + sentences[-1:]) if len(sentences) > 3 else text
            elif stage != "rewrite" and draw < self.wordy:
                text = f"Sure, here it is:\n```json\n{text}\n```\nAnything else?"
            replies.append(text)
        return replies
