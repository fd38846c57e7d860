"""Records of a file as tokens: nothing cut or lost in silence, the same however it is read."""

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Dataset

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Branch, Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError
from aspd_cli.recipe.training import DataSection
from aspd_cli.train.data import digest, held_out, records
from aspd_cli.train.encoding import Encoded, _identity, encode
from tests import make
from tests.train.conftest import write


def block(*contents: str) -> str:
    branches = (Branch(f"T{i}", Document((text,))) for i, text in enumerate(contents))
    return render(Document((Block(tuple(branches)),)))


def encoding(source: Path, codec: Codec, **options: Any) -> Encoded:
    data = DataSection(train=str(source), **options)
    return encode(records(data, data.train), codec, data, "same-seq", False, data.train)


LONG = block("a word " * 40, "another " * 40)
SHORT = block("one", "two")


def test_records_that_are_not_markup_are_told_with_their_line(tmp_path: Path, codec: Codec) -> None:
    path = write(tmp_path / "d.jsonl", SHORT, "<|title|>A<|/title|>", "text", "x<|/para|>")
    lines = path.read_text().splitlines()
    path.write_text("\n\n".join(lines) + "\n")  # blank lines count, records or not
    with pytest.raises(DataError) as caught:
        encoding(path, codec)
    head, first, second = str(caught.value).split("\n  ")
    assert head == "2 records cannot be trained on:"
    assert first.startswith(f"{path}:3: markup is not well formed")
    assert second.startswith(f"{path}:7: markup is not well formed")


def test_an_empty_completion_and_a_foreign_one_are_told(tmp_path: Path, codec: Codec) -> None:
    path = tmp_path / "d.jsonl"
    prompt = [{"role": "user", "content": "?"}]
    path.write_text(json.dumps({"prompt": prompt, "completion": []}) + "\n")
    with pytest.raises(DataError, match=r"d\.jsonl:1: the completion is empty"):
        encoding(path, codec)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('\n{"prompt": \n[]\n', r"d\.jsonl:2: not JSON"),
        ('{"question": "a", "answer": "b"}\n', "aspd transform"),
        ("", "d.jsonl"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    tmp_path: Path,
    text: str,
    words: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("datasets"), "propagate", True)
    path = tmp_path / "d.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        records(DataSection(), str(path))
    assert not caplog.records, "datasets says nothing of its own"


@pytest.mark.parametrize("zipped", [False, True])
def test_lines_that_are_no_records_are_left_out_and_told(
    tmp_path: Path, codec: Codec, caplog: pytest.LogCaptureFixture, zipped: bool
) -> None:
    bad = {
        '{"prompt": "\x1b': "not JSON",
        "[1]": "not a JSON object",
        '{"prompt": "q", "completion": "\\ud800"}': "half of a surrogate pair",
        '{"prompt": "q", "prompt": "q", "completion": "a"}': "the key 'prompt' occurs twice",
        '{"prompt": "q", "completion": ' + "[" * 9999: "nested too deeply",
    }
    good = ['{"prompt": "q\u2028", "completion": "a"}', '{"prompt": "q", "completion": "<|para|>"}']
    data = "\n".join([good[0], *bad, "", good[1]]).encode()
    path = tmp_path / "d.jsonl"
    path.write_bytes(gzip.compress(data) if zipped else data)
    found = records(DataSection(), str(path))
    assert found["prompt"] == ["q\u2028", "q"]
    said = [each.getMessage() for each in caplog.records]
    for line, (text, words) in enumerate(zip(said, bad.values(), strict=True), start=2):
        assert text.startswith(f"left out: {path}:{line}: ")
        assert words in text
        assert "\x1b" not in text
    with pytest.raises(DataError, match=r"d\.jsonl:8: markup is not well formed"):
        encoding(path, codec)


