"""Everything of a run that needs no weights: architecture, tokenizer, records as tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from trl import SFTConfig

from aspd_cli.core.chat import open_thought
from aspd_cli.engine.compatibility import check_family, context_length
from aspd_cli.errors import DataError, ModelError
from aspd_cli.recipe import Recipe
from aspd_cli.train.data import held_out, records
from aspd_cli.train.encoding import Encoded, encode
from aspd_cli.train.model import Vocabulary, load_config, load_vocabulary


@dataclass(frozen=True, slots=True)
class Preparation:
    """What `prepare` has read and checked."""

    config: PreTrainedConfig
    vocabulary: Vocabulary
    train: Encoded
    eval: Encoded | None
    prompts: list[Any]
    """Prompts for sample answers: held-out ones where there are any, those with blocks first."""
    warnings: tuple[str, ...] = ()
    """What may be meant, but is better looked at."""

    @property
    def depth(self) -> int:
        """How deep blocks may nest, for decoding."""
        return max(self.train.depth, 1)


def prepare(recipe: Recipe, args: SFTConfig, made: Path | None) -> Preparation:
    """Reads and checks what the recipe names. The main process goes first, others use its cache.

    Args:
        made: where this run's own new tokenizer stands already, if it does.

    Raises:
        DataError: records cannot be read, are not in the grammar, or would teach no fork.
        ModelError: no such model, a family that cannot be decoded, or another model's tokenizer.
    """
    data = recipe.data
    config = load_config(recipe)
    check_family(config)
    with args.main_process_first(local=True):
        found = records(data, data.train)
        test = records(data, data.eval, "test") if data.eval else None
        if test is None and data.eval_share:
            found, test = held_out(found, data.eval_share, data.seed)
        vocabulary = load_vocabulary(recipe, config, found, made)
        rest = (vocabulary.codec, data, recipe.model.positions, recipe.training.loss_on_prompt)
        train = encode(found, *rest, source=data.train)
        evaluated = encode(test, *rest, source=data.eval or data.train) if test else None
    _check(recipe, config, train)
    prompts = _prompts(recipe, test or found)
    warnings = _warnings(vocabulary, found)
    return Preparation(config, vocabulary, train, evaluated, prompts, warnings)


def _check(recipe: Recipe, config: PreTrainedConfig, train: Encoded) -> None:
    if recipe.data.style == "parallel" and not train.parallel:
        if train.lost:
            which = f"all {train.lost} records" if train.lost > 1 else "the only record"
            raise DataError(
                f"{which} with blocks in {recipe.data.train} "
                f"{'are' if train.lost > 1 else 'is'} longer than data.max_length="
                f"{recipe.data.max_length}; the shortest has {train.shortest_lost} tokens: raise "
                "data.max_length to keep them"
            )
        raise DataError(
            f"no record in {recipe.data.train} has a block, so the model would never learn to "
            "branch: mark blocks with `aspd transform`, or set data.style=serial for a Seq model"
        )
    context, longest = context_length(config), max(train.lengths)
    if context is not None and longest > context:
        raise ModelError(
            f"a record in {recipe.data.train} has {longest} tokens, but the model's context is "
            f"{context}: set data.max_length to {context} or less"
        )


def _warnings(vocabulary: Vocabulary, found: Any) -> tuple[str, ...]:
    """A thought that the prompt opens and no answer closes."""
    thought = open_thought(vocabulary.codec)
    end = thought and f"{thought[0]}/{thought[1:]}"
    heads = found.select(range(min(len(found), 200)))["completion"]
    if thought is None or any(str(end) in str(answer) for answer in heads):
        return ()
    return (
        f"the chat template opens a thought ({thought}) before each answer, and the answers are "
        "trained inside of it: turn it off with data.chat_template_kwargs, as in "
        f"{{enable_thinking: false}}, or put the thought and its {end} into the answers",
    )


def _prompts(recipe: Recipe, found: Any) -> list[Any]:
    """The first prompts for `training.samples` answers, and one at least."""
    wanted = max(recipe.training.samples, 1)
    asked = [record for record in found.select(range(min(len(found), 200))) if record["prompt"]]
    asked.sort(key=lambda record: "<|para|>" not in str(record["completion"]))
    return [record["prompt"] for record in asked[:wanted]] or ["Hi"]
