"""Answers of all systems to the questions of a judged bench, kept as they come.

Every answer is one appended line, so that a run that is killed loses at most the round it was in.
A line counts when it answers the very tokens that a system is about to be given, with the same
options: whatever has changed is simply answered again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aspd_cli.errors import DataError
from aspd_cli.evaluate.interleave import interleave
from aspd_cli.evaluate.judge.questions import Question
from aspd_cli.evaluate.requests import EvalRequest
from aspd_cli.evaluate.results import EvalAnswer
from aspd_cli.evaluate.systems import Runner
from aspd_cli.files import append_jsonl, complete_lines, content_digest, parse_jsonl

if TYPE_CHECKING:
    from aspd_cli.engine.options import GenerationOptions


class KeptAnswers:
    """The answers file of a bench.

    Raises:
        DataError: it cannot be read or written, or holds something else than answers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, EvalAnswer] = {}
        try:
            lines, end = complete_lines(path)
            for number, value, problem in parse_jsonl(lines):
                if problem or not isinstance(value, dict) or "digest" not in value:
                    raise DataError(
                        f"{path}:{number} is not an answer of `aspd eval`: delete the file or "
                        "choose another --output"
                    )
                with suppress(KeyError, TypeError):  # of another version: it is answered again
                    self._found[value["digest"]] = EvalAnswer.of(value)
            self._file = path.open("ab")
            self._file.truncate(end)
        except OSError as error:
            raise DataError(f"cannot keep answers in {path}: {error.strerror}") from error

    def find(self, runner: Runner, request: EvalRequest) -> EvalAnswer | None:
        """The answer to a request, if there is one."""
        return self._found.get(_digest(runner, request))

    def keep(self, runner: Runner, request: EvalRequest, answer: EvalAnswer) -> None:
        digest = _digest(runner, request)
        append_jsonl(self._file, {"digest": digest, **answer.as_dict()})
        self._found[digest] = answer

    def close(self) -> None:
        self._file.close()


def answer_questions(
    runners: Sequence[Runner],
    bench: str,
    questions: Sequence[Question],
    options: "GenerationOptions",
    kept: KeptAnswers,
    *,
    concurrency: int = 1,
    repeats: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[EvalAnswer]:
    """The answers of all systems to all turns, first turns first.

    A later turn is asked after each system's own earlier answers, as plain text. Prompts that any
    system owes an answer to are answered by all of them, so that times compare.

    Raises:
        ModelError: a conversation does not fit a model's context.
    """
    said: dict[tuple[str, str], list[str]] = {}
    for turn in range(max(len(question.turns) for question in questions)):
        here = [question for question in questions if len(question.turns) > turn]
        requests = {
            runner.system.name: [
                _request(
                    runner, bench, each, turn, said.get((runner.system.name, each.id), ()), options
                )
                for each in here
            ]
            for runner in runners
        }
        for answer in _answered(runners, requests, kept, concurrency, repeats, advance):
            number = answer.doc_id.rpartition("/")[0]
            said.setdefault((answer.system, number), []).append(answer.text)
            yield answer


def _answered(
    runners: Sequence[Runner],
    requests: dict[str, list[EvalRequest]],
    kept: KeptAnswers,
    concurrency: int,
    repeats: int,
    advance: Callable[[int], None],
) -> Iterator[EvalAnswer]:
    """The answers to one turn, from the file where they are all there, in order."""
    rows = list(zip(*requests.values(), strict=True))  # for each question one request a system
    owed = [
        row for row in rows if not all(kept.find(*pair) for pair in zip(runners, row, strict=True))
    ]
    advance((len(rows) - len(owed)) * len(runners) * repeats)
    if owed:
        columns = dict(zip(requests, map(list, zip(*owed, strict=True)), strict=True))
        by_key = {
            (name, request.doc_id): request
            for name, column in columns.items()
            for request in column
        }
        by_name = {runner.system.name: runner for runner in runners}
        for answer in interleave(
            runners, columns, concurrency=concurrency, repeats=repeats, advance=advance
        ):
            request = by_key[answer.system, answer.doc_id]
            kept.keep(by_name[answer.system], request, answer)
    for row in rows:
        for runner, request in zip(runners, row, strict=True):
            found = kept.find(runner, request)
            assert found is not None
            yield found


def _request(
    runner: Runner,
    bench: str,
    question: Question,
    turn: int,
    earlier: Sequence[str],
    options: "GenerationOptions",
) -> EvalRequest:
    messages = question.prompt(earlier)
    return EvalRequest(
        task=bench,
        category=question.category,
        doc_id=f"{question.id}/{turn + 1}",
        prompt="\n".join(message["content"] for message in messages),
        options=options,
        target=question.reference(turn) or None,
        **runner.encode(messages, options),
    )


def _digest(runner: Runner, request: EvalRequest) -> str:
    system = runner.system
    asked = request.ids or request.messages
    decided = (
        (system.name, system.library, system.mode, system.model, system.adapter, system.dtype),
        (request.task, request.category, request.doc_id, request.target, asked),
        repr(request.options),
    )
    return content_digest(repr(decided)).hex()
