"""The journal: what it says it holds is on the disk, and it belongs to one run's settings."""

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from aspd_cli.endpoint.journal import Entry, Journal
from aspd_cli.endpoint.journal_file import remove_journal
from aspd_cli.endpoint.usage import StageTally
from aspd_cli.errors import DataError, UsageError
from tests.endpoint.asking import ask, call
from tests.endpoint_server import serve


def entry(number: int, texts: tuple[str, ...] = ("a reply",), first: int = 0) -> Entry:
    paid = StageTally(calls=1, replies=len(texts), completion_tokens=2, dollars=0.5)
    return Entry(number.to_bytes(16, "big"), first, texts, f"stage {number % 2}", paid)


def test_what_is_recorded_is_there_for_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl.journal.sqlite"
    texts = ("", "é\n\0" * 1000, "two")
    with Journal(path, {"a": 1}) as journal:
        asyncio.run(journal.record(entry(1, texts)))
        asyncio.run(journal.record(entry(1, ("more",), first=3)))
    with Journal(path, {"a": 1}) as journal:
        assert asyncio.run(journal.replies(entry(1).call)) == [*texts, "more"]
        assert asyncio.run(journal.replies(entry(2).call)) == []
        assert journal.history == {
            "stage 1": StageTally(calls=2, replies=4, completion_tokens=4, dollars=1.0)
        }
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_only_its_owner_reads_a_journal(tmp_path: Path) -> None:
    path, old = tmp_path / "new", tmp_path / "old"
    for name in ("old", "old-wal", "old-shm"):
        (tmp_path / name).touch(0o644)
    for each in (path, old):
        with Journal(each, {}) as journal:
            asyncio.run(journal.record(entry(1)))
            files = list(tmp_path.glob(f"{each.name}*"))
            assert len(files) >= 2
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_new_key_in_the_body_asks_for_nothing_again(tmp_path: Path) -> None:
    with serve(lambda body: '{"reply": "x"}') as server:
        for key in ("s3cret-1", "s3cret-2"):
            with Journal(tmp_path / "journal", {}) as journal:
                assert ask(
                    server, [call()], journal=journal, extra_body={"api_key": key, "top_k": 1}
                )[0] == [["x"]]
        assert len(server.requests) == 1
    assert b"s3cret" not in (tmp_path / "journal").read_bytes()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    before = {"transform.samples": 3, "b": [1], "gone": None, "same": {"x": 1}}
    now = {"transform.samples": 5, "b": ["long" * 99], "new": 1, "same": {"x": 1}}
    with Journal(path, before) as journal:
        asyncio.run(journal.record(entry(1)))
    with pytest.raises(UsageError) as caught:
        Journal(path, now, discard="--fresh --all")
    assert "other settings: b (was [1], is [" in str(caught.value)
    assert "gone (was null, is not set)" in str(caught.value)
    assert "new (was not set, is 1), transform.samples (was 3, is 5);" in str(caught.value)
    assert "same" not in str(caught.value)
    assert "--fresh --all deletes what was paid for (1 calls, 2 tokens, $0.50)" in str(caught.value)
    remove_journal(path)
    Journal(path, {"transform.samples": 5}).close()


def test_without_a_reply_other_settings_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path, {"a": 1, "b": 2}).close()
    with Journal(path, {"a": 3}) as journal:
        assert journal.bill == ""
        asyncio.run(journal.record(entry(1)))
    Journal(path, {"a": 3}).close()
    with pytest.raises(UsageError, match=r"other settings: a \(was 3, is 1\), b \("):
        Journal(path, {"a": 1, "b": 2})


