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
from aspd_cli.transform.llm.judge import Judge, independence_messages, read_verdict
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


def vote(script: Callable[[dict[str, Any]], Reply], samples: int = 3, accept: int = 3) -> int:
    with serve(script) as server:
        section = EndpointSection(base_url=server.url, model="m", max_retries=1)

        async def ask() -> int:
            async with Endpoint(section) as endpoint:
                judge = Judge(endpoint, samples, accept)
                return await judge.independence("Which?", "Two:\n", BLOCK)

        return asyncio.run(ask())


@pytest.mark.parametrize("yes", [0, 2, 3])
def test_yes_votes_are_counted(yes: int) -> None:
    verdicts = [json.dumps({"independent": n < yes}) for n in range(3)]
    assert vote(lambda body: verdicts) == yes


def test_enough_yes_decide_though_another_verdict_cannot_be_had() -> None:
    replies = ['{"independent": true}', '{"independent": true}', "hm"]
    assert vote(lambda body: replies if body.get("n") == 3 else "hm", accept=2) == 2
    with pytest.raises(ReplyError):
        vote(lambda body: "hm", accept=1)


def test_a_schema_is_sent_and_done_without_where_it_is_refused() -> None:
    def script(body: dict[str, Any]) -> Reply:
        return Fault("refuse") if "response_format" in body else '{"independent": true}'

    assert vote(script) == 3


def test_the_prompt_shows_question_beginning_and_parts_and_no_control_token() -> None:
    [message] = independence_messages("Which?", "Two:\n", BLOCK)
    text = message["content"]
    assert "<question>\nWhich?\n</question>" in text
    assert "<beginning>\nTwo:\n</beginning>" in text
    assert '<part number="1" title="Rome">\nOld.\n</part>\n<part number="2" title="Oslo">' in text
    assert "<|" not in text
    assert "version:" not in text


def test_a_place_in_what_is_filled_in_stays_text() -> None:
    [message] = fill("answer", question="$original", original="$5", rewritten="${x}")
    for text in ("$original", "$5", "${x}"):
        assert text in message["content"]


def test_versions_name_each_prompt_and_its_wording() -> None:
    first, second = version("annotate", "answer").split(", ")
    assert first.startswith("annotate 1 (")
    assert second.startswith("answer 1 (")
    assert first.split("(")[1] != second.split("(")[1]
