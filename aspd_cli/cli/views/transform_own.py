"""`aspd transform --from-model`: the model answers the prompts first, into a file beside OUT.

It is the answers file of `aspd generate`, so a run that is stopped goes on with the next answer.
"""

from pathlib import Path

from aspd_cli.cli.views.answering import answer_file
from aspd_cli.cli.views.prompts_file import read_prompts
from aspd_cli.cli.views.transform_files import ANSWERS
from aspd_cli.core.chat import to_messages
from aspd_cli.errors import UsageError
from aspd_cli.files import read_jsonl
from aspd_cli.outputs import REJECTED, STDOUT, beside
from aspd_cli.recipe import Recipe
from aspd_cli.transform.io.records import Record, Rejected
from aspd_cli.transform.own_answers import own_record


def check_own(
    recipe: Recipe, out: Path, *, limit: int | None, shard: str | None, dry_run: bool
) -> None:
    """Refuses what does not go with a model's own answers.

    Raises:
        UsageError: says what, and what to do.
    """
    if recipe.transform.from_model is None:
        return
    if dry_run:
        raise UsageError("--dry-run cannot know what the model will answer; leave out --from-model")
    if limit is not None or shard is not None:
        raise UsageError(
            "--from-model answers every prompt of IN; give a shorter file, not "
            f"{'--limit' if shard is None else '--shard'}"
        )
    if out == STDOUT:
        raise UsageError(
            "OUT is standard output (-), but --from-model keeps the model's answers beside OUT; "
            "give the name of a file"
        )


def own_records(recipe: Recipe, source: Path, out: Path, *, quiet: bool) -> list[Record | Rejected]:
    """Has the model answer the prompts of `source`; its answers in their order.

    Raises:
        DataError: a file cannot be read or written.
        ModelError: the model cannot be loaded, or cannot decode in parallel.
        UsageError: the answers beside `out` were made with other settings.
    """
    answers = beside(out, ANSWERS)
    model = recipe.model.model_copy(update={"path": recipe.transform.from_model})
    answer_file(recipe.model_copy(update={"model": model}), source, answers, quiet=quiet)
    prompts, _ = read_prompts(source)
    by_index = {prompt.index: prompt for prompt in prompts}
    named = any(prompt.id is not None for prompt in prompts)
    found: list[Record | Rejected] = []
    for _, answer in read_jsonl(answers):
        prompt = by_index[answer["index"]]
        asked = to_messages(prompt.prompt)
        if recipe.generation.system and asked[0]["role"] != "system":
            asked = [{"role": "system", "content": recipe.generation.system}, *asked]
        identity = prompt.id if named else prompt.index
        cut_by = answer["cut_by"]
        found.append(
            own_record(prompt.index, prompt.line, identity, asked, answer["markup"], cut_by)
        )
    rejected = beside(answers, REJECTED)
    if rejected.exists():
        found += [Rejected(each["line"], each["reason"]) for _, each in read_jsonl(rejected)]
    return sorted(found, key=lambda record: record.line)
