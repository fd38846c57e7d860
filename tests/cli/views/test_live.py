"""The live view and the plain stream, driven by scripted events: no model is needed."""

import io
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from aspd_cli.cli.views.generate import stream_plain
from aspd_cli.cli.views.live import Lanes, frame, show_live
from aspd_cli.core.markup import Document
from aspd_cli.core.metrics import AnswerStats
from aspd_cli.engine.events import Close, Done, Event, Fork, Merge, Output, Text

STATS = AnswerStats(*[0] * 14)


def done(text: str) -> Done:
    return Done(Output(text, text, Document((text,)), "stop", [], STATS, ()))


def answer(branches: int, words: int = 12) -> list[Event]:
    """A list with one long branch for each title, written in turns, between two texts."""
    lanes = tuple(range(1, branches + 1))
    titles = tuple(f"Place number {lane}" for lane in lanes)
    events: list[Event] = [Text(0, "The places:\n"), Fork(0, 0, titles, lanes)]
    events += [Text(lane, f"漢字 word{n} ") for n in range(words) for lane in lanes]
    events += [event for lane in lanes for event in (Text(lane, "end\n"), Close(lane))]
    events += [Merge(0, 0), Text(0, "That is all.")]
    lanes_so_far = Lanes()
    for event in events:
        lanes_so_far.apply(event)
    return [*events, done(lanes_so_far.plain())]


@pytest.mark.parametrize("branches", [2, 3, 5, 8, 16])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 12), (20, 5), (10, 2)])
def test_no_frame_exceeds_the_terminal(branches: int, width: int, height: int) -> None:
    console = Console(width=width, height=100, file=io.StringIO(), force_terminal=True)
    lanes = Lanes()
    for event in answer(branches):
        lanes.apply(event)
        lines = console.render_lines(frame(lanes, console, width, height), pad=False)
        assert len(lines) <= height
        assert all(sum(segment.cell_length for segment in line) <= width for line in lines)


def drawn(events: list[Event], width: int, height: int) -> str:
    console = Console(width=width, height=height, file=io.StringIO())
    lanes = Lanes()
    for event in events:
        lanes.apply(event)
    with console.capture() as capture:
        console.print(frame(lanes, console, width, height))
    return capture.get()


def test_branches_stand_side_by_side_and_wrap_into_rows() -> None:
    wide = drawn(answer(4)[:20], 160, 24).splitlines()
    assert all(f"number {lane}" in wide[1] for lane in (1, 2, 3, 4))
    narrow = drawn(answer(4)[:20], 80, 24)
    rows = [line for line in narrow.splitlines() if "number" in line]
    assert [line.count("number") for line in rows] == [2, 2]


def test_branches_that_have_no_room_get_a_line_each() -> None:
    lines = drawn(answer(16)[:40], 30, 8).splitlines()
    assert "Place num" in lines[-8 + 1]
    assert "more branches" in lines[-1]


def test_control_codes_of_a_model_do_not_reach_the_terminal() -> None:
    out = io.StringIO()
    console = Console(width=80, height=24, file=out, force_terminal=True, color_system=None)
    events = [Text(0, "a\x1b[2Jb\x07c\x9bd\n"), done("a\x1b[2Jb\x07c\x9bd\n")]
    show_live(events, console)
    assert "\x1b[2J" not in out.getvalue()
    assert out.getvalue().endswith("a\\x1b[2Jb\\x07c\\x9bd\n")


def test_an_interrupted_answer_stays_on_the_terminal() -> None:
    def interrupted() -> Iterator[Event]:
        yield from answer(2)[:6]
        raise KeyboardInterrupt

    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        show_live(interrupted(), Console(file=out, force_terminal=True))
    assert out.getvalue().endswith("The places:\n漢字 word0 漢字 word1 漢字 word0 漢字 word1 \n")


class Pipe(io.StringIO):
    """Remembers what had been written at every flush."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def test_the_first_open_branch_is_written_live_and_the_others_wait() -> None:
    events = [
        Text(0, "Two:"),
        Fork(0, 0, ("A", "B"), (1, 2)),
        Text(2, " b1"),
        Text(1, " a1"),
        Text(2, " b2"),
        Close(2),
        Text(1, " a2"),
        Close(1),
        Merge(0, 0),
        Text(0, " end"),
        done("Two: a1 a2 b1 b2 end"),
    ]
    pipe = Pipe()
    stream_plain(events, pipe)
    steps = [text for text, _ in itertools.groupby(pipe.seen)]
    assert steps == [
        "Two:",
        "Two: a1",
        "Two: a1 a2",
        "Two: a1 a2 b1 b2",
        "Two: a1 a2 b1 b2 end",
        "Two: a1 a2 b1 b2 end\n",
    ]


def test_a_branch_that_was_cut_off_is_written_at_the_end() -> None:
    pipe = Pipe()
    events = [Fork(0, 0, ("A", "B"), (1, 2)), Text(1, "a"), Text(2, "b"), done("ab")]
    stream_plain(events, pipe)
    assert pipe.getvalue() == "ab\n"


@given(st.data())
def test_any_schedule_of_any_tree_streams_its_plain_text(data: Any) -> None:
    events, lanes, open_lanes, blocks = [], Lanes(), [0], {}
    for text in data.draw(st.lists(st.sampled_from(["a", "b ", "\n", "é"]), max_size=30)):
        lane = data.draw(st.sampled_from(open_lanes))
        action = data.draw(st.sampled_from(["text", "text", "fork", "close"]))
        if action == "fork":
            new = tuple(len(lanes.lanes) + i for i in range(2))
            event: Event = Fork(lane, len(blocks), ("A", "B"), new)
            blocks[len(blocks)] = (lane, set(new))
            open_lanes = [other for other in open_lanes if other != lane] + [*new]
        elif action == "close" and lane != 0:
            event = Close(lane)
            open_lanes.remove(lane)
        else:
            event = Text(lane, text)
        events.append(event)
        lanes.apply(event)
        for number, (parent, inner) in blocks.items():
            if isinstance(event, Close) and event.lane in inner:
                inner.remove(event.lane)
                if not inner:
                    open_lanes.append(parent)
                    events.append(Merge(number, parent))
                    lanes.apply(events[-1])
    text = lanes.plain()
    pipe = Pipe()
    stream_plain([*events, done(text)], pipe)
    assert pipe.getvalue() == (text if text.endswith("\n") or not text else text + "\n")
    assert all(text.startswith(seen.removesuffix("\n")) for seen in pipe.seen)
