"""The pipeline: everything in comes out once and in order, whole files only, loadable by TRL."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import plain
from aspd_cli.core.metrics import measure, structure
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, ModelError
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform import token_counts
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.report import SAMPLE
from aspd_cli.transform.rules import propose
from aspd_cli.transform.token_counts import EstimatingCodec, open_codec
from tests import make
from tests.transform import answers

SHORT = TransformSection(min_tokens=10)
ANSWERS = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())


def write(path: Path, count: int, bad: int = 0) -> Path:
    """A file of `count` answers, with `bad` lines that are no records spread between them."""
    lines = []
    for n in range(count):
        if n < bad:
            lines.append("{no record\n")
        answer = ANSWERS[n % len(ANSWERS)]
        lines.append(json.dumps({"id": f"n{n}", "question": f"q {n}", "answer": answer}) + "\n")
    path.write_text("".join(lines))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_come_out_once_in_order_with_the_same_plain_text(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.jsonl"
    report = transform_file(write(tmp_path / "in", 60), out, SHORT, EstimatingCodec())
    rows = read(out)
    assert [row["id"] for row in rows] == [f"n{n}" for n in range(60)]
    assert [row["prompt"][0]["content"] for row in rows] == [f"q {n}" for n in range(60)]
    for n, row in enumerate(rows):
        [turn] = row["completion"]
        document = parse(turn["content"])
        assert plain(document) == ANSWERS[n % len(ANSWERS)]
        parallel = any(document.blocks())
        assert row["aspd"]["status"] == ("parallel" if parallel else "serial")
        assert (row["aspd"]["reason"] is None) == parallel
        assert row["aspd"]["stats"]["blocks"] == len(list(document.blocks()))
    assert report.parallel == sum(row["aspd"]["status"] == "parallel" for row in rows)
    assert sorted(os.listdir(out.parent)) == ["out.jsonl", "out.jsonl.report.json"]


def test_rejects_are_listed_with_their_line_and_the_rest_is_done(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    report = transform_file(write(tmp_path / "in", 5, bad=3), out, SHORT, EstimatingCodec())
    assert report.rejected == 3
    assert len(read(out)) == 5
    assert [reject["line"] for reject in read(tmp_path / "out.jsonl.rejected.jsonl")] == [1, 3, 5]
    transform_file(write(tmp_path / "in", 5), out, SHORT, EstimatingCodec())
    assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()


def test_a_block_must_save_steps_for_the_tokens_that_it_adds(tmp_path: Path) -> None:
    out, source = tmp_path / "out.jsonl", tmp_path / "in"
    source.write_text(json.dumps({"question": "q", "answer": answers.TIPS}) + "\n")
    for least, status in ((0.0, "parallel"), (0.9, "parallel"), (1.0, "serial")):
        section = TransformSection(min_tokens=1, min_saved=least)
        transform_file(source, out, section, EstimatingCodec())
        assert read(out)[0]["aspd"]["status"] == status


def test_answers_outside_the_token_limits_stay_serial_and_say_so(tmp_path: Path) -> None:
    out, codec = tmp_path / "out.jsonl", EstimatingCodec()
    tokens = len(codec.encode(answers.TIPS))
    source = tmp_path / "in"
    source.write_text(json.dumps({"question": "q", "answer": answers.TIPS}) + "\n")
    for low, high, reason in [
        (tokens + 1, 8000, f"fewer than {tokens + 1} tokens"),
        (1, tokens - 1, f"more than {tokens - 1} tokens"),
        (tokens, tokens, None),
    ]:
        section = TransformSection(min_tokens=low, max_tokens=high)
        transform_file(source, out, section, codec)
        assert read(out)[0]["aspd"]["reason"] == reason


def test_the_report_adds_up(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    transform_file(write(tmp_path / "in", 60, bad=2), out, SHORT, EstimatingCodec())
    report = json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert report["records"] == 62
    assert report["records"] == report["rejected"] + report["parallel"] + report["serial"]
    stages = report["stages"]
    assert stages[0]["in"] == 62
    assert stages[-1]["out"] == report["parallel"]
    assert all(before["out"] == after["in"] for before, after in pairwise(stages))
    assert sum(report["reasons"].values()) == report["serial"]
    ppd = report["measures"]["ppd"]
    assert ppd["low"] < ppd["value"] < ppd["high"]
    assert ppd["value"] == round(report["parallel"] / 60, 4)


def test_a_limit_reads_no_more(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    transform_file(write(tmp_path / "in", 60), out, SHORT, EstimatingCodec(), limit=7)
    assert len(read(out)) == 7


def test_a_failure_leaves_the_old_output_and_no_scraps(tmp_path: Path) -> None:
    out, source = tmp_path / "out.jsonl", write(tmp_path / "in", 3)
    transform_file(source, out, SHORT, EstimatingCodec())
    before = out.read_bytes()
    source.write_text("")
    with pytest.raises(DataError, match="is empty"):
        transform_file(source, out, SHORT, EstimatingCodec())
    assert out.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(DataError, match="cannot write"):
        transform_file(write(source, 3), Path("/proc/none/out.jsonl"), SHORT, EstimatingCodec())


RUN = """
import sys
from pathlib import Path
from aspd_cli.transform.token_counts import EstimatingCodec
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.rules import propose
from aspd_cli.recipe.sections import TransformSection
source, out = map(Path, sys.argv[1:])
print("ready", flush=True)
transform_file(source, out, TransformSection(min_tokens=10), EstimatingCodec())
"""


def test_killed_at_any_moment_a_second_run_ends_with_the_same_file(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in", 800, bad=5), tmp_path / "out.jsonl"
    transform_file(source, tmp_path / "whole.jsonl", SHORT, EstimatingCodec())
    whole = (tmp_path / "whole.jsonl").read_bytes()
    for wait in (0.0, 0.1, 0.4):
        arguments = [sys.executable, "-c", RUN, str(source), str(out)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists() or out.read_bytes() == whole
    transform_file(source, out, SHORT, EstimatingCodec())
    assert out.read_bytes() == whole
    for name in ("rejected.jsonl", "report.json"):
        beside_both = (tmp_path / f"{stem}.jsonl.{name}" for stem in ("out", "whole"))
        assert len({path.read_bytes() for path in beside_both}) == 1
    assert not list(tmp_path.glob("*.partial"))


def test_counts_are_those_of_the_layout() -> None:
    document = propose(answers.TIPS).document
    codec = Codec(make.tokenizer("qwen", "chatml"))
    tree = tokenize(document, codec)
    assert measure(document, codec) == structure(tree, lay_out(tree, codec))
    assert measure(document, EstimatingCodec()).branches == 3


def test_an_estimate_counts_wide_characters_one_by_one() -> None:
    codec = EstimatingCodec()
    assert [len(codec.encode(text)) for text in ("", "a", "four", "fives", "中文", "中文four")] == [
        0, 1, 1, 2, 2, 3,
    ]  # fmt: skip


def test_a_tokenizer_is_loaded_by_name_and_a_missing_one_is_named(tmp_path: Path) -> None:
    make.tokenizer("qwen", "chatml", control=False).save_pretrained(tmp_path)
    codec, name = open_codec(str(tmp_path))
    assert codec.control
    assert str(tmp_path) in name
    with pytest.raises(ModelError, match="no/tokenizer"):
        open_codec("no/tokenizer")


def test_without_a_name_the_embedded_tokenizer_counts_and_without_one_an_estimate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(token_counts, "EMBEDDED_MODEL", tmp_path / "none")
    codec, name = open_codec(None)
    assert isinstance(codec, EstimatingCodec)
    assert "estimate" in name
    make.tokenizer("qwen", "chatml").save_pretrained(tmp_path / "base")
    monkeypatch.setattr(token_counts, "EMBEDDED_MODEL", tmp_path)
    codec, name = open_codec(None)
    assert "embedded" in name
    assert codec.encode("two words") == Codec(make.tokenizer("qwen", "chatml")).encode("two words")


@pytest.mark.parametrize("kind", ["qwen", pytest.param("llama2", marks=pytest.mark.slow)])
def test_a_tokenizer_read_by_another_process_gives_the_same_ids(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    ordinary = make.tokenizer(kind, "chatml")
    ordinary.save_pretrained(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    codec, _ = open_codec(str(tmp_path))
    expected = Codec(AutoTokenizer.from_pretrained(tmp_path))
    assert type(codec.tokenizer).__name__ == "BareTokenizer"
    assert codec.control == expected.control
    for text in (*ANSWERS, "", " a", "b ", "\n", "<|para|> as text", "中文 é"):
        ids = codec.encode(text)
        assert ids == expected.encode(text)
        assert codec.decode(ids) == expected.decode(ids)


def test_the_measures_of_a_long_file_are_taken_of_a_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert SAMPLE >= 1000
    monkeypatch.setattr("aspd_cli.transform.report.SAMPLE", 10)
    out = tmp_path / "out.jsonl"
    transform_file(write(tmp_path / "in", 60), out, SHORT, EstimatingCodec())
    report = json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert (report["records"], report["measured"]) == (60, 10)


def test_datasets_loads_the_output_as_training_data(tmp_path: Path) -> None:
    from aspd_cli.recipe.training import DataSection
    from aspd_cli.train.data import records
    from aspd_cli.train.encoding import encode

    out = tmp_path / "out.jsonl"
    transform_file(write(tmp_path / "in", 30), out, SHORT, EstimatingCodec())
    found = records(DataSection(), str(out))
    codec = Codec(make.tokenizer("qwen", "chatml"))
    data = encode(found, codec, DataSection(max_length=None), "same-seq", False, out.name)
    assert (data.records, len(data.data)) == (30, 30)
