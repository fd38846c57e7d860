"""Whatever a file holds: each value comes out as a record or a rejection, and is JSON again.

pytest -m slow tests/transform/io/test_records_fuzz.py      # 100,000 records, some minutes
"""

import copy
import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import pytest

from aspd_cli.cli.views.prompts_file import read_prompts
from aspd_cli.core.markup import plain
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError
from aspd_cli.evaluate.judge.questions import load_questions
from aspd_cli.files import json_line
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.io.records import Record, Rejected, read_records
from aspd_cli.transform.rows import row, transform_record
from aspd_cli.transform.token_counts import EstimatingCodec
from tests.transform import answers

A_FILE = 50
"""Records of a file."""
TEXTS = [text for text, _ in answers.PARALLEL.values()] + ["Short.", "a\u2028b\x85c"]
TEXTS += [
    "<Parallel><Goal><Outline>1: A</Outline><Outline>2: B</Outline></Goal>\n<Path>1: a b</Path>"
    "<Path>2: c d</Path><Conclusion>e</Conclusion></Parallel>",
    "<guideline><plan>A</plan><plan>B</plan></guideline><step>a</step><step>b</step> end",
    "<|title|>A<|/title|><|title|>B<|/title|><|para|><|branch|>A: a<|/branch|><|branch|>B: b"
    "<|/branch|><|/para|>",
    "<think1>a</think1><think2>b</think2><summary>c</summary>", "<Parallel><Path>a</Path>",
]  # fmt: skip
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1 << 62, 1 << 64, 10**300, float("nan"), float("inf"),
    "", " ", "\ud800", "a\udfffb", "\0", "\x1b[2J", "\u2028", "\ufeff", "<|para|>", "<|im_end|>",
    "\u00e9" * 50, [], {}, [[]], [None], ["human"], {"role": "user"}, {"from": "gpt"}, {"": ""},
    [{"type": "text", "text": "x"}], [{"type": "image_url"}],
    "user", "assistant", "system", "tool", "function_call",
]  # fmt: skip
LINES = [
    b"\xff\xfe{}", b"\xef\xbb\xbf", b"\0", b"[" * 3000, b"{" * 3000, b'{"a":' * 2000, b"9" * 5000,
    b"NaN", b"null", b'"x"', b"[]", b"{}", b"\x0b", b"\xc2\x85", b"\xe2\x80\xa8", b"\r",
]  # fmt: skip


def valid(rng: random.Random, dialect: str) -> dict[str, Any]:
    """A record of a dialect."""
    question, answer = f"Q {rng.random()}?", rng.choice(TEXTS)
    user, said = {"role": "user", "content": question}, {"role": "assistant", "content": answer}
    parts = [{"type": "text", "text": question}]
    found = rng.choice(
        {
            "messages": [
                {"messages": [user, said]},
                {"messages": [{"role": "system", "content": "S"}, user, said, user, said, user]},
                {"messages": [{"role": "user", "content": parts}, said]},
            ],
            "prompt-completion": [
                {"prompt": question, "completion": answer},
                {"prompt": [user, said, user], "completion": [said]},
            ],
            "alpaca": [
                {"instruction": question, "output": answer},
                {
                    "instruction": question,
                    "input": "I",
                    "output": answer,
                    "history": [["a", "b"]],
                    "system": "S",
                },
            ],
            "sharegpt": [
                {
                    "conversations": [
                        {"from": "human", "value": question},
                        {"from": "function_call", "value": "{}"},
                        {"from": "observation", "value": "x"},
                        {"from": "gpt", "value": answer},
                        {"from": "gpt", "value": "More."},
                    ]
                },
                {"conversations": [user, said], "system": "S"},
            ],
            "question-answer": [{"question": question, "answer": answer}],
            "prompt-response": [{"prompt": question, "response": answer}],
            "apar": [
                {"dialog": [{"prompt": question, "response": answer, "streams": []}]},
                {
                    "dialog": [
                        {
                            "prompt": question,
                            "response": "- A:[SplitMask]\n- B:[SplitMask]",
                            "streams": [" a", f" {answer}"],
                            "forkable": True,
                        }
                    ]
                },
            ],
            "chatml": [
                {
                    "qwen_text": f"<|im_start|>user\n{question}<|im_end|>\n"
                    f"<|im_start|>assistant\n{answer}<|im_end|>\n"
                }
            ],
        }[dialect]
    )
    if rng.random() < 0.5:
        found = {"id": rng.choice([rng.randrange(99), "x", None]), "category": "c", **found}
    return copy.deepcopy(found)


