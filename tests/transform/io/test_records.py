"""Records: every dialect in every kind of file, each value once and in order, or why it is none."""

import csv
import gzip
import io
import json
import random
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from aspd_cli.errors import DataError
from aspd_cli.transform.io import readers
from aspd_cli.transform.io.readers import STDIN
from aspd_cli.transform.io.records import Record, Rejected, read_records

USER, ANSWER = {"role": "user", "content": "Q 1"}, {"role": "assistant", "content": "A 1\n"}
SYSTEM = {"role": "system", "content": "S"}
EARLIER = [{"role": "user", "content": "Q 0"}, {"role": "assistant", "content": "A 0"}]

DIALECTS: dict[str, tuple[dict[str, Any], list[dict[str, str]]]] = {
    "messages": ({"messages": [*EARLIER, USER, ANSWER]}, [*EARLIER, USER]),
    "messages with a question left open": (
        {"messages": [USER, ANSWER, {"role": "user", "content": "thanks"}]},
        [USER],
    ),
    "prompt and completion": ({"prompt": "Q 1", "completion": "A 1\n"}, [USER]),
    "prompt and completion as messages": (
        {"prompt": [SYSTEM, USER], "completion": [ANSWER]},
        [SYSTEM, USER],
    ),
    "alpaca": ({"instruction": "Q 1", "output": "A 1\n"}, [USER]),
    "alpaca in full": (
        {
            "instruction": "Q",
            "input": "1",
            "history": [["Q 0", "A 0"]],
            "system": "S",
            "output": "A 1\n",
        },
        [SYSTEM, *EARLIER, {"role": "user", "content": "Q\n1"}],
    ),
    "sharegpt": (
        {
            "conversations": [
                {"from": "system", "value": "S"},
                {"from": "human", "value": "Q 1"},
                {"from": "gpt", "value": "A 1\n"},
            ]
        },
        [SYSTEM, USER],
    ),
    "question and answer": ({"question": "Q 1", "answer": "A 1\n"}, [USER]),
    "prompt and response": ({"prompt": "Q 1", "response": "A 1\n"}, [USER]),
    "apar": (
        {
            "id": "x",
            "dialog": [
                {"prompt": "Q 0", "response": "A[SplitMask]", "streams": [" 0"], "forkable": True},
                {"prompt": "Q 1", "response": "A 1\n", "streams": [], "forkable": False},
            ],
        },
        [*EARLIER, USER],
    ),
    "chatml": (
        {
            "qwen_text": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ 1<|im_end|>\n"
            "<|im_start|>assistant\nA 1\n<|im_end|>\n"
        },
        [SYSTEM, USER],
    ),
}


def write(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def records(path: Path, dialect: str = "auto") -> list[Record]:
    found = list(read_records(path, dialect))
    assert all(isinstance(record, Record) for record in found), found
    return [record for record in found if isinstance(record, Record)]


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_is_found_and_read(tmp_path: Path, name: str) -> None:
    value, prompt = DIALECTS[name]
    [record] = records(write(tmp_path / "in.jsonl", [value]))
    assert record.example.prompt == prompt
    assert record.example.answer == "A 1\n"


def parquet(values: list[Any]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), buffer, row_group_size=7)
    return buffer.getvalue()


def table(values: list[Any], delimiter: str, **options: Any) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, values[0], delimiter=delimiter, **options)
    writer.writeheader()
    writer.writerows(values)
    return file.getvalue().encode()


FILE_KINDS = {
    "jsonl": lambda values: "".join(json.dumps(v) + "\n" for v in values).encode(),
    "jsonl with a byte order mark, blank lines and no last newline": lambda values: (
        b"\xef\xbb\xbf" + "\r\n\n".join(json.dumps(v, ensure_ascii=False) for v in values).encode()
    ),
    "array": lambda values: json.dumps(values).encode(),
    "indented array": lambda values: b"\n " + json.dumps(values, indent=2).encode() + b"\n",
    "parquet": parquet,
    "table": lambda values: table(values, ","),
    "table with a byte order mark and tabs": lambda values: (
        b"\xef\xbb\xbf" + table(values, "\t", quoting=csv.QUOTE_ALL)
    ),
}
PACKINGS = {
    "not packed": lambda data: data,
    "gzip": gzip.compress,
    "zstd": lambda data: pyarrow.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("name", FILE_KINDS)
def test_every_kind_of_file_holds_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, packing: str, piped: bool
) -> None:
    values = [{"id": f"n{n}", "question": f"q {n} é", "answer": f"a {n} 中\n"} for n in range(30)]
    data = PACKINGS[packing](FILE_KINDS[name](values))
    path = tmp_path / "in"
    path.write_bytes(data)
    if piped:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(_Pipe(data)))
        path = STDIN
    found = records(path)
    assert [r.id for r in found] == [v["id"] for v in values]
    assert [r.example.answer for r in found] == [v["answer"] for v in values]
    assert [r.index for r in found] == list(range(30))


