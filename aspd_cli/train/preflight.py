"""Before a run: what it will take, from shapes and lengths alone."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from aspd_cli.errors import ModelError
from aspd_cli.pretrained import from_config
from aspd_cli.recipe import Recipe
from aspd_cli.train.adapter import UNSHARDED, trained_parameters
from aspd_cli.train.encoding import values
from aspd_cli.train.features import IGNORE
from aspd_cli.train.model import device_of, number_format
from aspd_cli.train.preparation import Preparation

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Sample:
    """One record as it is trained. All lists have T entries."""

    ids: list[int]
    positions: list[int]
    lanes: list[int]
    learnt: list[bool]
    """Whether the token takes loss."""
    answer: int
    """Index of the first token of the answer."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a run would be."""

    family: str
    parameters: int
    trained: int
    """Parameters that change."""
    records: int
    kept: int
    """Records that are trained on."""
    dropped: int
    made_serial: int
    parallel: int
    lost: int
    """Records with blocks that are dropped, or made serial, as too long."""
    depth: int
    evaluated: int
    """Records held out."""
    tokens: int
    """Of one pass over the data."""
    longest: int
    learnt_share: float
    """Tokens that take loss, over all."""
    least_learnt: int
    """Tokens that take loss in the record with the fewest."""
    batch: int
    """Records a step, over all processes."""
    steps: int
    memory: dict[str, int]
    """Bytes on each device, by use; an estimate from shapes."""
    free: int | None
    """Bytes of the device; None on a CPU."""
    sample: Sample
    warnings: tuple[str, ...] = ()
    """What may be meant, but is better looked at."""

    @property
    def total_memory(self) -> int:
        """Bytes on each device."""
        return sum(self.memory.values())


def preflight(recipe: Recipe, made: Preparation, processes: int) -> Preflight:
    """The figures of a run, from shapes and lengths alone: no weight is loaded.

    Raises:
        RecipeError: `lora.target_modules` is nothing that PEFT can adapt in the model.
        ModelError: an adapter cannot be trained on a model that DeepSpeed shards.
    """
    if recipe.lora is not None and is_deepspeed_zero3_enabled():
        raise ModelError(UNSHARDED.format("DeepSpeed ZeRO-3"))
    train, training = made.train, recipe.training
    model = _shape(
        made.config,
        made.vocabulary.size,
        new=recipe.model.config is not None,
        trusted=recipe.model.trust_remote_code,
    )
    trained = parameters = sum(p.numel() for p in model.parameters())
    if recipe.lora is not None:
        trained = trained_parameters(recipe.lora, model, made.vocabulary.codec)
    micro = training.per_device_train_batch_size
    batch = micro * training.gradient_accumulation_steps * processes
    learnt = values(train.data, "learnt")
    tokens = int(sum(train.lengths))
    free = torch.cuda.mem_get_info()[1] if device_of(recipe) == "cuda" else None
    return Preflight(
        family=made.config.model_type,
        parameters=parameters,
        trained=trained,
        records=train.records,
        kept=len(train.data),
        dropped=train.dropped,
        made_serial=train.made_serial,
        parallel=train.parallel,
        lost=train.lost,
        depth=train.depth,
        evaluated=len(made.eval.data) if made.eval else 0,
        tokens=tokens,
        longest=int(max(train.lengths)),
        learnt_share=sum(learnt) / tokens,
        least_learnt=min(learnt),
        batch=batch,
        steps=_steps(recipe, len(train.data), processes),
        memory=_memory(recipe, made, parameters, trained),
        free=free,
        sample=_sample(made),
        warnings=made.warnings,
    )


