"""What is streamed is the final text: stop strings are held back across lanes, in every mode."""

import io
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.cli.views.generate import stream_plain
from aspd_cli.cli.views.live import Lanes
from aspd_cli.core.markup import Document, plain
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Close, Event, Fork, Merge, Text
from aspd_cli.engine.loading import load
from aspd_cli.engine.until_stop import UntilStop, first_stop


def joined(events: list[Any]) -> str:
    """The texts in the order in which they come, which with stop strings is that of the answer."""
    return "".join(event.text for event in events if isinstance(event, Text))


def before(text: str, stops: tuple[str, ...]) -> str:
    """Character by character: the text before the first stop string that is complete."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return text


@given(st.data())
def test_any_schedule_of_any_tree_is_shown_up_to_the_first_stop_string(data: Any) -> None:
    texts = st.sampled_from(["a", "b", "ab", "ba ", "\n"])
    stops = tuple(data.draw(st.lists(st.text("ab \n", min_size=1, max_size=4), min_size=1)))
    lanes, until = Lanes(), UntilStop(stops)
    shown: list[Event] = []
    open_lanes, blocks = [0], {}

    def tell(event: Event) -> None:
        lanes.apply(event)
        shown.extend(until.take(event))

    for text in data.draw(st.lists(texts, max_size=30)):
        lane = data.draw(st.sampled_from(open_lanes))
        action = data.draw(st.sampled_from(["text", "text", "fork", "close"]))
        if action == "fork":
            new = tuple(len(lanes.lanes) + i for i in range(2))
            open_lanes = [other for other in open_lanes if other != lane] + [*new]
            blocks[len(blocks)] = (lane, set(new))
            tell(Fork(lane, len(blocks) - 1, ("A", "B"), new))
        elif action == "close" and lane != 0:
            open_lanes.remove(lane)
            tell(Close(lane))
            for number, (parent, inner) in blocks.items():
                inner.discard(lane)
                if not inner and Merge(number, parent) not in shown and parent not in open_lanes:
                    open_lanes.append(parent)
        else:
            tell(Text(lane, text))
        assert before(lanes.plain(), stops).startswith(joined(shown)) or until.stopped
    shown.extend(until.end())
    assert joined(shown) == before(lanes.plain(), stops)
    assert until.length == len(joined(shown))
    assert until.stopped == (first_stop(lanes.plain(), stops) is not None)


def test_a_branch_waits_until_the_ones_before_are_closed() -> None:
    until = UntilStop(["1\n2"])
    events = [Fork(0, 0, ("A", "B"), (1, 2)), Text(2, "2"), Close(2), Text(1, "x1\n"), Close(1)]
    steps = [list(until.take(event)) for event in events]
    assert steps == [[events[0]], [], [], [Text(1, "x")], []]
    assert until.stopped
    assert list(until.end()) == []


@pytest.fixture(scope="module")
def embedded() -> Decoder:
    return load()


def borders(document: Document, at: int = 0) -> list[int]:
    """Where the lane changes in the plain text."""
    found = []
    for part in document.parts:
        if isinstance(part, str):
            at += len(part)
            continue
        for branch in part.branches:
            found += [at, *borders(branch.content, at)]
            at += len(plain(branch.content))
        found.append(at)
    return found


def test_answers_of_the_embedded_model_are_streamed_as_they_end(embedded: Decoder) -> None:
    draw = random.Random(0)
    prompt = "Describe the tiger, Saturn and cheese"
    [full] = embedded.generate([prompt])
    places = borders(full.document)
    assert len(places) >= 4
    for place in places:
        start = max(0, place - draw.randint(1, 6))
        stops = (full.text[start : place + draw.randint(1, 6)], "nowhere to be met")
        wanted = before(full.text, stops)
        for mode in ("parallel", "serial"):
            *events, done = embedded.stream(prompt, mode=mode, stop=stops)
            assert joined(events) == done.output.text == wanted
            assert done.output.finish_reason == "stop"
            assert plain(done.output.document) == wanted
            pipe = io.StringIO()
            stream_plain([*events, done], pipe)
            assert pipe.getvalue().removesuffix("\n") == wanted.removesuffix("\n")