class _Pipe(io.BytesIO):
    """Bytes that come a few at a time and cannot be sought."""

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size, 1000) if size and size > 0 else size)


def test_an_array_is_read_alike_however_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [{"question": "q" * n, "answer": f'[{n}, "}}'} for n in range(1, 20)]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(values, indent=1))
    for size in (1, 2, 7, 64, 1000):
        monkeypatch.setattr(readers, "_CHUNK", size)
        assert [r.example.answer for r in records(path)] == [v["answer"] for v in values]


def test_what_is_no_record_is_rejected_in_its_place(tmp_path: Path) -> None:
    good = {"question": "q", "answer": "a"}
    path = tmp_path / "in.jsonl"
    lines = [
        json.dumps(good),
        "{broken",
        "[1]",
        json.dumps({"question": "q"}),
        json.dumps({"question": "", "answer": "a"}),
        json.dumps({"question": "q", "answer": " \n"}),
        json.dumps({"question": "q", "answer": "a <|para|>"}),
        json.dumps({"question": "q", "answer": "\ud800"}),
        json.dumps({"question": ["q"], "answer": "a"}),
        "",
        json.dumps(good),
    ]
    path.write_bytes("\n".join(lines).encode() + b'\n{"question": "\xff"}\n')
    found = list(read_records(path))
    assert [r.line for r in found] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    reasons = {r.line: r.reason for r in found if isinstance(r, Rejected)}
    for line, words in {
        2: "not JSON",
        3: "must be a JSON object",
        4: "no `answer`",
        5: "the prompt is empty",
        6: "the answer is empty",
        7: "control token",
        8: "surrogate",
        9: "is not a string",
        12: "not UTF-8",
    }.items():
        assert words in reasons.pop(line)
    assert not reasons
    assert [r.index for r in found if isinstance(r, Record)] == [0, 9]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"messages": [USER]}, "no answer from the assistant"),
        ({"messages": [ANSWER]}, "the prompt is empty"),
        ({"messages": "hi"}, "`messages` is not a list"),
        ({"messages": [{"content": "x"}]}, "needs a `role`"),
        ({"messages": [USER, {"role": "assistant", "content": [1]}]}, "is not a string"),
        ({"conversations": [{"from": "parrot", "value": "x"}]}, "parrot"),
        ({"conversations": ["x"]}, "needs a `from`"),
        ({"conversations": [{"from": ["human"], "value": "x"}]}, "`from` is ['human']"),
        ({"conversations": [{"role": "parrot", "content": "x"}]}, "`role` is 'parrot'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "is not text"),
        ({"messages": [{**USER, "role": "us\ud800er"}, ANSWER]}, "surrogate"),
        ({"instruction": ["q"], "output": "a"}, "is not a string"),
        ({"instruction": "q", "output": "a", "history": ["x"]}, "is not a string"),
    ],
)
def test_a_conversation_without_an_answer_says_why(
    tmp_path: Path, value: dict[str, Any], words: str
) -> None:
    [found] = read_records(write(tmp_path / "in.jsonl", [value]))
    assert isinstance(found, Rejected)
    assert words in found.reason


def test_a_broken_array_gives_what_is_before_the_break(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text('[{"question": "q", "answer": "a"},\n {"question": oops}]')
    first, second = read_records(path)
    assert isinstance(first, Record)
    assert isinstance(second, Rejected)
    assert second.line == 2


def test_an_ambiguous_file_names_its_dialects_and_a_choice_settles_it(tmp_path: Path) -> None:
    both = {"question": "q", "answer": "a", "instruction": "i", "output": "o"}
    path = write(tmp_path / "in.jsonl", [both])
    with pytest.raises(DataError, match=r"alpaca and question-answer.*transform.dialect=alpaca"):
        list(read_records(path))
    assert records(path, "question-answer")[0].example.answer == "a"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (
            b'{"text": "x"}\n',
            "the fields text; a record needs the fields of one of: messages; prompt",
        ),
        (b"\x00\x01", "line 1 is not JSON"),
        (b"[]", "is empty"),
        (b"\x1f\x8bxx", "cannot read"),
        (b"PAR1xxxx", "cannot read the Parquet file"),
    ],
)
def test_a_file_without_records_is_an_error(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "in"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words):
        list(read_records(path))


