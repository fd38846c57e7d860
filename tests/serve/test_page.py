"""The page of a real server in a real browser: what is asked, what grows, what stands there."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from subprocess import Popen
from threading import Event as Signal
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest

from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Close, Done, Event, Fork, Merge, Text
from aspd_cli.report.lane_colours import PAGE
from aspd_cli.serve.answers import no_output
from aspd_cli.serve.protocol import ChatBody
from aspd_cli.serve.replies import ChoiceStream, Reply
from tests.browser import browser, open_page
from tests.serve.conftest import Served, served
from tests.serve.test_app import metric, until

__all__ = ["browser"]

ASKED = "Describe the tiger, Saturn, cheese and the drill in detail"
TITLES = ["Tiger", "Saturn", "Cheese", "Drill"]
ENDPOINT = "**/v1/chat/completions"
HOSTILE = "<script>parent.harm = 1</script><img src=x onerror='harm=1'>"

# What each frame shows of the branches: their lengths, left edges and top edges.
WATCH = """() => {
  window.frames_ = [];
  const look = () => {
    const lanes = [...document.querySelectorAll(".live:not([hidden]) .text")];
    const boxes = lanes.map((lane) => lane.getBoundingClientRect());
    frames_.push([lanes.map((l) => l.textContent.length), boxes.map((b) => b.x), boxes.map((b) => b.y)]);
  };
  // Each change, not each frame: a busy machine paints few.
  const changes = { childList: true, subtree: true, characterData: true };
  new MutationObserver(look).observe(document.getElementById("turns"), changes);
}"""  # noqa: E501
# Presses Escape as soon as there is a branch.
ESCAPE = """() => new MutationObserver((_, observer) => {
  if (!document.querySelector(".branch")) return;
  observer.disconnect();
  dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
}).observe(document.getElementById("turns"), { childList: true, subtree: true })"""


def ask(page: Any, text: str) -> None:
    """Types a question and sends it with the keyboard."""
    page.get_by_label("Question").fill(text)
    page.keyboard.press("Enter")


def answered(page: Any, number: int = 1) -> Any:
    """The last turn, once there are so many with figures."""
    page.locator("dl").nth(number - 1).wait_for()
    return page.locator("article").last


def figures(turn: Any) -> dict[str, str]:
    cells = turn.locator("dl > div")
    return {c.locator("dt").inner_text(): c.locator("dd").inner_text() for c in cells.all()}


def plain(turn: Any) -> str:
    return str(turn.locator(".plain").text_content())


def overflow(page: Any) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def stream(steps: list[list[Event]]) -> str:
    """The server-sent events of an answer's steps, as the server writes them."""
    body = ChatBody(messages=[{"role": "user", "content": "?"}], branch_events=True)
    reply, choice = Reply("chat", "m", body, prompts=1), ChoiceStream(branch_events=True)
    chunks = [reply.chunk(0, *choice.take(step)) for step in steps]
    if choice.output:
        chunks += [reply.last(0, choice.output), reply.used([choice.output])]
    ended = "data: [DONE]\n\n" if choice.output else ""
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ended


@contextmanager
def in_slow_motion(process: "Popen[str]") -> Iterator[None]:
    """Stops a server again and again, so that a browser on a busy machine is no slower."""
    over = Signal()

    def halt() -> None:
        while not over.is_set():
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.06)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)

    halting = Thread(target=halt)
    halting.start()
    try:
        yield
    finally:
        over.set()
        halting.join()


def give(page: Any, body: str) -> None:
    """From now on, questions are answered with this stream."""
    page.route(ENDPOINT, lambda route: route.fulfill(content_type="text/event-stream", body=body))


