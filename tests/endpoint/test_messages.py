"""Reading replies: JSON is found in whatever models put around it."""

import json

import pytest

from aspd_cli.endpoint.messages import read_json, without_thoughts
from aspd_cli.errors import ReplyError

VALUE = {"groups": [{"title": "A {b} ]", "first": 1}], "note": "è"}
TEXT = json.dumps(VALUE)


@pytest.mark.parametrize(
    "reply",
    [
        TEXT,
        json.dumps(VALUE, indent=2, ensure_ascii=False),
        f"\n {TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"Here [1] it is:\n```\n{TEXT}\n```\nI hope {{this}} helps.",
        f"Sure! {TEXT}",
        f"{{not JSON}} but {TEXT}.",
        json.dumps(TEXT),
    ],
)
def test_json_is_found(reply: str) -> None:
    assert read_json(reply) == VALUE


@pytest.mark.parametrize(
    "reply", ["", "no", "3", '"text"', "null", '{"a": 1', "[" * 100_000, "{" * 500]
)
def test_where_there_is_none_it_says_so(reply: str) -> None:
    with pytest.raises(ReplyError, match="contains no JSON"):
        read_json(reply)


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("<think>a\nb</think>\n\nyes", "yes"),
        ("a template opened it\n</think>yes", "yes"),
        ("\n<think></think>yes </think> no", "yes </think> no"),
        ("yes", "yes"),
        ("The tag <think>x</think> is markup.", "The tag <think>x</think> is markup."),
        ("<think>cut off", "<think>cut off"),
    ],
)
def test_thoughts_are_left_out(reply: str, rest: str) -> None:
    assert without_thoughts(reply) == rest
