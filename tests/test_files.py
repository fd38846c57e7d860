"""Files are written whole or not at all; a line is what ends with a line feed."""

import math
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aspd_cli.errors import DataError
from aspd_cli.files import (
    append_jsonl,
    complete_lines,
    content_digest,
    json_safe,
    read_jsonl,
    write_atomically,
    write_jsonl,
    write_text,
)


@pytest.mark.parametrize("old", [None, "old\n"])
def test_a_failed_writer_leaves_what_was_there(tmp_path: Path, old: str | None) -> None:
    path = tmp_path / "out.jsonl"
    if old is not None:
        path.write_text(old)

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), write_atomically(path) as file:
        file.writelines(parts())
    assert [each.read_text() for each in tmp_path.iterdir()] == ([] if old is None else [old])


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    code = (
        "import os, signal, sys; from pathlib import Path; from aspd_cli.files import *\n"
        "with write_atomically(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old\n"
    assert len(list(tmp_path.iterdir())) == 2
    with write_atomically(path) as file:
        write_text(path, "between\n")  # leaves alone what another writer is at
        file.write(b"new\n")
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path], "what the kill left is gone"


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "none" / "out.jsonl"
    with pytest.raises(OSError, match="No such file") as caught:
        write_text(path, "text")
    assert caught.value.filename == str(path)


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_permissions_are_those_of_any_new_file_or_of_the_one_replaced(tmp_path: Path) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o640
    (tmp_path / "new").chmod(0o604)
    write_text(tmp_path / "new", "other")
    assert mode(tmp_path / "new") == 0o604


def test_a_name_may_be_as_long_as_any(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    write_text(path, "text")
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_read_back_whatever_stands_in_a_string(tmp_path: Path) -> None:
    values = [{"text": "a\u2028b\x85c\rd\ne"}, {"text": "\ud800 half"}, [1, "ü"], None]
    path = tmp_path / "out.jsonl"
    write_jsonl(path, values)
    assert [value for _, value in read_jsonl(path)] == values
    assert path.read_bytes().count(b"\n") == len(values)


def test_a_bom_and_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n2')
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (4, 2)]


@pytest.mark.parametrize(
    ("line", "message"), [(b"{", ":2 is not JSON"), (b'"\xfc"', ":2 is not UTF-8")]
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"1\n" + line + b"\n")
    with pytest.raises(DataError, match=f"{path.name}{message}"):
        list(read_jsonl(path))
    with pytest.raises(DataError, match=r"cannot read the words in .*none: No such file"):
        list(read_jsonl(tmp_path / "none", "words"))


def test_a_torn_last_line_is_owed_again_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert complete_lines(path) == ([], 0)
    with path.open("ab") as file:
        for number in range(3):
            append_jsonl(file, {"number": number, "text": "\u2028"})
            assert path.read_bytes().endswith(b"\n"), "on its way without a close"
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        lines, end = complete_lines(path)
        assert len(lines) == data[:cut].count(b"\n")
        assert data[:end] == b"".join(line + b"\n" for line in lines)


def test_what_is_no_number_in_json_is_null(tmp_path: Path) -> None:
    value = {"a": [1.5, math.nan, (math.inf, -math.inf)], "b": True, "c": "nan"}
    safe = {"a": [1.5, None, [None, None]], "b": True, "c": "nan"}
    assert json_safe(value) == safe
    write_jsonl(tmp_path / "out.jsonl", [value])
    assert list(read_jsonl(tmp_path / "out.jsonl")) == [(1, safe)]


def test_a_digest_tells_texts_apart_and_where_they_end() -> None:
    digests = [
        content_digest("ab"),
        content_digest("a", "b"),
        content_digest("", "ab"),
        content_digest("ab", ""),
        content_digest(),
        content_digest("\ud800"),  # half a surrogate pair, as JSON can write it
    ]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {16}
    assert content_digest("ab", size=4) != digests[0][:4]
    assert content_digest("é") == content_digest("é".encode())
