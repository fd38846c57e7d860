"""The files of a run of `aspd transform`: where they stand, and what it may replace.

OUT is replaced when this command made it, with the same settings and from the same source, or with
--fresh. What stands beside it is replaced only when this command wrote it. Replies that were paid
for are deleted with --discard-paid alone.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aspd_cli.errors import AspdError, DataError, UsageError
from aspd_cli.outputs import (
    JOURNAL,
    RECIPE,
    REJECTED,
    REPORT,
    STDOUT,
    beside,
    beside_in_0_1,
    check_apart,
    check_file,
    holds_something,
    same,
)
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.resume import (
    is_as_saved,
    refuse_another_source,
    refuse_changes,
    saved_facts,
    source_facts,
)

COMMAND = "transform"
ANSWERS = ".answers.jsonl"
"""Ending of what a model has answered itself, beside OUT."""
DISCARD = "--fresh --discard-paid"
"""The flags that delete a journal."""

_REPLIES = ("model", "temperature", "top_p", "max_tokens", "extra_body")
"""The fields of an endpoint that decide what it replies; the others say how it is asked."""
_PROPOSED, _JUDGED = ("method", "proposals"), ("samples", "accept")
"""The fields that only count where a model proposes, and where one judges."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The files by which endpoints are asked without a call."""

    write: Path | None = None
    """Gets the requests; those of a judge at another endpoint go beside it."""
    read: tuple[Path, ...] = ()
    """Files of replies."""

    @property
    def judge(self) -> Path | None:
        """Gets the requests to a judge at another endpoint."""
        return self.write and beside(self.write, ".judge.jsonl")

    def check(self, transform: TransformSection, *, dry_run: bool) -> None:
        """Refuses files of a batch where nobody is asked.

        Raises:
            UsageError: says which flag, and what to do.
        """
        if not (self.write or self.read):
            return
        flag = "--write-requests" if self.write else "--read-replies"
        if dry_run:
            raise UsageError(f"--dry-run neither reads nor writes a batch; leave out {flag}")
        if transform.asked is None:
            raise UsageError(
                f"{flag} is for an endpoint, and none is configured; set one in the recipe, or "
                "with --set transform.endpoint.model=NAME"
            )


