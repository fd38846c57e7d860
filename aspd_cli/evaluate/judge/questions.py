"""The questions of a judged bench: from a local file, or from the bench's data set on the Hub.

A file holds one JSON object a line, in the form of FastChat's question files, with passages where
the answer is to come out of them:

    {"question_id": 81, "category": "writing", "turns": ["...", "..."], "reference": ["...", ""]}
    {"id": "a", "question": "Who ...?", "contexts": ["passage", "passage"], "reference": "..."}

`turns` may be called `prompt` or, for a single turn, `question`; `contexts` may be `context` or
`documents`, a string or a list. References can stand in a file of their own, as FastChat's
reference_answer/gpt-4.jsonl does: {"question_id": 101, "choices": [{"turns": ["...", "..."]}]}.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aspd_cli.errors import DataError
from aspd_cli.files import check_id, parse_jsonl

T = TypeVar("T")

REFERENCE = ".reference"
"""`--data BENCH.reference=FILE` gives reference answers in a file of their own."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question with all its turns."""

    id: str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()
    """What a right answer to each turn says; "" where nothing is given."""
    contexts: tuple[str, ...] = ()
    """Passages that the first turn is asked about."""

    def reference(self, turn: int) -> str:
        """The reference of a turn (from 0), "" without one."""
        return self.references[turn] if turn < len(self.references) else ""

    def prompt(self, answers: Sequence[str]) -> list[dict[str, str]]:
        """The conversation up to turn `len(answers)`, earlier answers as plain text.

        The passages stand before the first turn, with a blank line between any two.
        """
        first = "\n\n".join([*self.contexts, self.turns[0]])
        turns = (first, *self.turns[1:])
        messages = [{"role": "user", "content": turns[0]}]
        for answer, turn in zip(answers, turns[1:], strict=False):
            messages.append({"role": "assistant", "content": answer})
            messages.append({"role": "user", "content": turn})
        return messages


@dataclass(frozen=True, slots=True)
class HubSource:
    """Where the Hub has the questions of a bench."""

    path: str
    split: str
    names: tuple[str | None, ...] = (None,)
    """Configurations that are read one after another; each is a category where it is named."""
    data_files: str | None = None
    only: tuple[str, str] | None = None
    """Column and value of the records that belong to the bench."""


BENCHES = {
    "mt_bench": HubSource("HuggingFaceH4/mt_bench_prompts", "train"),
    "vicuna_bench": HubSource(
        "tatsu-lab/alpaca_eval",
        "train",
        data_files="alpaca_eval.json",
        only=("dataset", "vicuna"),
    ),
    "rag_bench": HubSource(
        "rungalileo/ragbench", "test", names=("expertqa", "hagrid", "hotpotqa", "msmarco")
    ),
}
"""Name of a judged bench -> its questions' home."""