RECORD = {"question": "q", "answer": "a"}
SURROGATE = "\ud800"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (json.dumps({**RECORD, "id": SURROGATE}), "the `id` contains half of a surrogate"),
        (json.dumps({**RECORD, "id": {"a": SURROGATE}}), "the `id` contains half of a surrogate"),
        (json.dumps({**RECORD, "id": float("nan")}), "the `id` is nan"),
        (json.dumps({**RECORD, "id": [float("inf")]}), "the `id`, a list, cannot be written"),
        ('{"question": "q", "answer": "a", "id": 1e999}', "the `id` is inf"),
        (json.dumps({**RECORD, "id": 1 << 64}), "more than 64 bits"),
        ('{"question": "q", "answer": "a", "id": ' + "9" * 5000 + "}", "too many digits"),
        ('{"question": "q", "answer": "a", "id": ' + "[" * 99 + "]" * 99 + "}", "too deeply"),
        ('{"question": "q", "answer": ' + "[" * 99_999 + "]" * 99_999 + "}", "too deeply"),
        ('{"question": "q", "answer": "a", "answer": "b"}', "the key 'answer' occurs twice"),
        (json.dumps({**RECORD, "question": SURROGATE}), "half of a surrogate pair"),
        (json.dumps({**RECORD, "answer": SURROGATE}), "half of a surrogate pair"),
        ('{"question": "q", "answer": "a\0"}', "not JSON"),
    ],
)
@pytest.mark.parametrize("array", [False, True])
def test_a_record_that_cannot_be_written_again_is_rejected_alone(
    tmp_path: Path, line: str, words: str, array: bool
) -> None:
    good = json.dumps({**RECORD, "id": "x"})
    path = tmp_path / "in"
    if array and "\0" not in line:  # behind what is no JSON nothing is found in an array
        path.write_text(f"[{good},\n{line},\n{good}]")
    else:
        path.write_text(f"{good}\n{line}\n{good}\n")
    first, found, last = read_records(path)
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert isinstance(found, Rejected)
    assert found.line == 2
    assert words in found.reason


def test_line_ends_inside_of_texts_are_no_line_ends(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x1cf"
    value = {"question": text, "answer": text, "id": 1}
    line = json.dumps(value, ensure_ascii=False)
    path = tmp_path / "in.jsonl"
    path.write_bytes(("\ufeff" + f"{line}\r\n" * 2 + "\ufeff\n\ufeff" + line).encode())
    found = records(path)
    assert [r.example.answer for r in found] == [text] * 3
    assert [r.line for r in found] == [1, 2, 4]


@pytest.mark.parametrize("array", [False, True])
def test_what_comes_before_a_break_in_gzip_data_counts(tmp_path: Path, array: bool) -> None:
    rng = random.Random(0)
    values = [{"question": f"{rng.random()}", "answer": f"{rng.random()}"} for _ in range(9000)]
    text = json.dumps(values) if array else "".join(json.dumps(v) + "\n" for v in values)
    whole = gzip.compress(text.encode())
    middle = len(whole) // 2
    torn = whole[:middle]
    spoiled = whole[:middle] + b"." * 200 + whole[middle + 200 :]
    trailing = whole + b"more"
    path = tmp_path / "in.gz"
    for data, least, why in (
        (torn, 4000, "the gzip data end too early"),
        (spoiled, 4000, "the gzip data are broken"),
        (trailing, 9000, "the gzip data are broken"),
    ):
        path.write_bytes(data)
        found = list(read_records(path))
        good = [r for r in found if isinstance(r, Record)]
        assert len(good) >= least
        assert [r.example.answer for r in good[:4000]] == [v["answer"] for v in values[:4000]]
        assert isinstance(found[-1], Rejected)
        assert why in found[-1].reason
    path.write_bytes(whole + whole if not array else whole + b"\0" * 100)
    assert len(records(path)) == (9000 if array else 18000)


def test_rows_of_parquet_that_cannot_be_json_are_rejected_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    when = [datetime(2020, 1, 1), None]
    table = pyarrow.table({"question": ["q", "q"], "answer": ["a", "a"], "id": when})
    pyarrow.parquet.write_table(table, path)
    first, second = read_records(path)
    assert isinstance(first, Rejected)
    assert "the `id`, a datetime" in first.reason
    assert isinstance(second, Record)


TURNS: dict[str, tuple[list[dict[str, Any]], list[dict[str, str]], str]] = {
    "two of one speaker": (
        [
            {"from": "human", "value": "Q"},
            {"from": "human", "value": "1"},
            {"from": "gpt", "value": "A"},
            {"from": "gpt", "value": ""},
            {"from": "gpt", "value": "1"},
        ],
        [{"role": "user", "content": "Q\n\n1"}],
        "A\n\n1",
    ),
    "role and content": ([USER, ANSWER], [USER], "A 1\n"),
    "tools": (
        [
            {"from": "human", "value": "Q 1"},
            {"from": "function_call", "value": "{}"},
            {"from": "observation", "value": "x"},
            {"from": "gpt", "value": "A"},
        ],
        [USER, {"role": "tool", "content": "{}"}, {"role": "tool", "content": "x"}],
        "A",
    ),
    "parts": (
        [
            {
                "from": "human",
                "value": [{"type": "text", "text": "Q"}, {"type": "text", "text": " 1"}],
            },
            {"from": "gpt", "value": [{"type": "text", "text": "A"}]},
        ],
        [USER],
        "A",
    ),
}


TURNS["tools of OpenAI"] = (
    [
        {"role": "user", "content": "Q 1"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": 1}], "from": None},
        {"role": "tool", "content": "x"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "A"}]},
    ],
    [
        USER,
        {"role": "tool", "content": '[{"id": 1}]'},
        {"role": "tool", "content": "x"},
    ],
    "A",
)


