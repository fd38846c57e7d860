"""Layout: the rule of paper section 3.2, against a slow reading that goes token by token."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, Positions, TokenBlock, lay_out, layout, tokenize
from aspd_cli.core.markup import Block, Document, plain
from aspd_cli.core.parser import parse
from aspd_cli.core.visibility import MAIN
from aspd_cli.errors import ModelError
from tests import make
from tests.core.strategies import STABLE_TEXTS, documents

both_positions = pytest.mark.parametrize("positions", ["same-seq", "same-max"])

WORKED = (
    "Hi<|title|>A<|/title|><|title|>B<|/title|><|para|><|branch|>A: xy<|/branch|>"
    "<|branch|>B: z<|/branch|><|/para|>end"
)


@cache
def codec(kind: str = "qwen") -> Codec:
    return Codec(make.tokenizer(kind))


def whole(
    document: Document,
    kind: str = "qwen",
    prompt: tuple[int, ...] = (),
    positions: Positions = "same-seq",
) -> Layout:
    """The layout of a prompt, the document and an end of turn."""
    it = codec(kind)
    end = [it.tokenizer.eos_token_id]
    return lay_out(tokenize(document, it), it, prompt_ids=prompt, end_ids=end, positions=positions)


@pytest.mark.parametrize(("positions", "para_end"), [("same-seq", 24), ("same-max", 18)])
def test_a_case_worked_by_hand(positions: Positions, para_end: int) -> None:
    laid = whole(parse(WORKED), prompt=(7, 8, 9), positions=positions)
    expected = f"""
        p:0F p:1F p:2F Hi:3
        <|title|>:4 A:5 <|/title|>:6 <|title|>:7 B:8 <|/title|>:9 <|para|>:10
        <|branch|>:11F A:12F ::13F Ġ:14F x:15 y:16 <|/branch|>:17
        <|branch|>:11F B:12F ::13F Ġ:14F z:15 <|/branch|>:16
        <|/para|>:{para_end}F end:{para_end + 1} <eos>:{para_end + 2}
    """
    tokens = ["p"] * 3 + codec().tokenizer.convert_ids_to_tokens(laid.input_ids)[3:]
    found = zip(tokens, laid.position_ids, laid.sampled, strict=True)
    assert [f"{t}:{at}{'' if sampled else 'F'}" for t, at, sampled in found] == expected.split()

    sees = laid.visibility()
    first, second, after = range(11, 18), range(18, 24), range(24, 27)
    z = 22
    assert sees[z].nonzero()[0].tolist() == [*range(11), *range(18, 23)]
    assert not sees[np.ix_(first, second)].any()
    assert not sees[np.ix_(second, first)].any()
    assert all(sees[i, : i + 1].all() for i in after)


@dataclass(frozen=True)
class Token:
    """One token of a document, and where it stands."""

    id: int
    path: tuple[tuple[int, int], ...]
    """(block, branch) from the outermost block in."""
    sampled: bool
    useful: bool = False


def written(document: Document, it: Codec) -> list[Token]:
    """The tokens of a document, one by one, in document order."""
    blocks = iter(range(1_000_000))

    def walk(document: Document, path: tuple[tuple[int, int], ...]) -> Iterator[Token]:
        for part in document.parts:
            if isinstance(part, str):
                for i in it.encode(part):
                    yield Token(i, path, sampled=True, useful=True)
                continue
            block = next(blocks)
            for title in part.titles:
                yield Token(it.control.title, path, sampled=True)
                for i in it.encode(title):
                    yield Token(i, path, sampled=True)
                yield Token(it.control.title_end, path, sampled=True)
            yield Token(it.control.para, path, sampled=True)
            for number, branch in enumerate(part.branches):
                inside = (*path, (block, number))
                yield Token(it.control.branch, inside, sampled=False)
                shown = part.form is not None
                lead = [part.form.lead(number, branch.title)] if shown else [branch.title, ": "]
                for i in (i for piece in lead for i in it.encode(piece)):
                    yield Token(i, inside, sampled=False, useful=shown)
                yield from walk(branch.content, inside)
                yield Token(it.control.branch_end, inside, sampled=True)
            yield Token(it.control.para_end, path, sampled=False)

    return list(walk(document, ()))


def sees(tokens: list[Token], i: int, j: int) -> bool:
    """j <= i in document order, and no block has i and j in two different branches."""
    if j > i:
        return False
    return not any(
        block == other and branch != another
        for block, branch in tokens[i].path
        for other, another in tokens[j].path
    )


@both_positions
@given(document=documents(STABLE_TEXTS), prompt=st.lists(st.integers(0, 9), max_size=3).map(tuple))
def test_layout_is_what_the_design_says_token_by_token(
    positions: Positions, document: Document, prompt: tuple[int, ...]
) -> None:
    laid = whole(document, prompt=prompt, positions=positions)
    tokens = [
        *(Token(i, (), sampled=False) for i in prompt),
        *written(document, codec()),
        Token(codec().tokenizer.eos_token_id, (), sampled=True),
    ]
    assert laid.input_ids.tolist() == [token.id for token in tokens]
    assert laid.sampled.tolist() == [token.sampled for token in tokens]
    assert laid.useful.tolist() == [token.useful for token in tokens]
    assert len(laid) == len(tokens)

    seen = [[sees(tokens, i, j) for j in range(len(tokens))] for i in range(len(tokens))]
    assert laid.visibility().tolist() == seen
    position: list[int] = []
    for i, row in enumerate(seen):
        before = [position[j] for j in range(i) if row[j]]
        # same-seq counts what is seen; same-max goes on after the last position that is.
        position.append(len(before) if positions == "same-seq" else max(before, default=-1) + 1)
    assert laid.position_ids.tolist() == position


@both_positions
@given(document=documents(STABLE_TEXTS))
def test_each_sampled_token_is_predicted_from_the_token_before_it_in_its_own_lane(
    positions: Positions, document: Document
) -> None:
    laid = whole(document, prompt=(1, 2), positions=positions)
    (sampled,) = laid.sampled.nonzero()
    assert (laid.lanes[sampled] == laid.lanes[sampled - 1]).all()
    assert (laid.position_ids[sampled] == laid.position_ids[sampled - 1] + 1).all()
    assert laid.visibility()[sampled, sampled - 1].all()


@given(document=documents(STABLE_TEXTS))
def test_the_loss_is_taken_on_the_sampled_tokens_and_no_others(document: Document) -> None:
    laid = whole(document, prompt=(1, 2))
    forced = [not token.sampled for token in written(document, codec())]
    assert (laid.labels() == -100).tolist() == [True, True, *forced, False]
    assert (laid.labels()[laid.sampled] == laid.input_ids[laid.sampled]).all()
    assert (laid.labels(ignore=-1) == -1).tolist() == [True, True, *forced, False]


@given(document=documents(STABLE_TEXTS))
def test_the_useful_tokens_are_the_plain_text(document: Document) -> None:
    for kind in make.KINDS:
        laid = whole(document, kind)
        useful = laid.input_ids[laid.useful].tolist()
        assert (kind, codec(kind).decode(useful)) == (kind, plain(document))
        leads = {lane for block, at in blocks(document) if block.form for lane in at}
        assert set(laid.lanes[laid.useful & ~laid.sampled]) <= leads


@given(document=documents(STABLE_TEXTS))
def test_a_lane_reads_as_its_lead_and_content(document: Document) -> None:
    for kind in make.KINDS:
        laid = whole(document, kind)
        for block, lanes in blocks(document):
            for lane, lead, branch in zip(lanes, block.leads, block.branches, strict=True):
                mine = (laid.lanes == lane) & (laid.useful | ~laid.sampled)
                texts = "".join(part for part in branch.content.parts if isinstance(part, str))
                wanted = (lead or f"{branch.title}: ") + texts
                assert (kind, codec(kind).decode(laid.input_ids[mine].tolist())) == (kind, wanted)


def blocks(document: Document) -> list[tuple[Block, range]]:
    """Each block with the lanes of its branches: all branches of a block before those inside."""
    found: list[tuple[Block, range]] = []

    def walk(document: Document) -> None:
        for part in document.parts:
            if isinstance(part, Block):
                first = 1 + sum(len(lanes) for _, lanes in found)
                found.append((part, range(first, first + len(part.branches))))
                for branch in part.branches:
                    walk(branch.content)

    walk(document)
    return found


@both_positions
def test_a_title_announced_twice_is_written_twice_and_forks_once(positions: Positions) -> None:
    it = codec()
    once = parse(
        "<|title|>A<|/title|><|title|>B<|/title|><|para|><|branch|>A: xy<|/branch|>"
        "<|branch|>B: z<|/branch|><|/para|>"
    )
    (block,) = tokenize(once, it)
    assert isinstance(block, TokenBlock)
    twice = TokenBlock((*block.titles, block.titles[0]), block.branches)
    laid, usual = (lay_out((b,), it, positions=positions) for b in (twice, block))
    again = [it.control.title, *block.titles[0], it.control.title_end]
    assert laid.input_ids.tolist() == [*usual.input_ids[:6], *again, *usual.input_ids[6:]]
    assert laid.position_ids.tolist() == [*range(9), *(usual.position_ids[6:] + 3)]
    assert laid.lanes.tolist() == [0, 0, 0, *usual.lanes]


@both_positions
def test_the_layout_of_an_answer_alone_starts_at_zero(positions: Positions) -> None:
    laid = layout(parse(WORKED), make.tokenizer(), positions)
    after_prompt = whole(parse(WORKED), prompt=(1, 2, 3), positions=positions)
    assert (laid.input_ids == after_prompt.input_ids[3:-1]).all()
    assert (laid.position_ids == after_prompt.position_ids[3:-1] - 3).all()
    assert (laid.visibility() == after_prompt.visibility()[3:-1, 3:-1]).all()
    assert (laid.sampled == after_prompt.sampled[3:-1]).all()


def test_an_empty_answer_has_an_empty_layout() -> None:
    laid = layout(Document(), make.tokenizer())
    assert len(laid) == 0
    assert laid.visibility().shape == (0, 0)
    assert laid.labels().tolist() == []


def test_serial_text_needs_no_control_tokens_and_a_block_names_them() -> None:
    tokenizer = make.tokenizer(control=False)
    laid = layout(parse("Hi end"), tokenizer)
    assert laid.position_ids.tolist() == [0, 1]
    assert laid.lanes.tolist() == [MAIN, MAIN]
    with pytest.raises(ModelError, match=r"<\|title\|>"):
        layout(parse(WORKED), tokenizer)


def test_a_long_document_is_laid_out_in_milliseconds() -> None:
    block = "<|title|>A<|/title|><|title|>B<|/title|><|para|>{}{}<|/para|>"
    content = "Apples are red, round and sweet: they grow on trees in cold and mild countries.\n"
    branch = "<|branch|>{}: {}<|/branch|>"
    markup = block.format(branch.format("A", content), branch.format("B", content))
    document = parse((content + markup) * 70)
    tree = tokenize(document, codec())
    assert len(lay_out(tree, codec())) > 4096
    assert seconds(lambda: lay_out(tree, codec())) < 0.1  # 2 ms
    assert seconds(lambda: layout(document, codec().tokenizer)) < 0.5  # 40 ms with the tokenizer
    assert seconds(lay_out(tree, codec()).visibility) < 0.5  # 20 ms


def seconds(call: Callable[[], object]) -> float:
    """The best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)
