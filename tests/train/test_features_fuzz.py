"""Random documents through layout and collator with every kind of tokenizer: `pytest -m slow` here.

20,000 documents, each with every kind: some minutes a kind. `FUZZ_DOCUMENTS=500` is a short look.
"""

import os
from collections import Counter
from random import Random

import pytest

from aspd_cli.core.chat import encode_prompt, end_of_turn
from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Branch, Document, holds_markup, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.train.batching import BranchCollator
from aspd_cli.train.features import IGNORE, features
from tests import make

NUMBER = int(os.environ.get("FUZZ_DOCUMENTS", "20000"))
BATCH = 8
WORDS = [
    *["Apples", " are red", "1. ", "- ", "**b**", ": ", "\n", "\n\n", " ", "  ", "T", "你好", "🙂"],
    *["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<bos>", "<eos>", "<unk>", "＜/s＞", "<0x0A>"],
    *[
        "<|",
        "|>",
        "<|title",
        "para|>",
        "<",
        ">",
        "/s>",
        "im_end|>",
        "▁",
        "e\u0301",
        "\u0301",
        "\x00",
    ],
    *[
        "\ufffd",
        "\ue000",
        "\ufdd0",
        "ß",
        "٣",
        "\u200b",
        "\ufeff",
        "\U0001f469\u200d",
        "42",
        "x" * 50,
    ],
]


def text(rng: Random, least: int = 0) -> str:
    while True:
        found = "".join(rng.choices(WORDS, k=rng.randint(least, 6)))
        if not holds_markup(found):
            return found


def document(rng: Random, depth: int = 2) -> Document:
    parts: list[str | Block] = []
    for _ in range(rng.randint(0, 3)):
        if depth and rng.random() < 0.4:
            titles = {f"{number}{text(rng)}": None for number in range(rng.randint(2, 4))}
            block = Block(tuple(Branch(t, document(rng, depth - 1)) for t in titles))
            if not block.misread:
                parts.append(block)
        elif not parts or isinstance(parts[-1], Block):
            parts.append(text(rng, 1))
    return Document(tuple(parts))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", [*make.KINDS, *make.LOSSY])
def test_random_documents_hold_no_special_token_but_their_own(kind: str) -> None:
    codec = Codec(make.tokenizer(kind, "chatml"))
    rng, end, collate = Random(kind), end_of_turn(codec), BranchCollator(0)
    control = codec.control
    clean = Counter(i for i in encode_prompt(codec, "x") if i in codec.guarded)
    rows, done = [], 0
    for _ in range(NUMBER):
        found = document(rng)
        markup = render(found) or "x"
        assert parse(markup) == (found if render(found) else Document(("x",)))
        record = {"prompt": [{"role": "user", "content": f"{text(rng)}?"}], "completion": markup}
        row = features(record, codec, end)
        special = Counter(i for i in row["input_ids"].tolist() if i in codec.guarded)
        blocks = list(found.blocks())
        branches = sum(len(block.branches) for block in blocks)
        expected = clean + Counter(i for i in end if i in codec.guarded)
        expected += Counter({control.para: len(blocks), control.para_end: len(blocks)})
        per_branch = (control.title, control.title_end, control.branch, control.branch_end)
        expected += Counter(dict.fromkeys(per_branch, branches))
        assert special == expected, markup
        assert row["lanes"].max() == branches
        if kind in ("llama3", "gemma") and not blocks:
            answer = row["input_ids"][row["labels"] != IGNORE].tolist()[: -len(end)]
            assert codec.decode(answer) == make.KINDS[kind](plain(parse(markup)))
        rows.append(row)
        if len(rows) == BATCH:
            batch = collate(rows)
            for ids, mask, row in zip(
                batch["input_ids"], batch["attention_mask"], rows, strict=True
            ):
                assert ids[mask.bool()].tolist() == row["input_ids"].tolist()
            done, rows = done + BATCH, []
    assert done == NUMBER // BATCH * BATCH
    print(f"{kind}: {done} documents")
