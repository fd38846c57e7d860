"""`rewrite`: tags become blocks, the rest of the text stays, and bad tags are refused."""

import pytest
from hypothesis import given

from aspd_cli.core.markup import Block, Document, plain, render
from aspd_cli.errors import ReplyError
from aspd_cli.transform.llm.rewrite import ask_for, can_write, read_document, with_white_space_of
from aspd_cli.transform.rules import propose
from tests.core.strategies import documents
from tests.transform import answers, model

REPLY = """Two cities:

<parallel>
<branch title="Rome">
- Rome is old.
</branch>
<branch title="Oslo">
- Oslo is cold.
</branch>
</parallel>

Go there."""
ANSWER = "Two cities:\n\n- Rome is old.\n- Oslo is cold.\n\nGo there."


def titles(document: Document) -> list[list[str]]:
    return [[branch.title for branch in block.branches] for block in document.blocks()]


def test_tags_become_a_block_and_leave_no_trace_in_the_text() -> None:
    document = read_document(REPLY, ANSWER, 16)
    assert titles(document) == [["Rome", "Oslo"]]
    assert plain(document) == ANSWER
    assert "<branch" not in render(document)


@pytest.mark.parametrize(
    "reply",
    [
        f"```\n{REPLY}\n```",
        f"```markdown\n{REPLY}\n```\n",
        REPLY.replace('"', "'").replace("parallel>", "Parallel>"),
        REPLY.replace("\n", "\n\n"),
        REPLY.replace("\n", "\r\n"),
        render(read_document(REPLY, ANSWER, 16)),
    ],
)
def test_fences_quotes_and_white_space_make_no_difference(reply: str) -> None:
    document = read_document(reply, ANSWER, 16)
    assert titles(document) == [["Rome", "Oslo"]]
    assert plain(document) == ANSWER


def test_a_changed_text_is_kept_as_it_was_written() -> None:
    changed = REPLY.replace("cold", "very cold")
    assert plain(read_document(changed, ANSWER, 16)) == ANSWER.replace("cold", "very cold")
    spaced = f"\n {ANSWER}\n\n"
    assert plain(read_document(changed, spaced, 16)) == spaced.replace("cold", "very cold")


def test_no_tags_and_a_single_branch_are_serial() -> None:
    assert read_document(ANSWER, ANSWER, 16) == Document((ANSWER,))
    single = 'Two cities:\n\n<parallel><branch title="Rome">\n- Rome is old.\n</branch></parallel>'
    document = read_document(single, ANSWER, 16)
    assert not titles(document)
    assert plain(document) == "Two cities:\n\n- Rome is old.\n"


def test_long_blocks_are_cut_and_titles_are_unescaped() -> None:
    branches = "".join(f'<branch title="T &amp; {n}">Of {n} and T.</branch>' for n in range(5))
    document = read_document(f"<parallel>{branches}</parallel>", "x", 3)
    assert titles(document) == [["T & 0", "T & 1"], ["T & 2", "T & 3", "T & 4"]]
    foreign = branches.replace("T &amp; 3", "Vienna")
    document = read_document(f"<parallel>{foreign}</parallel>", "x", 3)
    assert titles(document) == [["T & 0", "T & 1"], ["T & 2", "Of 3 and T", "T & 4"]]


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "```\n```",
        REPLY.replace("</parallel>", ""),
        REPLY.replace("</branch>", "", 1),
        REPLY.replace("<parallel>", ""),
        REPLY.replace("<branch", "so <branch"),
        REPLY.replace("Oslo", "rome"),
        REPLY.replace('"Oslo"', '""'),
        REPLY.replace(' title="Oslo"', ""),
        REPLY.replace("- Oslo is cold.", ""),
        REPLY.replace("<parallel>", "<parallel>" * 2),
        "<|title|>A<|/title|> text",
    ],
)
def test_tags_that_do_not_fit_together_are_refused(reply: str) -> None:
    with pytest.raises(ReplyError):
        read_document(reply, ANSWER, 16)


@given(documents(depth=2))
def test_an_answer_keeps_its_own_white_space(document: Document) -> None:
    answer = plain(document)
    spaced = Document((answer.replace(" ", "\n \t"),))
    assert plain(with_white_space_of(answer, spaced)) == answer or not answer.strip()
    assert plain(with_white_space_of(answer, document)) == answer
    assert len(titles(with_white_space_of(answer, document))) == len(titles(document))


@pytest.mark.parametrize("answer", [text for text, _ in answers.PARALLEL.values()])
def test_what_is_written_with_tags_is_read_as_the_same_document(answer: str) -> None:
    [message] = ask_for("q", answer)
    found = read_document(model.rewrite(message["content"]), answer, 16)
    # The model of the tests writes no tags inside of branches.
    outer = [part for part in propose(answer).document.parts if isinstance(part, Block)]
    assert titles(found) == [[branch.title for branch in block.branches] for block in outer]
    assert plain(found) == answer


def test_an_answer_that_holds_the_tags_cannot_be_written() -> None:
    assert can_write("a < b, and </p>")
    assert not can_write("write <parallel> here")
