"""The sections of a recipe: each field with its default and one line that says what it is."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """What all sections share: unknown fields are errors, values are never coerced."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class ModelSection(Section):
    """Which model, and how it is held."""

    path: str | None = None
    """Directory or Hub id of the model; null is the embedded one, or a new one given `config`."""
    config: dict[str, Any] | None = None
    """Architecture of a new model: a transformers config with its `model_type`, random weights."""
    tokenizer: str | None = None
    """Directory or Hub id of the tokenizer; null takes the model's own."""
    adapter: str | None = None
    """Directory or Hub id of a LoRA adapter on top of the model."""
    positions: Literal["same-seq", "same-max"] = "same-seq"
    """Where text after a block goes on: after the sum of its branches, or after the longest one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; auto is float32 on a CPU and bfloat16 elsewhere."""
    device: str | None = None
    """As torch names it, like `cpu` or `cuda:1`; null takes CUDA if there is one, else the CPU."""


class DataSection(Section):
    """What is trained on."""

    train: str = "synth"
    """A JSONL file of prompt-completion records, or `synth` for generated questions."""
    eval: str | None = None
    """Like `train`, for the evaluation loss; null runs none."""
    style: Literal["parallel", "serial"] = "parallel"
    """`parallel` trains the blocks of the answers; `serial` trains their plain text."""
    max_length: int | None = Field(2048, ge=8)
    """Longest sequence in tokens, prompt included; longer records are left out; null: no limit."""
    examples: int = Field(10_000, ge=1)
    """How many questions `synth` makes for training."""
    mix: dict[Literal["math", "rag", "general", "chain", "other"], float] | None = None
    """Shares of the families in what `synth` makes, as in {math: 1, rag: 2}; null: its own mix."""
    exercises: int = Field(0, ge=0)
    """How many pages of practice in copying and sums `synth` adds, for a model from scratch."""
    seed: int = Field(0, ge=0)
    """Seed of the generated questions."""


class TransformSection(Section):
    """How ordinary answers become parallel-structured ones."""

    dialect: Literal[
        "auto", "messages", "prompt-completion", "alpaca", "sharegpt", "question-answer"
    ] = "auto"
    """Which fields of a record hold its conversation; auto finds out from the file."""
    min_tokens: int = Field(128, ge=0)
    """Answers with fewer tokens stay serial: a fork would not pay."""
    max_tokens: int = Field(8000, ge=1)
    """Answers with more tokens stay serial."""
    max_branches: int = Field(16, ge=2)
    """Most branches of one block; a longer list becomes several blocks."""


class TrainingSection(Section):
    """How it is trained. The names and meanings of transformers' TrainingArguments."""

    output_dir: str = "runs/aspd"
    """Directory of checkpoints and of the finished model."""
    seed: int = Field(0, ge=0)
    """Seed of the initial weights and of the order of the records."""
    learning_rate: float = Field(2e-4, gt=0)
    """Highest learning rate of the schedule."""
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    """Shape of the learning rate over the steps."""
    warmup_ratio: float = Field(0.03, ge=0, le=1)
    """Share of the steps in which the learning rate rises from zero."""
    num_train_epochs: float = Field(1.0, gt=0)
    """Passes over the data, when `max_steps` is -1."""
    max_steps: int = Field(-1, ge=-1)
    """Optimizer steps in all; -1 counts epochs instead."""
    per_device_train_batch_size: int = Field(8, ge=1)
    """Records in a batch on each device."""
    gradient_accumulation_steps: int = Field(1, ge=1)
    """Batches whose gradients are summed into one step."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of the optimizer."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Gradients are scaled down to this norm; 0 does not clip."""
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    """Decay of the optimizer's second moment."""
    optim: str = "adamw_torch"
    """Optimizer, by its transformers name; `muon` is Muon on hidden matrices, AdamW on the rest."""
    logging_steps: int = Field(10, ge=1)
    """Steps between two lines of the log."""
    save_steps: int = Field(500, ge=1)
    """Steps between two checkpoints."""
    bf16: bool = False
    """Compute in bfloat16 (mixed precision)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    save_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of the finished weights; null keeps that of the training."""
    loss_on_prompt: bool = False
    """Take the loss on prompt tokens too: for models trained from scratch."""


class LoraSection(Section):
    """Low-rank adaptation. The names and meanings of peft's LoraConfig."""

    r: int = Field(16, ge=1)
    """Rank of the update matrices."""
    alpha: int = Field(32, ge=1)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the update matrices."""
    target_modules: str | list[str] = "all-linear"
    """Modules that get an update, by the end of their names; `all-linear` is every linear layer."""


class GenerationSection(Section):
    """How answers are decoded. The sampling names are those of transformers' GenerationConfig."""

    mode: Literal["parallel", "serial", "plain"] = "parallel"
    """Branches together, branches one after another, or no blocks at all."""
    system: str | None = None
    """System message put before every prompt that has none."""
    max_new_tokens: int = Field(512, ge=1)
    """Longest answer in tokens, all branches and forced tokens together."""
    max_branch_tokens: int | None = Field(None, ge=1)
    """Longest branch in tokens; null leaves it to `max_new_tokens`."""
    temperature: float = Field(0.0, ge=0)
    """0 takes the likeliest token; above, tokens are drawn."""
    top_k: int | None = Field(None, ge=1)
    """Draw from the k likeliest tokens; null: from all."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Draw from the fewest tokens whose probabilities reach this sum; null: from all."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Draw from tokens at least this share as likely as the likeliest; null: from all."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Above 1, tokens that the lane already sees become less likely."""
    stop: list[Annotated[str, Field(min_length=1)]] = []
    """Strings at which an answer ends; they are not part of it."""
    seed: int = Field(0, ge=0)
    """Seed of the draws."""
    batch_size: int = Field(8, ge=1)
    """How many prompts are decoded at once."""
    max_branches: int = Field(16, ge=2)
    """Most branches of one block."""
    max_title_tokens: int = Field(32, ge=1)
    """Longest title in tokens."""
    max_depth: int | None = Field(None, ge=1)
    """How deep blocks may nest; null: as deep as the model was trained for."""
