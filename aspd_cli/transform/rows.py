"""From records to rows of training data by rules: pure functions, for any engine that maps them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Document, render
from aspd_cli.core.metrics import Structure, measure
from aspd_cli.errors import DataError, UsageError
from aspd_cli.files import check_id
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import DECODED, Budgets
from aspd_cli.transform.io.formats import read_example
from aspd_cli.transform.io.readers import Raw
from aspd_cli.transform.io.records import Record, find_dialect
from aspd_cli.transform.marked import marked_outcome
from aspd_cli.transform.outcome import Outcome, outside_limits, paying, question_of, serial
from aspd_cli.transform.own_answers import sound
from aspd_cli.transform.rules import NO_STRUCTURE, propose
from aspd_cli.transform.token_counts import open_codec

Columns = Mapping[str, Sequence[Any]]
"""A batch of R records: column -> R values, in a list or an array."""


@overload
def transform_records(
    records: Columns, recipe: Recipe | str | Path | None = None
) -> dict[str, list[Any]]: ...
@overload
def transform_records(
    records: Sequence[Mapping[str, Any]], recipe: Recipe | str | Path | None = None
) -> list[dict[str, Any]]: ...
def transform_records(
    records: Columns | Sequence[Mapping[str, Any]], recipe: Recipe | str | Path | None = None
) -> dict[str, list[Any]] | list[dict[str, Any]]:
    """What `aspd transform` writes of records by rules, in any process: nothing else is touched.

        dataset.map(aspd.transform_records, batched=True, num_proc=8,
                    fn_kwargs={"recipe": recipe}, remove_columns=dataset.column_names)
        ray_dataset.map_batches(aspd.transform_records, fn_kwargs={"recipe": recipe})

    Args:
        records: R records in one of the dialects that `aspd transform` reads, as a list, or as a
            batch of columns, each a list or an array of R values.
        recipe: a recipe (`aspd.load_recipe`), the path or name of one, or None for the defaults.
            Its `transform` section counts, and its `model` section for the tokenizer, which is
            read once a process, and the limits of `generation` on blocks.

    Returns:
        R rows in the order of the records, as a list, or as a batch of columns: `id` (the record's
        own, or None), `prompt` and `completion` (lists of messages) and `aspd`: `status`
        ("parallel", "serial", or "rejected" for what holds no conversation, whose lists are
        empty), `reason`, `notation`, `votes`, `stats`. In a batch `reason` and `notation` are ""
        where there is none, so that all batches of a table have the same types.

    Raises:
        DataError: no record is in a known dialect, or one is in two.
        UsageError: the recipe has an endpoint, which only `aspd transform` asks.
        RecipeError: the recipe is not valid.
        ModelError: there is no such tokenizer.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    section = recipe.transform
    if section.asked is not None:
        raise UsageError(
            "transform_records works by rules, and the recipe has an endpoint; set "
            "transform.back_end to rules, or run `aspd transform`"
        )
    model = recipe.model
    codec = _codec(model.tokenizer or model.path, model.trust_remote_code)
    columns = isinstance(records, Mapping)
    values = _by_record(records) if isinstance(records, Mapping) else list(records)
    dialect: str = section.dialect
    if dialect == "auto" and values:
        dialect = find_dialect([Raw(at, value) for at, value in enumerate(values, start=1)])
    budgets = Budgets.of(recipe.generation)
    rows = [_row_of(at, value, dialect, section, codec, budgets) for at, value in enumerate(values)]
    if not columns:
        return rows
    for row in rows:  # a table has one type in each column, also where a batch has no text in it
        row["aspd"] |= {name: row["aspd"][name] or "" for name in ("reason", "notation")}
    return {name: [row[name] for row in rows] for name in ("id", "prompt", "completion", "aspd")}


@lru_cache(maxsize=4)
def _codec(name: str | None, trust_remote_code: bool) -> Codec:
    return open_codec(name, trust_remote_code=trust_remote_code)[0]


def _by_record(columns: Columns) -> list[dict[str, Any]]:
    lists = [[_bare(value) for value in column] for column in columns.values()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True)]


def _bare(value: Any) -> Any:
    """A value without arrays, which Ray and NumPy make of lists."""
    if isinstance(value, Mapping):
        return {name: _bare(each) for name, each in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_bare(each) for each in value] if isinstance(value, list | tuple) else value


def _row_of(
    at: int, value: Any, dialect: str, section: TransformSection, codec: Codec, budgets: Budgets
) -> dict[str, Any]:
    try:
        example = read_example(value, dialect)
        record = Record(at, at + 1, check_id(value.get("id")), example)
    except DataError as error:
        nothing = asdict(Structure(tokens=0, useful_tokens=0))
        return _row(None, [], [], "rejected", str(error), None, None, nothing)
    return row(record, transform_record(record, section, codec, budgets))


def transform_record(
    record: Record, transform: TransformSection, codec: Codec, budgets: Budgets = DECODED
) -> Outcome:
    """The document of one answer by rules, or why it stays serial."""
    if record.document is not None:
        return sound(record, record.document, transform, codec, budgets)
    answer = record.example.answer
    if record.example.marked is not None:
        marked = record.example.marked
        return marked_outcome(record, marked, transform, codec, budgets, "structure")
    document = Document((answer,))
    structure = serial(record, codec)
    if reason := outside_limits(structure, transform):
        return Outcome(document, structure, "length", reason)
    proposal = propose(answer, question_of(record), min(transform.max_branches, budgets.branches))
    found = paying(proposal.document, codec, transform, budgets)
    if any(found.blocks()):
        return Outcome(found, measure(found, codec), "parallel")
    if any(proposal.document.blocks()):
        return Outcome(document, structure, "structure", "no block pays for its titles")
    stage = "structure" if proposal.refusals == (NO_STRUCTURE,) else "independence"
    return Outcome(document, structure, stage, "; ".join(proposal.refusals))


def row(record: Record, outcome: Outcome) -> dict[str, Any]:
    """One line of the output: TRL's conversational prompt-completion, and what was decided."""
    return _row(
        record.id,
        record.example.prompt,
        [{"role": "assistant", "content": render(outcome.document)}],
        "parallel" if outcome.stage == "parallel" else "serial",
        outcome.reason,
        record.example.marked and record.example.marked.notation,
        outcome.votes,
        asdict(outcome.structure),
    )


def _row(
    id: Any,
    prompt: list[dict[str, str]],
    completion: list[dict[str, str]],
    status: str,
    reason: str | None,
    notation: str | None,
    votes: dict[str, Any] | None,
    stats: dict[str, Any],
) -> dict[str, Any]:
    aspd = {
        "status": status,
        "reason": reason,
        "notation": notation,
        "votes": votes,
        "stats": stats,
    }
    return {"id": id, "prompt": prompt, "completion": completion, "aspd": aspd}
