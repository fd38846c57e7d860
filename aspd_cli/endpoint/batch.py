"""Batch work: requests go to a file and replies come from one, in place of calls.

The lines are those of OpenAI's Batch API, which vLLM's `run-batch` takes and writes as well. A call
whose replies are not in the journal is written down and `Awaited` is raised for it; once the
replies have been read into the journal the same run finds them there, and comes one call further.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from aspd_cli.endpoint.client import Asked, Endpoint
from aspd_cli.endpoint.journal import Entry, Journal, request_name
from aspd_cli.endpoint.messages import BadResponse, read_response
from aspd_cli.endpoint.rate_limits import Budget
from aspd_cli.endpoint.usage import StageTally, Tally, dollars, estimate_tokens
from aspd_cli.errors import DataError, ReplyError, UsageError
from aspd_cli.files import json_line, parse_jsonl, write_atomically
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.safe_text import excerpt

if TYPE_CHECKING:
    from aspd_cli.endpoint.messages import Response

URL = "/v1/chat/completions"
HEAD = b'{"custom_id": "aspd-'
"""How a file of requests begins."""
_NAME = re.compile(r"aspd-(?P<stage>\w+)-(?P<call>[0-9a-f]{32})-(?P<first>\d{1,9})")


class Awaited(Exception):
    """Replies are not there yet: of one call, or of all `answers` that wait for some."""

    def __init__(self, answers: int = 1) -> None:
        super().__init__(f"{answers} answers wait for replies")
        self.answers = answers


class Requests:
    """The requests of one file, each once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.names: set[str] = set()

    def add(self, name: str, body: Mapping[str, Any]) -> None:
        if name not in self.names:
            self.names.add(name)
            line = {"custom_id": name, "method": "POST", "url": URL, "body": body}
            self._file.write(json_line(line))


@contextmanager
def requests_file(path: Path) -> Iterator[Requests]:
    """A file of requests, in its place when the block is left without an error.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with write_atomically(path) as file:
            yield Requests(file)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


class BatchEndpoint(Endpoint):
    """An endpoint that is never called: what it would be asked is written to `requests`.

    Args:
        refused: why requests of these names get no reply, from `take_replies`.

    Raises:
        UsageError: a secret of the recipe would stand in the file.
    """

    def __init__(
        self,
        section: EndpointSection,
        journal: Journal,
        requests: Requests,
        refused: Mapping[str, str],
        budget: Budget | None = None,
    ) -> None:
        super().__init__(section, journal, budget)
        if section.extra_body != section.without_secrets().extra_body:
            raise UsageError(
                "--write-requests would write a secret of extra_body to its file; remove it from "
                "the recipe"
            )
        self._requests = requests
        self._refused = refused

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def more(self, asked: Asked, wanted: int) -> None:
        name = request_name(asked.call.stage, asked.key, len(asked.texts))
        if reason := self._refused.get(name):
            raise ReplyError(reason)
        if name not in self._requests.names:
            prompt, reply = self.expected(asked, wanted)
            self.budget.take(prompt + reply, dollars(self.section, prompt, reply) or 0.0)
        self._requests.add(name, asked.request if wanted == 1 else {**asked.request, "n": wanted})
        raise Awaited


@dataclass(slots=True)
class Replies:
    """What files of replies held."""

    taken: int = 0
    """Requests whose replies are in the journal now."""
    known: int = 0
    """Lines about requests that were answered before."""
    refused: dict[str, str] = field(default_factory=dict)
    """Name of a request that the endpoint did not answer -> why."""
    foreign: Counter[str] = field(default_factory=Counter)
    """What is wrong with lines that belong to no request of this output -> how many."""
    missing: int = 0
    """Requests that were written before and have no line."""

    @property
    def faulty(self) -> bool:
        return bool(self.foreign)

    def sentence(self, names: str) -> str:
        """What was found, for people.

        Args:
            names: of the files.
        """
        parts = [f"{self.taken:,} taken"]
        parts += [f"{self.known:,} already in the journal"] if self.known else []
        if self.refused:
            reason = next(iter(self.refused.values()))
            parts.append(f"{len(self.refused):,} without a reply (the first: {reason})")
        parts += [f"{number:,} {fault}" for fault, number in self.foreign.most_common(3)]
        parts += [f"{self.missing:,} missing"] if self.missing else []
        return f"replies in {names}: {', '.join(parts)}"


async def take_replies(
    paths: Iterable[Path], journal: Journal, sections: Mapping[str, EndpointSection], tally: Tally
) -> Replies:
    """Reads the replies of files into the journal, each once.

    Args:
        sections: stage -> the endpoint that was asked, for its prices.
        tally: counts what was paid.

    Raises:
        DataError: a file cannot be read, or holds nothing that belongs to this output.
    """
    awaited, found = journal.awaited(), Replies()
    for path in paths:
        try:
            with path.open("rb") as file:
                for _, value, problem in parse_jsonl(file):
                    await _take(problem or value, awaited, found, journal, sections, tally)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        if not (found.taken or found.known or found.refused):
            fault = next(iter(found.foreign), "nothing in it")
            raise DataError(
                f"{path} holds no reply to a request of this output ({fault}); give the output "
                "file of the batch"
            )
    found.missing = len(awaited - found.refused.keys())
    return found


async def _take(
    value: Any,
    awaited: set[str],
    found: Replies,
    journal: Journal,
    sections: Mapping[str, EndpointSection],
    tally: Tally,
) -> None:
    """One line of a file of replies; `awaited` loses its name when there are replies in it."""
    name = value.get("custom_id") if isinstance(value, dict) else None
    parts = _NAME.fullmatch(name) if isinstance(name, str) else None
    if parts is None or parts["stage"] not in sections:
        what = "not JSON objects" if not isinstance(value, dict) else "of another program"
        found.foreign[what] += 1
        return
    stage, call, first = parts["stage"], bytes.fromhex(parts["call"]), int(parts["first"])
    if parts[0] not in awaited:
        if len(await journal.replies(call)) > first:
            found.known += 1
        else:
            found.foreign["to requests that this output did not write"] += 1
        return
    try:
        response = _response(value)
    except ReplyError as error:
        found.refused[parts[0]] = str(error)
        return
    paid = _price(sections[stage], response)
    await journal.record(Entry(call, first, response.texts, stage, paid))
    tally.add(stage, paid)
    awaited.discard(parts[0])
    found.refused.pop(parts[0], None)
    found.taken += 1


def _response(value: Mapping[str, Any]) -> "Response":
    """The replies in one line.

    Raises:
        ReplyError: there are none; says why.
    """
    response = value.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    if status in (200, None) and body is not None and not value.get("error"):
        try:
            return read_response(body if isinstance(body, str) else json.dumps(body))
        except BadResponse as error:
            raise ReplyError(f"the batch brought {error}") from None
    said = value.get("error") or (body.get("error") if isinstance(body, dict) else body)
    said = said.get("message", said) if isinstance(said, dict) else said
    code = "" if status in (200, None) else f"{status}: "
    raise ReplyError(f"the endpoint refuses the request ({code}{excerpt(said or 'no reason')})")


def _price(section: EndpointSection, response: "Response") -> StageTally:
    prompt, completion = response.prompt_tokens or 0, response.completion_tokens
    if completion is None:
        completion = estimate_tokens(response.texts)
    return StageTally(
        calls=1,
        replies=len(response.texts),
        prompt_tokens=prompt,
        completion_tokens=completion,
        dollars=dollars(section, prompt, completion),
    )