@dataclass(frozen=True, slots=True)
class TransformFiles:
    """What a run reads and writes."""

    source: Path
    out: Path
    recipe: Path | None
    """Of `--recipe`."""
    html: Path | None

    @property
    def settings(self) -> Path:
        return beside(self.out, RECIPE)

    @property
    def journal(self) -> Path:
        return beside(self.out, JOURNAL)

    @classmethod
    def checked(
        cls,
        recipe: Recipe,
        source: Path,
        out: Path,
        recipe_file: Path | None,
        html: Path | None,
        batch: Batch,
    ) -> Self:
        """The files, none of which would be lost to another.

        Raises:
            UsageError: two of them are one, or one cannot be a file.
        """
        files = cls(source, out, recipe_file, html)
        reads: dict[str, str | Path | None] = {
            "IN": source,
            "the tokenizer": tokenizer_of(recipe),
            "--recipe": recipe_file,
            **{f"--read-replies {path}": path for path in batch.read},
        }
        asked = {"--write-requests": batch.write, "the judge's --write-requests": batch.judge}
        writes: dict[str, Path | None] = {"--html": html, **asked}
        if out != STDOUT:
            check_file("OUT", out)
            journal = files.journal
            writes = {
                "OUT": out,
                "the settings of OUT": files.settings,
                "the rejected records of OUT": beside(out, REJECTED),
                "the report of OUT": beside(out, REPORT),
                "the journal of OUT": journal,
                "the journal's log of OUT": beside(journal, "-wal"),
                "the journal's index of OUT": beside(journal, "-shm"),
                "the model's answers of OUT": beside(out, ANSWERS),
                **writes,
                **asked,
            }
            if recipe_file and same(recipe_file, files.settings) and is_as_saved(recipe_file):
                del reads["--recipe"]  # what it is rewritten with is what it says
        check_apart(reads, writes)
        if html is not None:
            from aspd_cli.report.transform_page import MARK

            check_file("--html", html, mark=MARK)
        if batch.write is not None:
            from aspd_cli.endpoint.batch import HEAD

            for path in filter(None, asked.values()):
                check_file("--write-requests", path, mark=HEAD)
        return files

    def guard(
        self, recipe: Recipe, origin: dict[str, Any], *, shard: str | None, fresh: bool
    ) -> None:
        """Refuses to replace what this command with these settings has not made.

        Args:
            origin: what tells the source from others.
            shard: the part of it that is read; None: all.

        Raises:
            UsageError: names what would be lost.
        """
        cure = "choose another OUT, or overwrite it with --fresh"
        facts, saved = saved_facts(self.settings, COMMAND), self.settings
        if facts is None:
            for path in (self.settings, beside(self.out, REJECTED), beside(self.out, REPORT)):
                if holds_something(path):
                    raise UsageError(
                        f"{path} was not made by `aspd transform`, which would replace it; choose "
                        "another OUT"
                    )
            old = beside_in_0_1(self.out, RECIPE)
            if old is not None and is_as_saved(old):
                facts, saved = {}, old
        if fresh or not holds_something(self.out):
            return
        if facts is None:
            raise UsageError(f"{self.out} was not made by `aspd transform`; {cure}")
        refuse_changes(self.out, decisive(load_recipe(saved)), decisive(recipe), cure)
        refuse_another_source(self.out, facts.get("source"), origin, cure)
        before, now = ({"--shard": part} if part else {} for part in (facts.get("shard"), shard))
        refuse_changes(self.out, before, now, cure)

    def origin(self) -> dict[str, Any]:
        """What tells the source from others.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return source_facts(self.source)
        except OSError as error:
            raise DataError(f"cannot read {self.source}: {error.strerror}") from error

    def journal_of(self, recipe: Recipe) -> Path:
        """Where the replies are kept: where version 0.1 did, if they were paid for as now."""
        from aspd_cli.endpoint.journal import Journal

        old = beside_in_0_1(self.out, JOURNAL)
        if old is not None and holds_something(old) and not self.journal.exists():
            with suppress(AspdError):
                Journal(old, decisive(recipe)).close()
                return old
        return self.journal


def tokenizer_of(recipe: Recipe) -> str | None:
    """What counts the tokens of answers; None: the embedded tokenizer."""
    return recipe.model.tokenizer or recipe.transform.from_model or recipe.model.path


def decisive(recipe: Recipe) -> dict[str, object]:
    """What decides what comes out: fields of the recipe, and the wording of the prompts."""
    from aspd_cli.transform.llm.backend import prompts

    transform = recipe.transform
    proposing, judging = transform.proposing, transform.judging
    skipped = {"endpoint", "judge", "back_end"}
    skipped |= {*(() if proposing else _PROPOSED), *(() if judging else _JUDGED)}
    skipped |= set() if transform.from_model else {"from_model"}
    fields: dict[str, object] = {
        f"transform.{name}": value for name, value in transform if name not in skipped
    }
    for name, section in {"endpoint": transform.endpoint, "judge": transform.judge}.items():
        if section is not None and (section is proposing or section is judging):
            said = section.without_secrets()
            fields |= {f"transform.{name}.{each}": getattr(said, each) for each in _REPLIES}
    if judging is not None:
        fields["prompts"] = prompts(transform)
        if proposing is None:
            fields["transform.back_end"] = "rules+judge"
    for name in ("max_branches", "max_title_tokens", "max_depth"):
        fields[f"generation.{name}"] = getattr(recipe.generation, name)
    return {**fields, "model.tokenizer": tokenizer_of(recipe)}