def sentences(figures: Preflight) -> list[str]:
    """A preflight in a few lines."""
    share = figures.parallel / figures.kept
    lines = [
        f"{figures.kept} records, {figures.parallel} ({share:.0%}) with blocks, {figures.tokens} "
        f"tokens, longest record {figures.longest}",
        f"{figures.family}, {figures.trained:,} of {figures.parameters:,} parameters trained, "
        f"{_count(figures.steps, 'step')} of {_count(figures.batch, 'record')}",
    ]
    if figures.made_serial:
        lines.append(
            f"{figures.made_serial} records are too long with blocks; training on their plain text"
        )
    if figures.dropped:
        lines.append(f"{figures.dropped} records are dropped as too long")
    if figures.lost:
        branched = figures.lost + figures.parallel
        lines.append(
            f"warning: {figures.lost} of {branched} records with blocks "
            f"({figures.lost / branched:.0%}) are too long to train on their blocks: raise "
            "data.max_length to keep them"
        )
    lines += figures.warnings
    if figures.evaluated:
        lines.append(f"{figures.evaluated} records are held out for evaluation")
    if figures.free is not None and figures.total_memory > figures.free:
        lines.append(
            f"about {figures.total_memory / GIB:.0f} GiB are needed, but the device has "
            f"{figures.free / GIB:.0f}: lower training.per_device_train_batch_size, or turn on "
            "training.gradient_checkpointing"
        )
    return lines


def _count(number: int, what: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {what}{'s' * (number != 1)}"


def _shape(config: Any, size: int, *, new: bool, trusted: bool) -> Any:
    """The model without its weights, on the meta device.

    Args:
        size: of the vocabulary; a `new` model has as many rows, another at least as many.
        trusted: whether code that comes with the model may run.
    """
    with torch.device("meta"):
        if is_deepspeed_zero3_enabled():  # from_config would spread it over processes
            model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
        else:
            model = from_config(config, trust_remote_code=trusted, attn_implementation="eager")
    if new or size > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(size, mean_resizing=False)
    return model


def _steps(recipe: Recipe, records: int, processes: int) -> int:
    """Optimizer steps, as transformers counts them."""
    training = recipe.training
    if training.max_steps > 0:
        return training.max_steps
    batches = math.ceil(math.ceil(records / training.per_device_train_batch_size) / processes)
    steps = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    return math.ceil(training.num_train_epochs * steps)


def _memory(recipe: Recipe, made: Preparation, parameters: int, trained: int) -> dict[str, int]:
    """Bytes by use, for one device that holds the whole model.

    Weights, gradients and the optimizer's moments are exact for AdamW. Activations count the
    tensors that a Llama-like layer keeps for its backward pass, for a batch of the longest records;
    kernels and fragments come on top.
    """
    training, text = recipe.training, made.config.get_text_config()
    on_gpu = device_of(recipe) == "cuda"
    held = number_format(recipe).itemsize
    quantized = recipe.lora is not None and recipe.lora.quantization is not None
    half = training.bf16 if training.bf16 is not None else on_gpu
    size = 2 if half or held == 2 else 4
    tokens = training.per_device_train_batch_size * int(max(made.train.lengths))
    hidden = text.hidden_size
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    layer = size * tokens * (12 * hidden + 4 * inner)
    if training.gradient_checkpointing:
        activations = text.num_hidden_layers * size * tokens * hidden + layer
    else:
        activations = text.num_hidden_layers * layer
    moments = 2 if "8bit" in training.optim else 8
    return {
        "weights": int(parameters * (0.6 if quantized else held)),
        "gradients": trained * max(4 if recipe.lora else held, 2),
        "optimizer": trained * moments,
        "activations": activations,
        "masks": tokens
        * int(max(made.train.lengths))
        * (1 if training.attention != "eager" else size),
    }


def _sample(made: Preparation) -> Sample:
    """The shortest record with a block, or without one where there is none."""
    data = made.train.data
    depths, lengths = values(data, "depth"), made.train.lengths
    at = min(range(len(data)), key=lambda i: (depths[i] == 0, lengths[i]))
    row = data[at]
    learnt = [bool(label != IGNORE) for label in row["labels"]]
    return Sample(
        ids=[int(i) for i in row["input_ids"]],
        positions=[int(i) for i in row["position_ids"]],
        lanes=[int(i) for i in row["lanes"]],
        learnt=learnt,
        answer=learnt.index(True) if True in learnt else len(learnt),
    )