def spoil(rng: random.Random, value: Any) -> Any:
    """A record with an odd value somewhere, or without what was there."""
    if rng.random() < 0.1 or not isinstance(value, dict | list) or not value:
        return copy.deepcopy(rng.choice(ODD))
    at = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    kind = rng.random()
    if kind < 0.1:
        del value[at]
    elif kind < 0.2:
        value[at] = [value[at]] * rng.randrange(3)
    elif kind < 0.3 and isinstance(value, dict):
        value[rng.choice(["id", "role", "from", "value", "content", "\ud800", "\x1b"])] = value[at]
    elif kind < 0.35:
        for _ in range(rng.choice([5, 50, 400])):
            value[at] = [value[at]]
    else:
        value[at] = spoil(rng, value[at])
    return value


def damage(rng: random.Random, line: bytes) -> bytes:
    """Bytes of a line that are cut, doubled, swapped or replaced."""
    at, end = sorted(rng.randrange(len(line) + 1) for _ in range(2))
    return rng.choice(
        [
            line[:at],
            line[:at] + line[at:end] * 2 + line[end:],
            line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :],
            line[:at] + rng.choice(LINES) + line[at:],
            rng.choice(LINES),
        ]
    ).replace(b"\n", b" ")


def lines(rng: random.Random, dialect: str) -> list[bytes]:
    """Lines of a file; the first is a record, so that the dialect can be told from it."""
    found = []
    for number in range(A_FILE):
        value = valid(rng, dialect)
        how = rng.random() if number else 1.0
        if how < 0.6:
            value = spoil(rng, value)
        line = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
        found.append(damage(rng, line) if how < 0.2 else line)
    return found


def no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


def fuzz(folder: Path, number: int, seed: int) -> Counter[str]:
    """Reads so many records by all readers; what came of them."""
    from aspd_cli.transform.io.formats import DIALECTS

    rng, counts = random.Random(seed), Counter[str]()
    codec = EstimatingCodec()
    rules, none = TransformSection(min_tokens=0), TransformSection(min_tokens=10**6)
    path, again = folder / "in", folder / "again.jsonl"
    while counts["values"] < number:
        dialect = rng.choice(list(DIALECTS))
        whole = lines(rng, dialect)
        array = rng.random() < 0.2
        data = b"[" + b",\n".join(whole) + b"]" if array else b"\n".join(whole)
        torn = False
        if rng.random() < 0.2:
            data = gzip.compress(data, 1)
            if torn := rng.random() < 0.5:
                data = data[: rng.randrange(len(data))]
        path.write_bytes(data)
        try:
            found = list(read_records(path, rng.choice(["auto", dialect])))
        except DataError:
            if not torn and not array:  # the first line is a record
                raise
            counts["values"] += 1
            continue
        counts["values"] += len(found)
        if not array and not torn:
            blank = sum(not line.strip(b" \t\r\n\xef\xbb\xbf") for line in whole)
            assert len(found) == len(whole) - blank
        written = []
        for each in found:
            if isinstance(each, Rejected):
                assert each.line >= 1
                assert each.reason
                line = json_line(each.as_dict())
                counts["rejected"] += 1
            else:
                section = none if counts["records"] % 10 else rules  # they take their time
                line = json_line(row(each, transform_record(each, section, codec)))
                written.append((each, line))
                counts["records"] += 1
            json.loads(line.decode(), parse_constant=no_constant)
        again.write_bytes(b"".join(line for _, line in written))
        if written:
            values = [json.loads(line) for _, line in written]
            for (each, _), value in zip(written, values, strict=True):
                assert value["prompt"] == each.example.prompt
                text = plain(parse(value["completion"][0]["content"]))
                assert text.replace(" ", "") == each.example.answer.replace(" ", "")
            bare = [{"prompt": v["prompt"], "completion": "x", "id": v["id"]} for v in values]
            again.write_bytes(b"".join(map(json_line, bare)))
            reread = list(read_records(again))
            assert all(isinstance(each, Record) for each in reread)
            assert [e.example.prompt for e in reread if isinstance(e, Record)] == [
                value["prompt"] for value in values
            ]
        if not data.startswith(b"\x1f\x8b"):
            records, rejected = read_prompts(path)
            for record in records:
                json.loads(
                    json_line({"id": record.id, "prompt": record.prompt, "c": record.category}),
                    parse_constant=no_constant,
                )
                assert record.digest
            assert all(each.reason and each.line for each in rejected)
            counts["prompts"] += len(records)
            try:
                counts["questions"] += len(load_questions("mt_bench", {"mt_bench": str(path)}))
            except DataError:
                counts["files without questions"] += 1
    return counts


def test_every_record_comes_out_as_one_or_as_a_rejection(tmp_path: Path) -> None:
    counts = fuzz(tmp_path, 500, seed=0)
    assert counts["records"] > 60
    assert counts["rejected"] > 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_every_one_of_a_hundred_thousand(tmp_path: Path, seed: int) -> None:
    counts = fuzz(tmp_path, 10_000, seed)
    print(dict(counts))
    assert counts["records"] > 1500
    assert counts["rejected"] > 1500