def load_questions(
    bench: str,
    data: Mapping[str, str] | None = None,
    *,
    limit: int | None = None,
    rejected: list[str] | None = None,
) -> list[Question]:
    """The questions of a bench.

    Args:
        data: what `--data` named: BENCH -> file of questions, BENCH.reference -> file of
            reference answers. Without the first the Hub is asked.
        limit: so many questions, evenly spaced, so that all categories stay in.
        rejected: gets one sentence for each line of a file that is left out, with the reason.

    Raises:
        DataError: a file or the Hub cannot be read, or holds no question.
    """
    paths, rejected = data or {}, [] if rejected is None else rejected
    if bench in paths:
        read = partial(_question, bench=bench)
        questions = _readable(Path(paths[bench]), read, rejected)
    else:
        questions = _fetch(bench, BENCHES[bench])
    if not questions:
        why = f": {rejected[0]}" if rejected else ""
        raise DataError(f"no questions for {bench}{why}; give a file that contains some")
    if extra := paths.get(bench + REFERENCE):
        questions = _with_references(questions, Path(extra), rejected)
    ids = [question.id for question in questions]
    if len(set(ids)) < len(ids):
        twice = next(name for at, name in enumerate(ids) if name in ids[:at])
        raise DataError(f"two questions of {bench} have the id {twice!r}; give each its own")
    if limit is not None and limit < len(questions):
        questions = [questions[at * len(questions) // limit] for at in range(limit)]
    return questions


def _readable(path: Path, read: Callable[..., T], rejected: list[str]) -> list[T]:
    """What `read` makes of each line of a file; lines that it cannot read are left out."""
    found: list[T] = []
    try:
        with path.open("rb") as file:
            for line, value, problem in parse_jsonl(file):
                where = f"{path}:{line}"
                try:
                    if problem:
                        raise DataError(f"{where} is {problem}")
                    found.append(read(value, where=where))
                except DataError as error:
                    rejected.append(str(error))
    except OSError as error:
        raise DataError(f"cannot read the questions in {path}: {error.strerror}") from error
    return found


def _question(value: Any, bench: str, where: str) -> Question:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a question is a JSON object, not {type(value).__name__}")
    turns = _texts(value, ("turns", "prompt", "question", "instruction"), where)
    if not turns or not all(turn.strip() for turn in turns):
        raise DataError(
            f"{where}: a question needs `turns`, a list of texts, or `question`, one text"
        )
    contexts = _texts(value, ("contexts", "context", "documents"), where)
    if bench == "rag_bench" and not contexts:
        raise DataError(f"{where}: a question of rag_bench needs `contexts`, a list of passages")
    number = next((value[k] for k in ("question_id", "prompt_id", "id") if k in value), where)
    try:
        check_id(number)
        category = check_id(value.get("category") or bench)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return Question(
        id=str(number),
        category=str(category),
        turns=turns,
        references=_texts(value, ("reference", "references"), where),
        contexts=contexts,
    )


def _texts(value: Mapping[str, Any], names: Iterable[str], where: str) -> tuple[str, ...]:
    """The first of some fields that is there, as texts; null and absent are none."""
    name = next((name for name in names if value.get(name) is not None), None)
    if name is None:
        return ()
    found = value[name]
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(t, str | None) for t in texts):
        raise DataError(f"{where}: `{name}` must be a string or a list of strings")
    try:
        "".join(filter(None, texts)).encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: `{name}` contains half of a surrogate pair") from None
    return tuple(text or "" for text in texts)


def _reference(value: Any, where: str) -> tuple[str, tuple[str, ...]]:
    """The id of a question, and its reference answers."""
    try:
        answers = value["choices"][0]["turns"] if "choices" in value else value["reference"]
        number = str(check_id(value["question_id"]))
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{where}: a reference answer has `question_id` and `choices` with `turns`, "
            "or `reference`"
        ) from error
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return number, _texts({"reference": answers}, ("reference",), where)


def _with_references(
    questions: Sequence[Question], path: Path, rejected: list[str]
) -> list[Question]:
    """The questions with the references of a file; those that it does not name keep their own."""
    found = dict(_readable(path, _reference, rejected))
    return [replace(q, references=found.get(q.id, q.references)) for q in questions]


def _fetch(bench: str, home: HubSource) -> list[Question]:
    import datasets

    questions = []
    try:
        for name in home.names:
            rows = datasets.load_dataset(
                home.path, name, split=home.split, data_files=home.data_files
            )
            for at, row in enumerate(rows):
                if home.only and row[home.only[0]] != home.only[1]:
                    continue
                value = {**row, **({"category": name, "id": f"{name}-{at}"} if name else {})}
                questions.append(_question(value, bench, f"{home.path}, record {at + 1}"))
    except DataError:
        raise
    except Exception as error:  # whatever the network, the Hub and its client make of it
        raise DataError(
            f"cannot load the questions of {bench} ({home.path} on the Hub); give a local "
            f"file with --data {bench}=FILE.jsonl"
        ) from error
    return questions
