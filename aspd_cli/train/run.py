"""A run of fine-tuning, from the recipe to a directory that decoding takes.

from aspd_cli.train.run import train
done = train(load_recipe("tiny"))
done.run, done.loss
"""

import json
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import set_seed
from trl import SFTConfig

from aspd_cli.errors import UsageError
from aspd_cli.files import write_text
from aspd_cli.outputs import claim
from aspd_cli.recipe import Recipe
from aspd_cli.train import export, run_dir
from aspd_cli.train.callbacks import Interruption, Listener, Silent, Stopwatch
from aspd_cli.train.config import arguments, check_recipe
from aspd_cli.train.loss_plot import draw_losses
from aspd_cli.train.model import Vocabulary
from aspd_cli.train.preflight import Preflight, preflight, sentences
from aspd_cli.train.preparation import Preparation, prepare
from aspd_cli.train.trainer import BranchTrainer, assemble, is_peft


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished run."""

    run: Path
    """Holds the adapter or model, tokenizer, `aspd.json`, recipe, versions, losses, checkpoints."""
    steps: int
    seconds: float
    losses: list[tuple[int, float]]
    """(step, training loss) of every line of the log."""
    evaluation: dict[str, float] = field(default_factory=dict)
    """The last `eval_loss` and its kinds; empty where nothing was held out."""
    merged: Path | None = None
    pushed: str | None = None
    """Address of the repository."""

    @property
    def loss(self) -> float | None:
        """The last training loss of the log."""
        return self.losses[-1][1] if self.losses else None


def dry_run(recipe: Recipe) -> tuple[Preflight, Vocabulary]:
    """Checks everything that can be checked without weights, and writes nothing.

    Raises:
        RecipeError, DataError, ModelError: what is wrong with the run.
    """
    check_recipe(recipe)
    args = arguments(recipe, evaluate=False)
    made = prepare(recipe, args, None)
    return preflight(recipe, made, args.world_size), made.vocabulary


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    fresh: bool = False,
    merge: bool = False,
    push: str | None = None,
    listener: Listener | None = None,
) -> TrainResult:
    """Trains what the recipe says.

    Under torchrun or accelerate every process calls it; the main one writes and tells.

    Args:
        resume: go on from the newest complete checkpoint of the run directory, if there is one.
        fresh: replace what an earlier run has left there.
        merge: write the whole model, its adapter in its weights, too.
        push: repository of the hub to upload the result to.

    Raises:
        RecipeError: fields that do not go together.
        UsageError: the run directory holds another run, is where something is read, or another run
            is writing it.
        DataError: the records cannot be used.
        ModelError: the model cannot be loaded, or its attention cannot take a branch mask.
        TrainingError: the run cannot go on, or what it saved is not what it trained.
        KeyboardInterrupt: it was stopped, with a checkpoint to go on from.
    """
    watch = Stopwatch()
    check_recipe(recipe, push)
    run_dir.check_places(recipe)
    run = Path(recipe.training.output_dir)
    args = arguments(recipe, evaluate=bool(recipe.data.eval or recipe.data.eval_share))
    main = args.process_index == 0
    tell: Listener = (listener or Silent()) if main else Silent()
    held = claim(run, "training.output_dir", folder="run directory") if main else nullcontext()
    with held:
        trainer, made, checkpoint = _begin(recipe, args, run, tell, resume=resume, fresh=fresh)
        _fit(trainer, checkpoint, tell)
        export.save(trainer, recipe, run)
        outcome = _outcome(trainer, run)
        if main:
            _finish(trainer, recipe, made, tell)
            merged = export.merge(run, recipe) if merge else None
            pushed = export.push(run, push) if push else None
            outcome = replace(outcome, merged=merged, pushed=pushed)
    return replace(outcome, seconds=watch.seconds)


def seq_recipe(recipe: Recipe, *, resume: bool = False, fresh: bool = False) -> Recipe:
    """The Seq model of a recipe: the same on the plain text, in the directory OUTPUT_DIR-seq.

    Raises:
        UsageError, DataError: what `train` would refuse of it, before the other run takes its time.
    """
    if recipe.data.style == "serial":
        raise UsageError("data.style is serial, so the recipe trains a Seq model: leave out --seq")
    folder = str(Path(recipe.training.output_dir)) + "-seq"
    found = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"style": "serial"}),
            "training": recipe.training.model_copy(update={"output_dir": folder}),
        }
    )
    run_dir.check_places(found)
    run_dir.open_run(found, resume=resume, fresh=fresh)
    return found


def _begin(
    recipe: Recipe, args: SFTConfig, run: Path, tell: Listener, *, resume: bool, fresh: bool
) -> tuple[BranchTrainer, Preparation, Path | None]:
    """Everything before the first step: first all that can be refused, then the run directory."""
    main = args.process_index == 0
    with args.main_process_first(local=False):
        checkpoint = run_dir.open_run(recipe, resume=resume, fresh=fresh)
    set_seed(recipe.training.seed)
    has_tokenizer = resume and (run / "tokenizer_config.json").is_file()
    made = prepare(recipe, args, run if has_tokenizer else None)
    facts = _facts(made, args)
    if resume:
        run_dir.check_facts(run, facts)
        tell.say(
            f"resuming from {checkpoint}" if checkpoint else "no checkpoint: starting from step 0"
        )
    for sentence in sentences(preflight(recipe, made, args.world_size)):
        tell.say(sentence)
    trainer = assemble(recipe, made, args, run, tell)
    if main:
        if fresh:
            run_dir.clear(run)
        settings = run_dir.settings(recipe, made.train.depth)
        run_dir.write_start(run, recipe, facts, settings, made.vocabulary.tokenizer)
        run_dir.cut_samples(run, checkpoint)
    return trainer, made, checkpoint


def _facts(made: Preparation, args: SFTConfig) -> dict[str, Any]:
    """What of a run is not in its recipe but decides its weights."""
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    return {
        "data": made.train.digest,
        "eval_data": made.eval.digest if made.eval else None,
        "batch": batch,
        "processes": args.world_size,
    }


def _fit(trainer: BranchTrainer, checkpoint: Path | None, tell: Listener) -> None:
    start = str(checkpoint) if checkpoint else None
    if checkpoint and trainer.restored_at_its_end(checkpoint):
        tell.say(f"the run is finished: all of its {trainer.total_steps} steps are done")
        return
    if trainer.args.world_size > 1:
        trainer.train(resume_from_checkpoint=start)
        return
    with Interruption(tell) as interruption:
        trainer.add_callback(interruption)
        trainer.train(resume_from_checkpoint=start)
    if interruption.asked:
        tell.say(f"stopped after step {trainer.state.global_step}; continue with --resume")
        raise KeyboardInterrupt


def _finish(trainer: BranchTrainer, recipe: Recipe, made: Preparation, tell: Listener) -> None:
    """Losses into the run directory; and the model on disk must answer as the one in memory."""
    run = Path(recipe.training.output_dir)
    trainer.state.save_to_json(str(run / run_dir.STATE))
    draw_losses(trainer.state.log_history, run / run_dir.LOSSES)
    export.forget(run)
    _time(trainer, recipe, made)
    export.write_card(run, run, recipe, is_adapter=is_peft(trainer.model))
    if trainer.is_sharded:
        tell.say("the saved model is not verified: its weights are sharded over processes")
        return
    model, prompt = trainer.model, made.prompts[0]
    whole = model.get_base_model() if is_peft(model) else model
    like = export.loaded_like(whole)
    expected = export.greedy(model, trainer.processing_class, recipe, prompt, made.depth)
    del model, whole
    export.release(trainer)  # so that two never have to fit
    export.verify(run, recipe, prompt, expected, like)


def _time(trainer: BranchTrainer, recipe: Recipe, made: Preparation) -> None:
    """What forking gains on the sample prompts, into the run directory."""
    path = Path(recipe.training.output_dir) / run_dir.SPEED
    path.unlink(missing_ok=True)
    prompts = made.prompts[: recipe.training.samples]
    if trainer.is_sharded or recipe.data.style == "serial" or not prompts:
        return
    found = export.timed(trainer.model, trainer.processing_class, recipe, prompts, made.depth)
    write_text(path, json.dumps(found, indent=2) + "\n")


def _outcome(trainer: BranchTrainer, run: Path) -> TrainResult:
    history = trainer.state.log_history
    evaluated = [entry for entry in history if "eval_loss" in entry][-1:]
    return TrainResult(
        run=run,
        steps=trainer.state.global_step,
        seconds=0.0,
        losses=[(int(entry["step"]), entry["loss"]) for entry in history if "loss" in entry],
        evaluation={
            name: value
            for entry in evaluated
            for name, value in entry.items()
            if name.startswith("eval_loss")
        },
    )
