"""`aspd eval`: quality and speed of several systems, side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aspd_cli.cli.options import (
    MODEL,
    AdapterName,
    Debug,
    Device,
    Dtype,
    Json,
    ModelName,
    Quiet,
    RecipeFile,
    Set,
    option,
)
from aspd_cli.errors import UsageError

WHAT, HOW, JUDGE, OUTPUT = "What is measured", "How", "Judge", "Output"


def evaluate(
    tasks: Annotated[
        str | None,
        option("--tasks", "Tasks of lm-eval, aspd_synth, or judged benches; with commas.", WHAT),
    ] = None,
    data: Annotated[
        list[str] | None,
        option("--data", "TASK=FILE: a task's documents out of a local file; repeatable.", WHAT),
    ] = None,
    latency: Annotated[
        bool, option("--latency", "Speed alone: generated questions, or --prompts.", WHAT)
    ] = False,
    prompts: Annotated[
        str | None, option("--prompts", "JSONL file of prompts for --latency.", WHAT)
    ] = None,
    replay: Annotated[
        Path | None,
        option("--replay", "Lead the model through the answers of a transform output.", WHAT),
    ] = None,
    compare: Annotated[
        str | None,
        option("--compare", "parallel, serial, plain, hf, seq=PATH; with commas [parallel].", HOW),
    ] = None,
    concurrency: Annotated[
        str | None,
        option("--concurrency", "Prompts at once, like 1,4,16 [1].", HOW, "--batch_size"),
    ] = None,
    repeats: Annotated[
        int | None, option("--repeats", "Timed runs of each answer [1].", HOW)
    ] = None,
    num_fewshot: Annotated[
        int | None, option("--num_fewshot", "Solved examples before each question.", HOW)
    ] = None,
    limit: Annotated[
        float | None, option("--limit", "Documents of each task; below 1 a share.", HOW)
    ] = None,
    apply_chat_template: Annotated[
        bool | None,
        option(
            "--apply_chat_template/--no-apply_chat_template",
            "Prompts as chat turns [where the model has a template].",
            HOW,
        ),
    ] = None,
    system: Annotated[
        str | None, option("--system", "System message.", HOW, "--system_instruction")
    ] = None,
    gen_kwargs: Annotated[
        str | None, option("--gen_kwargs", "Like max_gen_toks=512,temperature=0.7.", HOW)
    ] = None,
    max_length: Annotated[
        int | None, option("--max_length", "--replay: longest document in tokens.", HOW)
    ] = None,
    judge: Annotated[
        str | None, option("--judge", "Model that judges the judged benches.", JUDGE)
    ] = None,
    judge_url: Annotated[
        str | None, option("--judge-url", "Its OpenAI-compatible endpoint [the API].", JUDGE)
    ] = None,
    judge_mode: Annotated[
        str | None, option("--judge-mode", "single, pairwise or both [both].", JUDGE)
    ] = None,
    judge_samples: Annotated[
        int | None, option("--judge-samples", "Verdicts on each answer [1].", JUDGE)
    ] = None,
    confirm_run_unsafe_code: Annotated[
        bool, option("--confirm_run_unsafe_code", "Run tasks that execute answers.", HOW)
    ] = False,
    model: ModelName = None,
    adapter: AdapterName = None,
    random_weights: Annotated[
        bool, option("--random-weights", "--replay: --model may be a configuration alone.", MODEL)
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    output_path: Annotated[
        str | None, option("--output_path", "Directory for results and samples.", OUTPUT)
    ] = None,
    log_samples: Annotated[
        bool | None,
        option("--log_samples/--no-log_samples", "Write every answer [yes].", OUTPUT),
    ] = None,
    recipe: RecipeFile = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how well and how soon systems answer: the engine's modes, transformers, a Seq model.

    All systems answer each prompt in turn. Means come with bootstrap 95% intervals.
    """
    from aspd_cli.recipe import load_recipe

    flags = {
        "model.path": model,
        "model.adapter": adapter,
        "model.device": device,
        "model.dtype": dtype,
        "generation.system": system,
        "evaluation.tasks": _words(tasks),
        "evaluation.data": _pairs("--data", data) if data else None,
        "evaluation.num_fewshot": num_fewshot,
        "evaluation.limit": limit,
        "evaluation.apply_chat_template": apply_chat_template,
        "evaluation.gen_kwargs": _arguments(gen_kwargs),
        "evaluation.log_samples": log_samples,
        "evaluation.compare": _words(compare),
        "evaluation.concurrency": _numbers(concurrency),
        "evaluation.repeats": repeats,
        "evaluation.prompts": prompts,
        "evaluation.max_length": max_length,
        "evaluation.judge.model": judge,
        "evaluation.judge.base_url": judge_url,
        "evaluation.judge_mode": judge_mode,
        "evaluation.judge_samples": judge_samples,
        "evaluation.output_path": output_path,
    }
    settings = load_recipe(recipe, set or (), flags)
    section = settings.evaluation
    latency = latency or section.prompts is not None
    chosen = {"--tasks": bool(section.tasks), "--latency": latency, "--replay": replay is not None}
    if sum(chosen.values()) != 1:
        named = [name for name, on in chosen.items() if on]
        raise UsageError(
            f"{' and '.join(named)} exclude each other; choose one"
            if named
            else "nothing to measure: give --tasks, like aspd_synth, or --latency, or --replay"
        )
    if random_weights and replay is None:
        raise UsageError("--random-weights is for --replay: random weights answer nothing")
    from aspd_cli.cli.views.eval import run

    code = run(
        settings,
        replay=replay,
        random_weights=random_weights,
        confirm_run_unsafe_code=confirm_run_unsafe_code,
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(code)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str | None) -> list[int] | None:
    words = _words(text)
    if words is None:
        return None
    if not words or not all(word.isdigit() and int(word) for word in words):
        raise UsageError(f"--concurrency takes numbers from 1 up, like 1,4,16, not {text!r}")
    return list(map(int, words))


def _pairs(flag: str, texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if bad := [
        text for text, (name, _, value) in zip(texts, pairs, strict=True) if not (name and value)
    ]:
        raise UsageError(f"{flag} {bad[0]}: write it as TASK=FILE")
    return {name: value for name, _, value in pairs}


def _arguments(text: str | None) -> dict[str, Any] | None:
    """`a=1,b=x`, or an object in JSON, with numbers and booleans read as such."""
    if text is None:
        return None
    from aspd_cli.recipe.yaml_reader import read_scalar

    if text.lstrip().startswith("{"):
        found = read_scalar(text)
        if isinstance(found, dict):
            return found
    pairs = [word.partition("=") for word in text.split(",") if word]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError(f"--gen_kwargs {text}: write it as name=value,name=value")
    return {name.strip(): read_scalar(value) for name, _, value in pairs}
