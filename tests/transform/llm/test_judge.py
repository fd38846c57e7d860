"""The judge: verdicts in all forms, votes that are counted, and the prompts that ask for them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from aspd_cli.core.markup import Block, Branch, Document
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.errors import ReplyError
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.transform.llm.judge import (
    Judge,
    independence_messages,
    read_independent,
    read_verdict,
)
from aspd_cli.transform.llm.prompts import fill, version
from tests.endpoint_server import Fault, Reply, serve

BLOCK = Block((Branch("Rome", Document(("Old.\n",))), Branch("Oslo", Document(("Cold.",)))))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('{"reason": "so", "independent": true}', True),
        ('{"independent": false}', False),
        ('Well:\n```json\n{"independent": "Yes"}\n```', True),
        ('{"independent": "no."}', False),
        ('{"reason": "so", "verdict": "false"}', False),
        ('{"独立": "是"}', True),
        ("true", True),
        ("**No**.", False),
        ("是。", True),
    ],
)
def test_a_verdict_is_read_in_every_form(reply: str, verdict: bool) -> None:
    assert read_verdict(reply, "independent") is verdict


@pytest.mark.parametrize(
    "reply",
    ["", "It depends.", "[3]", '{"independent": "perhaps"}', '{"a": true, "b": false}', "2"],
)
def test_what_is_no_verdict_is_refused(reply: str) -> None:
    with pytest.raises(ReplyError):
        read_verdict(reply, "independent")


@pytest.mark.parametrize(
    ("reply", "independent"),
    [
        ('{"reason": "so", "dependent": []}', [True, True, True]),
        ('{"reason": "so", "dependent": [3]}', [True, True, False]),
        ('Well:\n```json\n{"dependent": ["part 1", 2]}\n```', [False, False, True]),
        ('{"dependent": "1 and 3"}', [False, True, False]),
        ('{"dependent": "None."}', [True, True, True]),
        ('{"dependent": true}', [False, False, False]),
        ('{"dependent": false}', [True, True, True]),
        ("[2]", [True, False, True]),
        ('{"independent": false}', [False, False, False]),
        ("true", [True, True, True]),
        ("否", [False, False, False]),
    ],
)
def test_a_verdict_on_each_part_is_read_in_every_form(reply: str, independent: list[bool]) -> None:
    assert read_independent(reply, 3) == independent


@pytest.mark.parametrize(
    "reply", ["", "It depends.", '{"dependent": [4]}', '{"dependent": "some"}', '{"reason": "so"}']
)
def test_a_part_that_there_is_not_is_no_verdict(reply: str) -> None:
    with pytest.raises(ReplyError):
        read_independent(reply, 3)


def vote(script: Callable[[dict[str, Any]], Reply], samples: int = 3, accept: int = 3) -> list[int]:
    with serve(script) as server:
        section = EndpointSection(base_url=server.url, model="m", max_retries=1)

        async def ask() -> list[int]:
            async with Endpoint(section) as endpoint:
                judge = Judge(endpoint, samples, accept)
                return await judge.independence("Which?", "Two:\n", BLOCK)

        return asyncio.run(ask())


@pytest.mark.parametrize("yes", [0, 2, 3])
def test_yes_votes_are_counted(yes: int) -> None:
    verdicts = [json.dumps({"dependent": [] if n < yes else [2]}) for n in range(3)]
    assert vote(lambda body: verdicts) == [3, yes]


def test_enough_yes_decide_though_another_verdict_cannot_be_had() -> None:
    replies = ['{"dependent": []}', '{"dependent": []}', "hm"]
    assert vote(lambda body: replies if body.get("n") == 3 else "hm", accept=2) == [2, 2]
    with pytest.raises(ReplyError):
        vote(lambda body: "hm", accept=1)


def test_enough_no_decide_as_well_but_not_what_a_missing_verdict_could_turn() -> None:
    replies = ['{"dependent": [1, 2]}', '{"dependent": [1, 2]}', "hm"]
    assert vote(lambda body: replies if body.get("n") == 3 else "hm", accept=2) == [0, 0]
    replies = ['{"dependent": [1]}', '{"dependent": [1, 2]}', "hm"]
    with pytest.raises(ReplyError):
        vote(lambda body: replies if body.get("n") == 3 else "hm", accept=2)


def test_a_schema_is_sent_and_done_without_where_it_is_refused() -> None:
    def script(body: dict[str, Any]) -> Reply:
        return Fault("refuse") if "response_format" in body else '{"dependent": []}'

    assert vote(script) == [3, 3]


def test_the_prompt_shows_question_beginning_and_parts_and_no_control_token() -> None:
    [message] = independence_messages("Which?", "Two:\n", BLOCK)
    text = message["content"]
    assert "<question>\nWhich?\n</question>" in text
    assert "<beginning>\nTwo:\n</beginning>" in text
    assert '<part number="1" title="Rome">\nOld.\n</part>\n<part number="2" title="Oslo">' in text
    assert "<|" not in text
    assert "version:" not in text


@pytest.mark.parametrize("name", ["annotate", "rewrite", "independence", "integrity", "answer"])
def test_every_prompt_has_two_examples_and_its_material_last(name: str) -> None:
    places = dict.fromkeys(
        ("question", "segments", "answer", "before", "branches", "original", "rewritten"), "X"
    )
    [message] = fill(name, **places)
    text = message["content"]
    assert "Example 1." in text
    assert text.index("Example 2.") < text.index("<question>\nX\n</question>")
    assert len(text.partition("Now the ")[2]) < 300, "what changes from call to call comes last"
    if name in ("annotate", "rewrite", "independence"):
        for word in ("ynthesis", "udget", "rocedure"):
            assert word in text


def test_a_place_in_what_is_filled_in_stays_text() -> None:
    [message] = fill("answer", question="$original", original="$5", rewritten="${x}")
    for text in ("$original", "$5", "${x}"):
        assert text in message["content"]


def test_versions_name_each_prompt_and_its_wording() -> None:
    first, second = version("annotate", "answer").split(", ")
    assert first.startswith("annotate 2 (")
    assert second.startswith("answer 2 (")
    assert first.split("(")[1] != second.split("(")[1]