def test_branches_grow_side_by_side_until_the_plain_answer_stands_there(
    browser: Any, server: Served, local: Decoder
) -> None:
    page, said = open_page(browser, f"{server.url}/")
    page.evaluate(WATCH)
    with in_slow_motion(server.process):
        ask(page, ASKED)
        turn = answered(page)
    [expected] = local.generate(ASKED, mode="parallel")
    assert plain(turn) == expected.text
    frames = page.evaluate("frames_")
    partial = {tuple(lengths) for lengths, _, _ in frames if len(lengths) == 4 and all(lengths)}
    assert len(partial) >= 5, "it is seen to grow"
    _, lefts, tops = next(frame for frame in frames if len(frame[0]) == 4)
    assert lefts == sorted(set(lefts)), "side by side"
    assert len(set(tops)) == 1
    stats = expected.stats
    assert figures(turn) == {
        "speed-up": f"{stats.useful_tokens / stats.steps:.2f}×",
        "tokens": str(stats.useful_tokens),
        "markup": str(stats.tokens - stats.useful_tokens),
        "steps": str(stats.steps),
        "branches": "4",
        "seconds": figures(turn)["seconds"],
    }
    assert expected.text in page.get_by_role("status").text_content(), "told to screen readers"
    page.get_by_role("button", name="Side by side").click()
    assert turn.locator(".live .title").all_inner_texts() == TITLES
    assert not turn.locator(".plain").is_visible()
    assert {url.removeprefix(server.url) for url in said if not url.startswith("data:")} == {
        "/page.css",
        "/page.js",
        "/lanes.js",
        "/server.js",
        "/v1/models",
        "/v1/chat/completions",
    }, "no complaint, and nothing from elsewhere"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_branches_stack_and_nothing_is_wider_than_the_screen(
    browser: Any, server: Served, scheme: str
) -> None:
    page, _ = open_page(browser, f"{server.url}/", 390, scheme)
    assert overflow(page) <= 0
    page.get_by_role("button", name=ASKED).click()
    turn = answered(page)
    assert overflow(page) <= 0
    page.get_by_role("button", name="Side by side").click()
    boxes = [branch.bounding_box() for branch in turn.locator(".live .branch").all()]
    assert len({box["x"] for box in boxes}) == 1
    assert all(a["y"] + a["height"] <= b["y"] for a, b in pairwise(boxes))
    assert overflow(page) <= 0
    colours = turn.locator(".title").evaluate_all("all => all.map(t => getComputedStyle(t).color)")
    wanted = [PAGE[f"b{at}"][scheme == "dark"] for at in range(4)]
    assert colours == [
        f"rgb({int(c[1:3], 16)}, {int(c[3:5], 16)}, {int(c[5:], 16)})" for c in wanted
    ]


def test_hostile_text_stays_text_in_titles_branches_and_questions(
    browser: Any, server: Served
) -> None:
    page, said = open_page(browser, f"{server.url}/", 390)
    wide = "w" * 500
    steps: list[list[Event]] = [
        [Text(0, f"Intro {HOSTILE}\n")],
        [Fork(0, 0, (HOSTILE, wide), (1, 2)), Text(1, f"- {HOSTILE}:"), Text(2, f"- {wide}:")],
        [Text(1, f" {HOSTILE} "), Text(2, f" {wide}\n")],
        [Close(2), Fork(1, 1, ("inner", f"{HOSTILE} 2"), (3, 4))],
        [Text(3, "\u202e<b>in</b>"), Text(4, "</div>\n")],
        [Close(3), Close(4), Merge(1, 1), Text(1, "after\n")],
        [Close(1), Merge(0, 0), Text(0, "The end.")],
    ]
    text = (
        f"Intro {HOSTILE}\n- {HOSTILE}: {HOSTILE} \u202e<b>in</b></div>\nafter\n"
        f"- {wide}: {wide}\nThe end."
    )
    give(page, stream([*steps, [Done(replace(no_output([1]), text=text))]]))
    ask(page, HOSTILE)
    turn = answered(page)
    assert plain(turn) == text
    assert turn.locator(".question").text_content() == HOSTILE
    assert turn.locator(".plain > .block > .branch > .block > .branch").count() == 2
    page.get_by_role("button", name="Side by side").click()
    assert turn.locator(".live .title").all_text_contents() == [
        HOSTILE, "inner", f"{HOSTILE} 2", wide
    ]  # fmt: skip
    assert turn.locator(".live .branch .branch").count() == 2, "blocks nest"
    assert overflow(page) <= 0
    assert page.locator("#turns").locator("script, img, b").count() == 0
    assert page.evaluate("window.harm") is None
    assert all(url.startswith(server.url) or url.startswith("data:") for url in said), said


def test_escape_stops_frees_the_lanes_and_keeps_what_had_come(browser: Any, server: Served) -> None:
    page, _ = open_page(browser, f"{server.url}/")
    dropped = metric(server, "aspd:requests_dropped_total")
    page.get_by_label("Serial").check()
    page.evaluate(ESCAPE)
    note = page.locator(".note", has_text="Stopped.")
    with in_slow_motion(server.process):
        ask(page, ASKED)
        note.wait_for()
    assert plain(page.locator("article")).startswith("Here they are:\n- Tiger:")
    until(lambda: metric(server, "aspd:requests_dropped_total") == dropped + 1)
    until(lambda: metric(server, "aspd:lanes") == 0)
    assert page.get_by_role("button", name="Send").is_visible()
    note.get_by_role("button", name="Try again").click()
    assert plain(answered(page)).endswith("That is all.")


