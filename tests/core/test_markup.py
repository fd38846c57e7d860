"""Markup: what parses, what does not, and that nothing is lost in between."""

import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.core.markup import (
    CONTROL_TOKENS,
    MAX_DEPTH,
    Block,
    Branch,
    Document,
    holds_markup,
    plain,
    render,
)
from aspd_cli.core.parser import parse
from aspd_cli.errors import MarkupError
from tests.core.strategies import TEXTS, documents

SHORT = dict(zip("()[]{}", CONTROL_TOKENS, strict=True))
CONTROL = re.compile("(" + "|".join(map(re.escape, CONTROL_TOKENS)) + ")")


def write(short: str) -> str:
    """Markup from a short form: `[a][b]{(a: x)(b: y)}`."""
    return "".join(SHORT.get(char, char) for char in short)


def tokens_of(markup: str) -> list[str]:
    """Control tokens and the texts between them."""
    return [piece for piece in CONTROL.split(markup) if piece]


@given(documents())
def test_parse_inverts_render(document: Document) -> None:
    assert parse(render(document)) == document


@given(st.lists(st.sampled_from(CONTROL_TOKENS) | TEXTS, max_size=12).map("".join))
def test_any_string_either_parses_and_renders_back_or_is_refused_inside_it(markup: str) -> None:
    renders_back_or_is_refused(markup)


@given(documents(parts=3))
def test_one_changed_token_never_parses_to_something_else(document: Document) -> None:
    tokens = tokens_of(render(document))
    for at, token in enumerate(tokens):
        deleted = tokens[:at] + tokens[at + 1 :]
        doubled = tokens[: at + 1] + tokens[at:]
        swapped = tokens[:at] + tokens[at : at + 2][::-1] + tokens[at + 2 :]
        parsed = [renders_back_or_is_refused("".join(m)) for m in (deleted, doubled, swapped)]
        if token in CONTROL_TOKENS:
            assert parsed[:2] == [False, False]  # one too few, one too many


def renders_back_or_is_refused(markup: str) -> bool:
    """Whether it parses; refused markup must say where."""
    try:
        document = parse(markup)
    except MarkupError as caught:
        error = caught
    else:
        assert render(document) == markup
        return True
    assert 0 <= error.offset <= len(markup)
    assert f"at character {error.offset}: {error.reason}" in str(error)
    return False


@given(documents())
def test_plain_text_is_the_contents_and_nothing_between_them(document: Document) -> None:
    assert plain(document) == "".join(contents(document))


def contents(document: Document) -> Iterator[str]:
    for part in document.parts:
        if isinstance(part, str):
            yield part
        else:
            for place, branch in enumerate(part.branches):
                yield part.form.lead(place, branch.title) if part.form else ""
                yield from contents(branch.content)


def test_an_annotated_answer_keeps_every_byte_of_the_original() -> None:
    markup = write("Two fruits:\n\n[Apple][Pear]{(Apple: - red\n)(Pear: - green\n)}\nThat is all.")
    assert plain(parse(markup)) == "Two fruits:\n\n- red\n- green\n\nThat is all."


def test_a_title_with_a_separator_in_it_splits_where_the_title_ends() -> None:
    (block,) = parse(write("[a: b][a]{(a: b: c)(a: b: c)}")).parts
    assert isinstance(block, Block)
    assert [plain(branch.content) for branch in block.branches] == ["c", "b: c"]


