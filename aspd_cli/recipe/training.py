"""The sections of `aspd train`: the data, the training, the adapter."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from aspd_cli.recipe.base import Section

QuestionFamily = Literal["math", "rag", "general", "chain", "outline", "other", "limits"]


class DataSection(Section):
    """What to train on."""

    train: str = "synth"
    """A file (JSONL, JSON or Parquet) or Hub dataset of prompt-completion records, or `synth`."""
    eval: str | None = None
    """Like `train`, for the evaluation loss; null: `eval_share` of the training data."""
    eval_share: float = Field(0.0, ge=0, le=0.5)
    """Fraction of the training records to hold out for the evaluation loss; 0: none."""
    style: Literal["parallel", "serial"] = "parallel"
    """`parallel` trains the blocks of the answers; `serial` trains their plain text."""
    max_length: int | None = Field(2048, ge=8)
    """Longest sequence in tokens, prompt included; null: the model's context."""
    too_long: Literal["drop", "serial"] = "drop"
    """Longer records: drop, or train on their plain text if it fits; never truncated."""
    workers: int | None = Field(None, ge=1)
    """Processes that tokenise; null: one per thousand records, at most one per core."""
    chat_template_kwargs: dict[str, Any] = {}
    """Arguments of the model's chat template, as in {enable_thinking: false}; kept with the model.
    """
    examples: int = Field(10_000, ge=1)
    """Number of training questions that `synth` generates."""
    mix: dict[QuestionFamily, float] | None = None
    """Weights of the question families of `synth`, as in {math: 1, rag: 2}; null: the default."""
    exercises: int = Field(0, ge=0)
    """Number of copying and arithmetic exercises that `synth` adds, to train from scratch."""
    seed: int = Field(0, ge=0)
    """Seed of the generated questions."""

    @model_validator(mode="after")
    def _arguments_are_the_templates_own(self) -> Self:
        if taken := sorted(_TAKEN & self.chat_template_kwargs.keys()):
            raise ValueError(f"chat_template_kwargs cannot set {', '.join(taken)}")
        return self


_TAKEN = {
    *("conversation", "messages", "chat_template", "add_generation_prompt", "tokenize"),
    *("continue_final_message", "padding", "truncation", "max_length", "return_tensors"),
    *("return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", "sanitize_control_tokens"),
}
"""Arguments of `apply_chat_template` that are not the template's."""


class TrainingSection(Section):
    """How to train. The names and meanings of transformers' TrainingArguments."""

    output_dir: str = "runs/aspd"
    """Directory for the checkpoints and the finished model."""
    seed: int = Field(0, ge=0, lt=1 << 32)
    """Seed of the initial weights and of the order of the records."""
    learning_rate: float = Field(2e-4, gt=0, le=1e30)
    """Peak learning rate."""
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    """Learning rate schedule."""
    warmup_ratio: float = Field(0.03, ge=0, le=1)
    """Fraction of the steps in which the learning rate rises from zero."""
    num_train_epochs: float = Field(1.0, gt=0)
    """Passes over the data, when `max_steps` is -1."""
    max_steps: int = Field(-1, ge=-1)
    """Total number of optimizer steps; -1: use `num_train_epochs`."""
    per_device_train_batch_size: int = Field(8, ge=1)
    """Records per batch on each device."""
    gradient_accumulation_steps: int = Field(1, ge=1)
    """Batches whose gradients are summed into one step."""
    packing: bool = True
    """Lay the records of a batch into one row without padding; each sees itself only."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of the optimizer."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Clip gradients to this norm; 0: no clipping."""
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    """Decay of the optimizer's second moment."""
    optim: str = "adamw_torch"
    """Optimizer, by its transformers name; `muon` is Muon on hidden matrices, AdamW on the rest."""
    logging_steps: int = Field(10, ge=1)
    """Steps between log entries."""
    save_steps: int = Field(500, ge=1)
    """Steps between checkpoints."""
    save_total_limit: int = Field(2, ge=1)
    """Number of checkpoints to keep; older ones are deleted."""
    eval_steps: int | None = Field(None, ge=1)
    """Steps between evaluations; null: `save_steps`."""
    samples: int = Field(3, ge=0)
    """Answers written to samples.jsonl at each evaluation, decoded as `generation` says."""
    report_to: Literal["none", "tensorboard", "wandb", "mlflow", "trackio", "swanlab"] = "none"
    """Where to report losses in addition to the run directory."""
    attention: Literal["auto", "sdpa", "eager", "flex_attention"] = "auto"
    """Attention implementation; auto: sdpa, or eager for families that need it."""
    bf16: bool | None = None
    """Compute in bfloat16 (mixed precision); null: on a GPU that supports it."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    save_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of the saved weights; null: the same as in training."""
    loss_on_prompt: bool = False
    """Compute the loss on prompt tokens as well, to train from scratch."""


class LoraSection(Section):
    """Low-rank adaptation. The names and meanings of peft's LoraConfig."""

    r: int = Field(16, ge=1)
    """Rank of the update matrices."""
    alpha: int = Field(32, ge=1)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the update matrices."""
    target_modules: str | list[str] = "all-linear"
    """Modules to adapt, by the end of their names; `all-linear`: every linear layer."""
    quantization: Literal["4bit"] | None = None
    """`4bit`: load the frozen weights in 4 bits (QLoRA, CUDA only); null: use `model.dtype`."""