def test_turns_make_a_conversation_with_the_settings_of_the_page(
    browser: Any, server: Served
) -> None:
    page, _ = open_page(browser, f"{server.url}/")
    bodies: list[Any] = []
    page.on("request", lambda r: bodies.append(r.post_data_json) if r.method == "POST" else None)
    page.get_by_label("Question").press_sequentially("What is 9 + 16")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and 7 * 2?")
    page.keyboard.press("Enter")
    first = plain(answered(page))
    page.get_by_label("Plain").check()
    page.get_by_label("Max tokens").fill("3")
    ask(page, "And 2 * 9?")
    turn = answered(page, 2)
    assert bodies[0]["messages"] == [{"role": "user", "content": "What is 9 + 16\nand 7 * 2?"}]
    assert "max_completion_tokens" not in bodies[0]
    assert bodies[0]["mode"] == "parallel"
    assert bodies[1]["messages"] == [
        *bodies[0]["messages"],
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And 2 * 9?"},
    ]
    assert bodies[1]["mode"] == "plain"
    assert set(figures(turn)) == {"tokens", "steps", "seconds"}
    assert figures(turn)["tokens"] == "3"
    assert "raise Max tokens" in turn.locator(".note").inner_text()
    page.get_by_role("button", name="New conversation").click()
    assert page.locator("article").count() == 0
    ask(page, "What is 2 * 9?")
    answered(page)
    assert len(bodies[2]["messages"]) == 1


def test_failures_are_told_in_sentences_and_can_be_tried_again(
    browser: Any, server: Served
) -> None:
    page, _ = open_page(browser, f"{server.url}/")
    page.route(ENDPOINT, lambda route: route.abort())
    ask(page, "What is 2 * 9?")
    note = page.locator(".note")
    note.get_by_text("The server cannot be reached: check that it is still running.").wait_for()
    page.unroute(ENDPOINT)
    give(page, stream([[Text(0, "Half")]]))
    page.get_by_role("button", name="Try again").click()
    note.get_by_text("The connection broke off").wait_for()
    assert plain(page.locator("article")) == "Half"
    page.unroute(ENDPOINT)
    busy = iter([429])

    def refuse(route: Any) -> None:
        if next(busy, None):
            route.fulfill(status=429, headers={"Retry-After": "1"}, body="{}")
        else:
            route.continue_()

    page.route(ENDPOINT, refuse)
    page.get_by_role("button", name="Try again").click()
    note.get_by_text("The server is busy: trying again in 1 s.").wait_for()
    turn = answered(page)
    assert page.locator("article").count() == 1
    assert plain(turn) != "Half"
    page.unroute(ENDPOINT)
    page.route(ENDPOINT, lambda route: route.fulfill(status=502, body="<h1>Bad</h1>"))
    ask(page, "And 2 * 8?")
    note.get_by_text("The server answered with status 502.").wait_for()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    with served("--set", "serve.max_body_bytes=1024", key="a-key") as running:
        yield running


def test_a_key_is_asked_for_where_one_is_needed_and_is_not_kept(
    browser: Any, guarded: Served
) -> None:
    page, _ = open_page(browser, f"{guarded.url}/")
    secret = page.get_by_label("API key")
    secret.wait_for()
    ask(page, "What is 2 * 9?")
    note = page.locator(".note")
    note.get_by_text("The server asks for an API key.").wait_for()
    for wrong in ("not-the-key", "schlüssel"):
        secret.fill(wrong)
        secret.press("Enter")
    page.wait_for_timeout(100)
    assert not secret.evaluate("field => field.validity.valid"), "no header can hold it"
    note.get_by_text("The server does not take this API key.").wait_for()
    secret.fill("a-key")
    secret.press("Enter")
    assert "18" in plain(answered(page))
    assert not secret.is_visible()
    assert page.locator("#model").inner_text() == "aspd-tiny"
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    ask(page, "x" * 2000)
    note.get_by_text("The conversation is longer than the server takes").wait_for()


def test_the_page_is_files_that_need_no_key_and_hold_no_code_of_elsewhere(guarded: Served) -> None:
    kinds = {"": "html", "page.js": "javascript", "lanes.js": "javascript"}
    for path, kind in {**kinds, "server.js": "javascript", "page.css": "css"}.items():
        with urlopen(f"{guarded.url}/{path}") as reply:
            text = reply.read().decode()
            assert reply.headers["Content-Type"].startswith(f"text/{kind}")
            assert "script-src 'self'" in reply.headers["Content-Security-Policy"]
        assert "innerHTML" not in text
        assert "https://" not in text
    for light, dark in PAGE.values():
        assert light in text
        assert dark in text