@pytest.mark.parametrize(
    ("short", "reason"),
    [
        ("x^]", "<|/title|> closes nothing"),
        ("x^)", "<|/branch|> closes nothing"),
        ("x^}", "<|/para|> closes nothing"),
        ("[a][b]{(a: x)(b: y)}^}", "<|/para|> closes nothing"),
        ("x^{", "<|para|> without a title list"),
        ("x^(a: y)", "<|branch|> without a title list"),
        ("[^][b]{(: x)(b: y)}", "a title is empty"),
        ("[^", "a title is empty"),
        ("[^[b]]", "a title is empty"),
        ("[a^", "expected <|/title|> after a title, found the end"),
        ("[a^[b]{(a: x)(b: y)}", "expected <|/title|> after a title, found '<|title|>'"),
        ("[a]^{(a: x)}", "at least two titles"),
        ("[a]^", "at least two titles"),
        ("[a]^ [b]{(a: x)(b: y)}", "at least two titles"),
        ("[a][b][^a]{(a: x)(b: y)(a: z)}", "two titles of a block are the same: 'a'"),
        ("[a][b]^", "expected <|para|> after the titles, found the end"),
        ("[a][b]^ {(a: x)(b: y)}", "expected <|para|> after the titles, found ' '"),
        ("[a][b]^(a: x)(b: y)}", "expected <|para|> after the titles, found '<|branch|>'"),
        ("[a][b]{^}", "expected <|branch|> for the title 'a'"),
        ("[a][b]{^ (a: x)(b: y)}", "expected <|branch|> for the title 'a', found ' '"),
        ("[a][b]{(a: x)^}", "expected <|branch|> for the title 'b'"),
        ("[a][b]{(a: x)^\n(b: y)}", "expected <|branch|> for the title 'b'"),
        ("[a][b]{(^b: y)(a: x)}", "must begin with its lead 'a: '"),
        ("[a][b]{(^a:x)(b: y)}", "must begin with its lead 'a: '"),
        ("[a][b]{(^ a: x)(b: y)}", "must begin with its lead 'a: '"),
        ("[a][b]{(^)(b: y)}", "must begin with its lead 'a: '"),
        ("[a][b]{(^", "must begin with its lead 'a: '"),
        ("[a][b]{(a: x^(b: y)}", "<|branch|> without a title list"),
        ("[a][b]{(a: x)(b: y^}", "expected <|/branch|> at the end of the branch 'b'"),
        ("[a][b]{(a: x)(b: y^", "expected <|/branch|> at the end of the branch 'b'"),
        ("[a][b]{(a: x)(b: y)^(c: z)}", "more branches than titles"),
        ("[a][b]{(a: x)(b: y)^", "expected <|/para|> after the branches, found the end"),
        ("[a][b]{(a: x)(b: y)^ }", "expected <|/para|> after the branches, found ' '"),
        ("[a][b]{(a: [c]^{(c: x)})(b: y)}", "at least two titles"),
        ("[a][b]{(a: 你好^{)(b: y)}", "<|para|> without a title list"),
    ],
)
def test_malformed_markup_is_refused_where_it_goes_wrong(short: str, reason: str) -> None:
    before, _, after = short.partition("^")
    with pytest.raises(MarkupError) as caught:
        parse(write(before + after))
    assert caught.value.offset == len(write(before))
    assert reason in caught.value.reason


def test_documents_are_canonical() -> None:
    block = Block((Branch("a", Document()), Branch("b", Document(("", "")))))
    document = Document(("", "x", "", "y", block, "", block, ""))
    assert document.parts == ("xy", block, block)
    assert Document(("", "")) == Document() == parse("")
    assert block.branches[1].content == Document()


def test_blocks_come_in_document_order_the_outer_one_first() -> None:
    document = parse(write("[a][b]{(a: [c][d]{(c: )(d: )})(b: )}x[e][f]{(e: )(f: )}"))
    assert [block.branches[0].title for block in document.blocks()] == ["a", "c", "e"]


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_no_text_and_no_title_holds_a_control_token(token: str) -> None:
    assert holds_markup(f"x{token}y")
    assert not holds_markup(f"x{token[:-1]} >y")
    with pytest.raises(MarkupError, match=re.escape(token)) as caught:
        Document(("你", f"x{token[:3]}", f"{token[3:]}y"))  # only together they are one
    assert caught.value.offset == 2
    with pytest.raises(MarkupError, match=re.escape(token)):
        Branch(f"x{token}", Document())


@pytest.mark.parametrize("titles", [[], ["a"], ["a", "b", "a"], ["a", ""]])
def test_a_block_has_two_or_more_distinct_titles(titles: list[str]) -> None:
    with pytest.raises(MarkupError):
        Block(tuple(Branch(title, Document()) for title in titles))


def nested(depth: int) -> str:
    return write("[a][b]{(a: " * depth + "x" + ")(b: y)}" * depth)


def test_the_deepest_document_that_parses_can_be_used_like_any_other() -> None:
    document = parse(nested(MAX_DEPTH))
    assert render(document) == nested(MAX_DEPTH)
    assert plain(document) == "x" + "y" * MAX_DEPTH
    assert len(list(document.blocks())) == MAX_DEPTH
    assert document == parse(nested(MAX_DEPTH))
    assert hash(document) == hash(parse(nested(MAX_DEPTH)))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 20_000])
def test_deeper_nesting_is_a_markup_error_where_it_gets_too_deep(depth: int) -> None:
    with pytest.raises(MarkupError, match="nested more than") as caught:
        parse(nested(depth))
    assert caught.value.offset == len(write("[a][b]{(a: ")) * MAX_DEPTH


@pytest.mark.parametrize(
    ("markup", "parses"),
    [
        ("x" * 1_000_000, True),
        (write("[a][b]{(a: x)(b: y)}z") * 10_000, True),
        (nested(MAX_DEPTH) * 300, True),
        (write("[" * 100_000), False),
        (write("".join(f"[{i}]" for i in range(40_000))), False),
    ],
    ids=["text", "blocks", "nested", "open titles", "titles"],
)
def test_a_megabyte_parses_in_linear_time(markup: str, parses: bool) -> None:
    start = time.process_time()
    assert renders_back_or_is_refused(markup) is parses
    assert time.process_time() - start < 4  # 0.3 s; the square of its length would take minutes


def test_many_small_texts_merge_in_linear_time() -> None:
    start = time.process_time()
    assert Document(("ab",) * 500_000).parts == ("ab" * 500_000,)
    assert time.process_time() - start < 2  # 0.1 s