@pytest.mark.parametrize("name", TURNS)
def test_turns_of_sharegpt_as_they_are_found(tmp_path: Path, name: str) -> None:
    turns, prompt, answer = TURNS[name]
    [record] = records(write(tmp_path / "in.jsonl", [{"conversations": turns}]))
    assert record.example.prompt == prompt
    assert record.example.answer == answer


def test_rows_that_do_not_fit_a_table_are_rejected_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(
        b'question,answer,id\nq,"a\nb",1\nq,a,b,c\nq,\xff,2\nq,,3\n\nq,a\n"q,never closed\nq,a,4\n'
    )
    found = list(read_records(path))
    assert [each.line for each in found] == [2, 4, 5, 6, 8, 9]
    assert [each.example.answer for each in found if isinstance(each, Record)] == ["a\nb", "a"]
    reasons = [each.reason for each in found if isinstance(each, Rejected)]
    wanted = ["4 fields for 3", "not UTF-8", "no `answer`", "not CSV, nor is what comes after"]
    assert all(words in reason for words, reason in zip(wanted, reasons, strict=True))


def test_what_comes_before_a_break_in_zstd_data_counts(tmp_path: Path) -> None:
    rng = random.Random(0)
    lines = (json.dumps({"question": "q", "answer": f"{rng.random()}"}) for _ in range(9000))
    data = pyarrow.compress("\n".join(lines).encode(), "zstd", asbytes=True)
    path = tmp_path / "in.zst"
    path.write_bytes(data[: len(data) * 3 // 4])
    found = list(read_records(path))
    assert len(found) > 2000
    assert isinstance(found[-1], Rejected)
    assert "zstd data" in found[-1].reason
    path.write_bytes(data + data)
    assert len(list(read_records(path))) == 17999  # the two lines at the seam are one


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*missing: No such file"):
        list(read_records(tmp_path / "missing"))


@pytest.mark.parametrize("array", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, array: bool) -> None:
    path = tmp_path / "in"

    def peak(count: int) -> int:
        text = "x" * 1000
        lines = (json.dumps({"question": f"{n}", "answer": text}) for n in range(count))
        with path.open("w") as file:
            file.write("[" if array else "")
            file.writelines(f"{line},\n" if array else f"{line}\n" for line in islice(lines, count))
            file.write("0]" if array else "")
        tracemalloc.start()
        total = sum(isinstance(record, Record) for record in read_records(path))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == count
        return size

    assert peak(4000) < peak(500) + 500_000


def test_shuffled_garbage_never_loses_or_doubles_a_line(tmp_path: Path) -> None:
    def lines(rng: random.Random) -> Iterator[bytes]:
        for n in range(200):
            good = json.dumps({"question": f"q{n}", "answer": f"a{n}"}).encode()
            bad = [good[: rng.randrange(1, 9)], b"\xff", b"[]", b"7"]
            yield rng.choice([good, *bad]) if n else good  # an array would begin with a bracket

    for seed in range(20):
        path = tmp_path / "in.jsonl"
        path.write_bytes(b"\n".join(lines(random.Random(seed))))
        assert [r.line for r in read_records(path)] == list(range(1, 201))
