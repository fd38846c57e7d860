"""The checks of training data: each fault is found, and what the rules make has none."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Branch, Document, render
from aspd_cli.core.parser import parse
from aspd_cli.report.terminal_document import SIDE, markup_text, mask_text
from aspd_cli.transform.blocks import MOST_BRANCHES, Budgets
from aspd_cli.transform.io.readers import Raw
from aspd_cli.transform.rules import propose
from aspd_cli.transform.token_counts import EstimatingCodec
from aspd_cli.transform.validation.checks import Checker
from tests import make
from tests.growth import MOST_GROWTH, growth
from tests.transform import answers

LONG = "As many words as a fork needs to be worth its price. "


def block(*branches: tuple[str, str]) -> str:
    return render(Document((Block(tuple(Branch(t, Document((c,))) for t, c in branches)),)))


def row(markup: Any, prompt: Any = "q") -> dict[str, Any]:
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": markup}]}


def kinds(*values: Any) -> list[str]:
    checker = Checker(EstimatingCodec(), max_tokens=2000)
    checked = [checker.check(Raw(n, value)) for n, value in enumerate(values, start=1)]
    return [finding.kind for one in checked for finding in one.findings]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (row("plain text"), []),
        (row(block(("Rome", LONG), ("Oslo", LONG))), []),
        ({"prompt": "q", "completion": "plain text"}, []),
        (row("<|para|>"), ["grammar"]),
        (row(block(("Rome", LONG), ("Oslo", LONG)) + "<|/branch|>"), ["grammar"]),
        (row(block(("Rome", LONG), ("Oslo", ""))), ["branch"]),
        (row(block(("Rome", LONG), ("Oslo", "sea"))), ["branch"]),
        (row(block(("The eternal city of Rome", "Rome is old."), ("Oslo", "It is new."))),
         ["title", "reference"]),
        (row(block(("Rome", LONG), ("Oslo", "Then, " + LONG))), ["reference"]),
        (row(block(("Rome", LONG * 200), ("Oslo", LONG * 200))), ["length"]),
        (row("word " * 3000), []),
        (row("<title>Rome</title><para><branch>Rome: old</branch></para>"), ["suspicious"]),
        (row("It is <|Title|>Rome< | /title|>."), ["suspicious"]),
        (row("Write `<title>` here:\n```html\n<title>x</title>\n```\n<html><title>"), []),
        (row(7), ["record"]),
        (row(""), ["record"]),
        (row("plain text", prompt=[]), ["record"]),
        ({"question": "q", "answer": "a"}, ["record"]),
        ([], ["record"]),
    ],
)  # fmt: skip
def test_every_fault_is_found(value: Any, expected: list[str]) -> None:
    assert kinds(value) == expected


def test_a_nested_block_is_checked_too_and_a_finding_tells_its_branch() -> None:
    inner = parse(block(("Food", LONG), ("Art", "Another " + LONG)))
    outer = Block((Branch("Rome", inner), Branch("Oslo", Document((LONG,)))))
    value = Raw(7, row(render(Document((outer,)))))
    [found] = Checker(EstimatingCodec(), 2000).check(value).findings
    assert (found.line, found.kind, found.branch) == (7, "reference", "Rome > Art")
    assert found.excerpt == "Another As many words as a fork…"
    assert str(found).startswith("line 7, branch 'Rome > Art': reference: the branch begins with ")
    assert found.block == next(inner.blocks())


def test_branches_that_a_judge_or_their_author_found_independent_are_not_doubted() -> None:
    value = row(block(("Rome", LONG), ("Oslo", "Then, " + LONG)))
    assert kinds(value) == ["reference"]
    for about in ({"votes": {"independence": [[3]]}}, {"notation": "Multiverse", "votes": None}):
        assert kinds({**value, "aspd": about}) == []
    assert kinds({**value, "aspd": {"votes": None, "notation": None}}) == ["reference"]


def test_a_record_that_comes_twice_is_found_where_it_comes_again() -> None:
    assert kinds(row("a"), row("a", prompt="other"), row("a")) == ["duplicate"]


def test_what_the_rules_make_has_no_findings() -> None:
    texts = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())
    assert kinds(*(row(render(propose(text, "q").document)) for text in texts)) == []


def test_what_a_decoder_would_cut_is_found() -> None:
    inner = Document((Block((Branch("A", Document((LONG,))), Branch("B", Document((LONG,))))),))
    outer = Document((Block((Branch("Rome", inner), Branch("Oslo", Document((LONG,))))),))
    value = Raw(1, row(render(outer)))
    for budgets, reason in [
        (Budgets(), None),
        (Budgets(branches=1), "a block of 2 branches, more than 1"),
        (Budgets(depth=1), "blocks are nested deeper than 1"),
        (Budgets(title_tokens=0), "the title has 1 tokens, more than 0"),
    ]:
        found = Checker(EstimatingCodec(), 2000, budgets=budgets).check(value).findings
        assert reason in [finding.reason for finding in found] or reason is None is (found or None)
        assert {finding.kind for finding in found} <= {"budget"}


def test_a_tokenizer_that_changes_the_text_is_found() -> None:
    codec = Codec(make.tokenizer("qwen", "chatml"))  # it normalises to NFC
    fine, changed = row("a café <|im_end|>"), row("a cafe\u0301")
    assert Checker(codec, 2000).check(Raw(1, fine)).findings == ()
    [finding] = Checker(codec, 2000).check(Raw(1, changed)).findings
    assert (finding.kind, "from character 5 on" in finding.reason) == ("layout", True)


def test_an_unreadable_line_is_a_finding() -> None:
    checker = Checker(EstimatingCodec(), max_tokens=2000)
    [finding] = checker.check(Raw(3, None, "not JSON")).findings
    assert str(finding) == "line 3: record: not JSON"
    assert json.dumps(finding.reason)


def test_a_picture_of_markup_shows_all_of_it() -> None:
    markup = render(propose(answers.TIPS).document)
    drawn = markup_text(parse(markup))
    assert drawn.plain.replace("\n", "") == markup.replace("\n", "")
    assert len({span.style for span in drawn.spans}) > 4


@given(st.integers(1, 300))
def test_a_picture_of_a_mask_has_a_bounded_size_and_its_corners(size: int) -> None:
    lines = mask_text(np.tril(np.ones((size, size), dtype=bool))).plain.split("\n")
    assert len(lines) <= SIDE // 2
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= SIDE
    assert lines[0][0] == ("▀" if len(lines[0]) == 1 else "█")


def test_checking_many_blocks_takes_time_in_proportion() -> None:
    checker = Checker(EstimatingCodec(), max_tokens=10**9)
    one = "Text.\n" + block(("Rome", LONG), ("Oslo", LONG))
    assert growth(checker.check, lambda count: Raw(1, row(one * count)), 50) < MOST_GROWTH


def test_more_branches_than_can_be_laid_out_are_a_finding() -> None:
    one = block(("Rome", LONG), ("Oslo", LONG))
    assert kinds(row(one * (MOST_BRANCHES // 2 + 1))) == ["budget"]