def test_a_second_run_at_once_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with (
        Journal(path, {}),
        pytest.raises(UsageError, match="another run is writing"),
    ):
        Journal(path, {})
    code = f"from aspd_cli.endpoint.journal import *; Journal(Path({str(path)!r}), {{}})"
    with Journal(path, {}):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another run is writing" in other.stderr
    Journal(path, {}).close()


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a journal\n" * 100)
    foreign = tmp_path / "foreign"
    with sqlite3.connect(foreign) as file:
        file.execute("CREATE TABLE theirs (x)")
    file.close()
    for path in (text, foreign):
        path.chmod(0o644)
        before = path.read_bytes()
        for use in (lambda path: Journal(path, {}), remove_journal):
            with pytest.raises(DataError, match="is not a journal of aspd"):
                use(path)
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (before, 0o644)
    with pytest.raises(DataError, match="cannot use the journal"):
        Journal(tmp_path, {})
    with pytest.raises(DataError, match=r"cannot use the journal .*: File exists"):
        Journal(text / "below", {})


def test_a_journal_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    """Nothing more is asked, and what came is not used: it would be paid for again."""
    with serve(lambda body: "long" * 999) as server:
        journal = Journal(tmp_path / "journal", {})
        journal._thread.submit(journal._file.execute, "PRAGMA max_page_count = 20").result()
        calls = [call(str(i)) for i in range(99)]
        results, _ = ask(server, calls, str, journal, concurrency=1)
        failed = [error for error in results if isinstance(error, DataError)]
        assert "database or disk is full" in str(failed[0])
        assert all(error in failed for error in results[results.index(failed[0]) :])
        assert len(server.requests) < 30
        with pytest.raises(DataError):
            journal.close()
    with Journal(tmp_path / "journal", {}) as journal:
        assert journal.history["test"].calls >= len(results) - len(failed) > 0


def test_a_slow_disk_stops_no_one_but_those_that_wait_for_it(tmp_path: Path) -> None:
    """The loop goes on meanwhile, and what has come by the end of a write goes in the next one."""
    with Journal(tmp_path / "journal", {}) as journal:
        release = threading.Event()
        journal._thread.submit(release.wait)

        async def run() -> None:
            writes = [asyncio.create_task(journal.record(entry(i))) for i in range(300)]
            ticks = 0
            while ticks < 50:
                await asyncio.sleep(0.001)
                ticks += 1
            assert not any(write.done() for write in writes)
            release.set()
            commits: list[str] = []
            journal._file.set_trace_callback(commits.append)
            await asyncio.gather(*writes)
            assert sum(line == "COMMIT" for line in commits) <= 3

        asyncio.run(run())


def test_a_cancelled_write_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", {}) as journal:
        release = threading.Event()
        journal._thread.submit(release.wait)

        async def run() -> None:
            write = asyncio.create_task(journal.record(entry(1)))
            await asyncio.sleep(0.01)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
            release.set()

        asyncio.run(run())
    with Journal(tmp_path / "journal", {}) as journal:
        assert asyncio.run(journal.replies(entry(1).call)) == ["a reply"]


def test_a_killed_writer_leaves_whole_entries_only(tmp_path: Path) -> None:
    """Each entry has five replies of 10 kB; whenever the kill comes, none is there in part."""
    path = tmp_path / "journal"
    code = textwrap.dedent(
        f"""
        import asyncio, sys
        from tests.endpoint.test_journal import Journal, Path, entry

        async def run():
            first = int(sys.argv[1])
            for number in range(first, first + 100_000):
                await journal.record(entry(number, (f"{{number:06}}" * 1700,) * 5))
                print(number, flush=True)

        with Journal(Path({str(path)!r}), {{}}) as journal:
            asyncio.run(run())
        """
    )
    told = 0
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(told)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02 + 0.05 * round_)
        process.kill()
        lines = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        told = max([told, *map(int, lines)])
        with Journal(path, {}) as journal:
            calls = journal.history["stage 0"].calls + journal.history["stage 1"].calls
            assert calls >= told + 1, "what was said to be written is there"
            for number in range(told + 1):
                replies = asyncio.run(journal.replies(entry(number).call))
                assert replies == [f"{number:06}" * 1700] * 5
            beyond = asyncio.run(journal.replies(entry(told + 1).call))
            assert beyond in ([], [f"{told + 1:06}" * 1700] * 5)
            told += 1 + bool(beyond)
