"""Forms: how a label is read, filled in and found at the beginning of texts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.core.forms import (
    Form,
    core_of,
    count_on,
    read_label,
    shared_label,
    title_key,
)
from aspd_cli.core.markup import Block, Branch, Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.errors import MarkupError
from tests.core.strategies import TEXTS

LABELS = {
    "1. **Rest**:": "2. **Food**:",
    "1. Rest": "2. Food",
    "- Rest": "- Food",
    "* **Rest:**": "* **Food:**",
    "### Rest": "### Food",
    "### 3. Rest": "### 4. Food",
    "### **1. Rest**": "### **2. Food**",
    "**9) Rest**": "**10) Food**",
    "**Rest**": "**Food**",
    "Rest:": "Food:",
    "Rest :": "Food :",
    "`Rest`:": "`Food`:",
    "   - _Rest_": "   - _Food_",
    "- [ ] Rest": "- [ ] Food",
    "(a) Rest": "(b) Food",
    "A. Rest": "B. Food",
    "i) Rest": "ii) Food",
    "01. Rest": "02. Food",
    "① Rest": "② Food",
    "（1）Rest：": "（2）Food：",
    '1. "Rest"': '2. "Food"',
    "- “Rest”:": "- “Food”:",
    "一、Rest": "二、Food",
    "1.文": "2.Food",
}
BARE = ["Rest", "C. elegans", "1.5 kg", "Step 1: sleep", "2024. x", "-", "**", "1. ", "- - x", ""]


@pytest.mark.parametrize(("first", "second"), LABELS.items())
def test_a_label_is_its_form_and_title_and_the_next_one_counts_on(first: str, second: str) -> None:
    label = read_label(first)
    assert label is not None
    assert label.title in ("Rest", "文")
    assert label.form.lead(0, label.title) == first
    assert label.form.lead(1, "Food") == second
    assert label.form.lead(1, "3. **Food**:") == second, "a title's own form is dropped"


@pytest.mark.parametrize("title", BARE)
def test_what_is_no_label_is_a_bare_title(title: str) -> None:
    assert read_label(title) is None
    assert core_of(title) == title


@given(st.text(max_size=12) | st.sampled_from([*LABELS, *BARE]) | TEXTS)
def test_filling_in_inverts_reading(text: str) -> None:
    label = read_label(text)
    if label is None:
        assert core_of(text) == text
    else:
        assert label.title
        assert label.form != Form()
        assert label.form.lead(0, label.title) == text
        assert read_label(label.title) is None


def test_numbers_count_on_in_their_own_way() -> None:
    ways = {
        "1": "1 2 3",
        "9": "9 10 11",
        "08": "08 09 10",
        "a": "a b c",
        "I": "I II III",
        "⑲": "⑲ ⑳ (21)",
        "九": "九 十 十一",
        "十九": "十九 二十 二十一",
    }
    for first, line in ways.items():
        assert [count_on(first, ahead) for ahead in range(3)] == line.split()
    assert [count_on("a", ahead) for ahead in (25, 26, 27)] == ["z", "aa", "ab"]
    assert count_on("i", 48) == "xlix"


def test_titles_that_say_the_same_share_a_key() -> None:
    for other in ("rest", "2. **Rest**:", "- REST", "**Rest**", " Rest "):
        assert title_key(other) == title_key("Rest")
    assert title_key("Rest well") != title_key("Rest")


@pytest.mark.parametrize(
    ("titles", "texts", "leads"),
    [
        (["Rest", "Food"], ["1. **Rest**: a", "2. **Food**: b"], ["1. **Rest**:", "2. **Food**:"]),
        (["Rest", "Food"], ["1. **Rest**: a", "2. **Food** - b"], ["1. **Rest**", "2. **Food**"]),
        (["Rest", "Food"], ["- Rest and a", "- Food and b"], ["- Rest", "- Food"]),
        (["Rest", "Food"], ["### Rest\na", "### Food\nb"], ["### Rest", "### Food"]),
        (["Rest", "Fast food"], ["Rest: a", "Fast food: b"], ["Rest:", "Fast food:"]),
        (["Paris, France", "Oslo"], ["**Paris**: a", "**Oslo**: b"], ["**Paris**:", "**Oslo**:"]),
    ],
)
def test_a_shared_label_begins_every_text(
    titles: list[str], texts: list[str], leads: list[str]
) -> None:
    found = shared_label(titles, texts)
    assert found is not None
    form, named = found
    assert [form.lead(place, title) for place, title in enumerate(named)] == leads


@pytest.mark.parametrize(
    "texts",
    [
        ["1. **Rest**: a", "3. **Food**: b"],
        ["1. **Rest**: a", "2. Food: b"],
        ["- Rest", "* Food"],
        ["Sleep well.", "Eat well."],
        ["1. **Rest**: a", "2. **rest**: b"],
        ["1. **Rest**: a", ""],
    ],
)
def test_texts_whose_labels_differ_share_none(texts: list[str]) -> None:
    assert shared_label(["Rest", "Food"], texts) is None


@given(
    st.lists(st.sampled_from([*LABELS, *LABELS.values(), *BARE]) | TEXTS, min_size=2, max_size=5)
)
def test_a_block_of_any_texts_reads_as_they_do(texts: list[str]) -> None:
    branches = [Branch(f"title {n}", Document((text,))) for n, text in enumerate(texts)]
    block = Block.of(branches)
    assert list(block.texts) == texts
    document = Document((block,))
    assert plain(document) == "".join(texts)
    assert parse(render(document)) == document


def test_markup_writes_a_label_once() -> None:
    block = Block.of(
        [
            Branch("Rest", Document(("1. **Rest**: a\n",))),
            Branch("Food", Document(("2. **Food**: b",))),
        ]
    )
    markup = render(Document((block,)))
    assert markup == (
        "<|title|>1. **Rest**:<|/title|><|title|>Food<|/title|><|para|>"
        "<|branch|>1. **Rest**: a\n<|/branch|><|branch|>2. **Food**: b<|/branch|><|/para|>"
    )
    assert plain(parse(markup)) == "1. **Rest**: a\n2. **Food**: b"


def test_markup_from_before_there_were_forms_is_read_as_it_was_meant() -> None:
    old = (
        "<|title|>{}<|/title|><|title|>{}<|/title|><|para|>"
        "<|branch|>{}: a<|/branch|><|branch|>{}: b<|/branch|><|/para|>"
    )
    for titles in (
        ("Rest", "Food"),
        ("1. Rest", "2. Food"),
        ("- Rest", "Food"),
        ("A. Bo", "B. Ek"),
    ):
        document = parse(old.format(*titles, *titles))
        assert plain(document) == "ab"
        assert render(document) == old.format(*titles, *titles)


def test_a_block_that_would_be_read_otherwise_is_refused() -> None:
    branches = (Branch("Rest:", Document(("a",))), Branch("Food", Document(("b",))))
    with pytest.raises(MarkupError, match="reads as if the block had a form"):
        Block(branches)
    with pytest.raises(MarkupError, match="is not the title"):
        Block((Branch("- x", Document()), Branch("y", Document())), Form("- "))


@pytest.mark.parametrize("unit", ["*", "- ", "1. ", "[", "(1)", " ", "**a", "a:", "`", "：", "一"])
def test_reading_takes_time_in_proportion_to_the_text(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * size
        start = time.process_time()
        read_label(text)
        shared_label([text[:40] or "x", "b"], [text, text])
        return time.process_time() - start

    small = max(min(seconds(20_000) for _ in range(3)), 1e-3)
    assert min(seconds(80_000) for _ in range(3)) < 12 * small
