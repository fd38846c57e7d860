"""`aspd eval`: quality and speed of several systems, side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aspd_cli.cli.options import (
    MODEL,
    AdapterName,
    Compile,
    Debug,
    Device,
    Dtype,
    Engine,
    Json,
    ModelName,
    Quantize,
    Quiet,
    RecipeFile,
    Set,
    TrustRemoteCode,
    model_flags,
    option,
    words,
)
from aspd_cli.errors import UsageError

WHAT, HOW, PROMPTS, JUDGE, OUTPUT = "What to measure", "How", "Prompts", "Judge", "Output"


def evaluate(
    tasks: Annotated[
        str | None,
        option(
            "--tasks",
            "lm-eval tasks, aspd_synth, mt_bench, vicuna_bench, rag_bench; comma-separated.",
            WHAT,
            autocompletion=words("aspd_synth", "mt_bench", "vicuna_bench", "rag_bench"),
        ),
    ] = None,
    latency: Annotated[
        bool, option("--latency", "Speed only, on generated questions or --prompts.", WHAT)
    ] = False,
    replay: Annotated[
        Path | None,
        option(
            "--replay", "Speed only, on given answers from aspd transform.", WHAT, metavar="FILE"
        ),
    ] = None,
    documents: Annotated[
        Path | None,
        option("--documents", "Loss on given answers from aspd transform.", WHAT, metavar="FILE"),
    ] = None,
    limit: Annotated[
        float | None,
        option(
            "--limit", "Number of documents per task, or of prompts; below 1, a fraction.", WHAT
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        option("--prompts", "JSONL file of prompts for --latency.", WHAT, metavar="FILE"),
    ] = None,
    data: Annotated[
        list[str] | None,
        option(
            "--data", "Local file with a task's documents; repeatable.", WHAT, metavar="TASK=FILE"
        ),
    ] = None,
    gen_kwargs: Annotated[
        str | None,
        option(
            "--gen-kwargs",
            "Generation arguments of tasks, as in temperature=0.7.",
            WHAT,
            metavar="A=B,...",
        ),
    ] = None,
    confirm_run_unsafe_code: Annotated[
        bool,
        option("--confirm-run-unsafe-code", "Allow tasks that run code from answers.", WHAT),
    ] = False,
    compare: Annotated[
        str | None,
        option(
            "--compare",
            "Systems: parallel, serial, plain, hf, NAME=PATH, NAME=URL; comma-separated.",
            HOW,
            autocompletion=words("parallel", "serial", "plain", "hf", "seq="),
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        option(
            "--concurrency", "Prompts at once, or several numbers, as in 1,4,16 (default: 1).", HOW
        ),
    ] = None,
    repeats: Annotated[
        int | None, option("--repeats", "Timed runs of each answer (default: 1).", HOW)
    ] = None,
    max_length: Annotated[
        int | None,
        option("--max-length", "Longest answer for --replay and --documents, in tokens.", HOW),
    ] = None,
    system: Annotated[str | None, option("--system", "System message.", PROMPTS)] = None,
    num_fewshot: Annotated[
        int | None,
        option("--num-fewshot", "Solved examples before each question.", PROMPTS),
    ] = None,
    apply_chat_template: Annotated[
        bool | None,
        option(
            "--chat-template/--no-chat-template",
            "Format prompts as chat turns (default: if the model has a template).",
            PROMPTS,
        ),
    ] = None,
    model: ModelName = None,
    adapter: AdapterName = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    compile: Compile = None,
    trust_remote_code: TrustRemoteCode = None,
    engine: Engine = None,
    random_weights: Annotated[
        bool,
        option("--random-weights", "With --replay: --model needs only a configuration.", MODEL),
    ] = False,
    judge: Annotated[
        str | None, option("--judge", "Model that grades the judged benchmarks.", JUDGE)
    ] = None,
    judge_url: Annotated[
        str | None,
        option("--judge-url", "The judge's OpenAI-compatible endpoint (default: OpenAI).", JUDGE),
    ] = None,
    judge_mode: Annotated[
        str | None,
        option(
            "--judge-mode",
            "single, pairwise or both (default: both).",
            JUDGE,
            autocompletion=words("single", "pairwise", "both"),
        ),
    ] = None,
    judge_samples: Annotated[
        int | None, option("--judge-samples", "Verdicts per answer (default: 1).", JUDGE)
    ] = None,
    output: Annotated[
        str | None,
        option(
            "--output",
            "Directory for results, samples and the report.",
            OUTPUT,
            "-o",
            metavar="DIR",
        ),
    ] = None,
    log_samples: Annotated[
        bool | None,
        option(
            "--log-samples/--no-log-samples",
            "Write samples.jsonl, with every answer (default: yes).",
            OUTPUT,
        ),
    ] = None,
    recipe: RecipeFile = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure the quality and speed of several systems side by side.

    A system is a mode of the engine, transformers (hf), another model or a server. All systems
    answer each prompt in turn; means have 95% bootstrap intervals. Flags may have lm-eval's names,
    such as --output_path.
    """
    from aspd_cli.recipe import find_recipe, load_recipe

    flags = {
        **model_flags(model, adapter, device, dtype, trust_remote_code, quantize, compile),
        "model.engine": engine,
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
        "evaluation.output_path": output,
    }
    settings = load_recipe(recipe, set or (), flags)
    section = settings.evaluation
    latency = latency or section.prompts is not None
    chosen = {
        "--tasks": bool(section.tasks),
        "--latency": latency,
        "--replay": replay is not None,
        "--documents": documents is not None,
    }
    if sum(chosen.values()) != 1:
        named = [name for name, on in chosen.items() if on]
        raise UsageError(
            f"{' and '.join(named)} cannot be combined; choose one"
            if named
            else "nothing to measure: give --tasks (for example aspd_synth), --latency, "
            "--replay or --documents"
        )
    if random_weights and replay is None:
        raise UsageError("--random-weights needs --replay: random weights cannot answer anything")
    from aspd_cli.cli.views.eval import run

    code = run(
        settings,
        recipe_file=recipe and find_recipe(recipe),
        documents=documents,
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
        raise UsageError(
            f"--concurrency takes whole numbers of at least 1, as in 1,4,16, not {text!r}"
        )
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
    from aspd_cli.recipe.yaml_reader import read_yaml

    def read(value: str) -> Any:
        found = read_yaml(value)
        if found.problems:
            raise UsageError(f"--gen-kwargs {text}: {found.problems[0][2]}")
        return found.data

    if text.lstrip().startswith("{"):
        found = read(text)
        if isinstance(found, dict):
            return found
    pairs = [word.partition("=") for word in text.split(",") if word]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError(f"--gen-kwargs {text}: write it as name=value,name=value")
    return {name.strip(): read(value) for name, _, value in pairs}