def test_what_comes_before_a_break_in_gzip_data_is_trained_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = "".join(f'{{"prompt": "{n * n}", "completion": "{n**3}"}}\n' for n in range(5000))
    data = gzip.compress(lines.encode())
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(data[: len(data) // 2])
    found = records(DataSection(), str(path))
    assert 2000 < len(found) < 5000
    assert found["completion"][:2000] == [str(n**3) for n in range(2000)]
    assert "the gzip data end too early" in caplog.text


def test_a_missing_file_is_told_apart_from_a_hub_id() -> None:
    with pytest.raises(DataError, match=r"no file \./nowhere\.jsonl"):
        records(DataSection(), "./nowhere.jsonl")


def test_too_long_records_are_dropped_and_counted(tmp_path: Path, codec: Codec) -> None:
    found = encoding(write(tmp_path / "d.jsonl", SHORT, LONG, SHORT), codec, max_length=64)
    assert (found.records, len(found.data), found.dropped, found.parallel) == (3, 2, 1, 2)
    assert max(found.lengths) <= 64


def test_too_long_records_become_serial_where_that_fits(tmp_path: Path, codec: Codec) -> None:
    path = write(tmp_path / "d.jsonl", SHORT, LONG, "far too long " * 200)
    whole = encoding(path, codec, max_length=None)
    limit = whole.lengths[1] - 1
    found = encoding(path, codec, max_length=limit, too_long="serial")
    assert (found.made_serial, found.dropped, found.parallel, found.depth) == (1, 1, 1, 1)
    ids = [int(i) for i in found.data[1]["input_ids"]]
    answer = [i for i, label in zip(ids, found.data[1]["labels"], strict=True) if label != -100]
    assert codec.decode(answer) == plain(parse(LONG)), "plain, and all of it"


def test_nothing_left_says_what_to_change(tmp_path: Path, codec: Codec) -> None:
    path = write(tmp_path / "d.jsonl", LONG)
    with pytest.raises(DataError, match=r"the shortest has \d+ tokens, but data.max_length is 20"):
        encoding(path, codec, max_length=20)


def test_depth_is_that_of_the_data(tmp_path: Path, codec: Codec) -> None:
    inner = parse(SHORT)
    deep = Document((Block((Branch("A", inner), Branch("B", Document(("x",))))),))
    assert encoding(write(tmp_path / "d.jsonl", SHORT, render(deep)), codec).depth == 2
    assert encoding(write(tmp_path / "s.jsonl", "text"), codec).depth == 0


def test_several_workers_and_the_cache_give_what_one_gives(tmp_path: Path, codec: Codec) -> None:
    path = write(tmp_path / "d.jsonl", *(SHORT, LONG, "text") * 5)
    datasets.disable_caching()
    try:
        one = encoding(path, codec, workers=1).data
        three = encoding(path, codec, workers=3).data
    finally:
        datasets.enable_caching()
    first = encoding(path, codec).data
    again = encoding(path, codec).data
    assert again.cache_files, "read from the cache"
    for other in (three, first, again):
        assert other.with_format(None).to_list() == one.with_format(None).to_list()


def test_the_cache_goes_by_content_and_not_by_name(tmp_path: Path, codec: Codec) -> None:
    first = encoding(write(tmp_path / "d.jsonl", SHORT), codec)
    other = encoding(write(tmp_path / "d.jsonl", LONG), codec)
    assert other.lengths != first.lengths
    assert encoding(write(tmp_path / "e.jsonl", SHORT), codec).data.cache_files == (
        encoding(tmp_path / "e.jsonl", codec).data.cache_files
    )
    assert encoding(tmp_path / "d.jsonl", codec, style="serial").parallel == 0


def with_eos(eos: str, **arguments: Any) -> Codec:
    """The same tokenizer.json, whatever ends a turn."""
    tokenizer = make.tokenizer("qwen")
    tokenizer.add_tokens(["<|im_end|>"], special_tokens=True)
    tokenizer.eos_token = eos
    return Codec(tokenizer, arguments)


def test_the_cache_goes_by_the_special_tokens_too(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", SHORT)
    one, other = with_eos("<eos>"), with_eos("<|im_end|>")
    assert one.tokenizer.backend_tokenizer.to_str() == other.tokenizer.backend_tokenizer.to_str()
    for codec in (one, other, one):
        last = encoding(path, codec).data[0]["input_ids"][-1]
        assert last == codec.tokenizer.eos_token_id


def test_the_cache_goes_by_the_template_and_its_arguments(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", SHORT)
    found = []
    for ending, arguments in (("", {}), ("{{ x }}", {}), ("{{ x }}", {"x": "!"})):
        tokenizer = make.tokenizer("qwen", "chatml")
        tokenizer.chat_template += ending
        found.append(encoding(path, Codec(tokenizer, arguments)).lengths)
    assert found[0] == found[1] < found[2]
    keys = {json.dumps(_identity(with_eos("<eos>", **each))) for each in ({}, {"x": 1}, {"x": 2})}
    assert len(keys) == 3


def test_the_cache_goes_by_what_the_tokenizer_puts_around_a_text() -> None:
    plain, with_bos = make.tokenizer("gemma"), make.tokenizer("gemma")
    plain.backend_tokenizer.post_processor = None
    assert _identity(Codec(plain)) != _identity(Codec(with_bos))


def test_every_format_holds_the_same_records(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", SHORT, "text")
    values = [json.loads(line) for line in path.read_text().splitlines()]
    (tmp_path / "d.json").write_text(json.dumps(values, indent=1))
    with gzip.open(tmp_path / "d.jsonl.gz", "wb") as file:
        file.write(path.read_bytes())
    Dataset.from_list(values).to_parquet(str(tmp_path / "d.parquet"))
    names = ("d.jsonl", "d.json", "d.jsonl.gz", "d.parquet")
    assert len({digest(records(DataSection(), str(tmp_path / name))) for name in names}) == 1


def test_the_eval_split_is_disjoint_repeats_and_keeps_equal_prompts_together() -> None:
    rows = [{"prompt": f"question {i % 60}", "completion": str(i)} for i in range(100)]
    train, test = held_out(Dataset.from_list(rows), 0.1, seed=1)
    assert len(train) + len(test) == 100
    assert 10 <= len(test) <= 12
    assert not set(train["prompt"]) & set(test["prompt"])
    assert held_out(Dataset.from_list(rows), 0.1, seed=1)[1].to_list() == test.to_list()
    assert held_out(Dataset.from_list(rows), 0.1, seed=2)[1].to_list() != test.to_list()
    assert train["completion"] == sorted(train["completion"], key=int), "the order is kept"
