"""The sections of a recipe: each field with its default and one line that says what it is."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


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
    """Number format; auto: float32 on a CPU or where all weights are trained, else bfloat16."""
    device: str | None = None
    """As torch names it, like `cpu` or `cuda:1`; null takes CUDA if there is one, else the CPU."""
    device_map: str | dict[str, int | str] | None = None
    """How accelerate spreads a large model over devices, like `auto`; null keeps it on one."""


class DataSection(Section):
    """What is trained on."""

    train: str = "synth"
    """A file (JSONL, JSON or Parquet) or Hub dataset of prompt-completion records, or `synth`."""
    eval: str | None = None
    """Like `train`, for the evaluation loss; null takes `eval_share` of the training data."""
    eval_share: float = Field(0.0, ge=0, le=0.5)
    """Share of the training records that is held out for the evaluation loss; 0 holds out none."""
    style: Literal["parallel", "serial"] = "parallel"
    """`parallel` trains the blocks of the answers; `serial` trains their plain text."""
    max_length: int | None = Field(2048, ge=8)
    """Longest sequence in tokens, prompt included; null: no limit but the model's context."""
    too_long: Literal["drop", "serial"] = "drop"
    """Longer records: left out, or trained as plain text if that fits. Never cut."""
    workers: int | None = Field(None, ge=1)
    """Processes that tokenise; null: one for every thousand records, at most one a core."""
    examples: int = Field(10_000, ge=1)
    """How many questions `synth` makes for training."""
    mix: dict[Literal["math", "rag", "general", "chain", "outline", "other"], float] | None = None
    """Shares of the families in what `synth` makes, as in {math: 1, rag: 2}; null: its own mix."""
    exercises: int = Field(0, ge=0)
    """How many pages of practice in copying and sums `synth` adds, for a model from scratch."""
    seed: int = Field(0, ge=0)
    """Seed of the generated questions."""


class EndpointSection(Section):
    """An OpenAI-compatible chat endpoint: the API itself, vLLM, SGLang, llama.cpp and others."""

    model: str = Field(min_length=1)
    """Name of the model, as the endpoint knows it."""
    base_url: str | None = Field(None, pattern="^https?://")
    """Where the endpoint is, as in http://localhost:8000/v1; null is the OpenAI API."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; with `base_url` it may be unset."""
    temperature: float | None = Field(None, ge=0)
    """Temperature of the replies; null is the endpoint's own."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Draw from the fewest tokens whose probabilities reach this sum; null: the endpoint's own."""
    max_tokens: int | None = Field(None, ge=1)
    """Longest reply in tokens, a reasoning model's thoughts included; null: the endpoint's own."""
    extra_body: dict[str, Any] = {}
    """Further fields of every request, as in {reasoning_effort: low}."""
    concurrency: int = Field(64, ge=1, le=4096)
    """Most requests in flight at once."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Most requests begun within any minute; null: no limit."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """Most tokens a minute, prompts and replies together; null: no limit."""
    timeout: float = Field(300.0, gt=0)
    """Seconds after which a request counts as failed."""
    max_retries: int = Field(8, ge=0)
    """How often a failed request is sent again, after growing pauses."""
    price_input: float | None = Field(None, ge=0)
    """Dollars for a million tokens of prompt."""
    price_output: float | None = Field(None, ge=0)
    """Dollars for a million tokens of reply."""
    budget: float | None = Field(None, gt=0)
    """Dollars that an output may cost in all, resumed runs together; null: no limit."""
    budget_tokens: int | None = Field(None, ge=1)
    """Tokens that an output may cost in all, resumed runs together; null: no limit."""

    @model_validator(mode="after")
    def _dollars_need_prices(self) -> Self:
        if self.budget is not None and (self.price_input is None or self.price_output is None):
            raise ValueError("a budget in dollars needs price_input and price_output")
        return self


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
    endpoint: EndpointSection | None = None
    """Which endpoint proposes and judges; null: the rules of the program, offline."""
    back_end: Literal["auto", "rules", "openai"] = "auto"
    """What transforms: rules, or the models of `endpoint`; auto is rules where that is null."""
    method: Literal["annotate", "rewrite"] = "annotate"
    """How a model proposes: `annotate` names parts of the answer, `rewrite` writes it again."""
    proposals: int = Field(3, ge=1, le=64)
    """How many proposals a model makes for an answer, of which the best is taken."""
    samples: int = Field(3, ge=1, le=64)
    """How often the judge is asked at each check."""
    accept: int = Field(3, ge=1, le=64)
    """How many of `samples` must say yes."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.accept > self.samples:
            raise ValueError(f"accept={self.accept} is more than samples={self.samples}")
        if self.back_end == "openai" and self.endpoint is None:
            raise ValueError("back_end=openai needs an endpoint, as in endpoint: {model: gpt-4.1}")
        return self


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
    save_total_limit: int = Field(2, ge=1)
    """Checkpoints that are kept; older ones are deleted."""
    eval_steps: int | None = Field(None, ge=1)
    """Steps between two evaluations; null: as between two checkpoints."""
    samples: int = Field(3, ge=0)
    """Answers written to samples.jsonl at each evaluation, decoded as `generation` says."""
    report_to: Literal["none", "tensorboard", "wandb", "mlflow", "trackio", "swanlab"] = "none"
    """Where losses are reported besides the run directory."""
    attention: Literal["auto", "sdpa", "eager", "flex_attention"] = "auto"
    """Attention kernel; auto is sdpa, and eager where only that computes the family."""
    bf16: bool | None = None
    """Compute in bfloat16 (mixed precision); null: on a GPU that can."""
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
    quantization: Literal["4bit"] | None = None
    """`4bit` holds the frozen weights in 4 bits (QLoRA, CUDA only); null: as `model.dtype` says."""


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


class EvaluationSection(Section):
    """What is measured, and against what. The names are those of lm-eval where it has one."""

    tasks: list[str] = []
    """Tasks of lm-eval, `aspd_synth`, and the judged benches mt_bench, vicuna_bench, rag_bench."""
    data: dict[str, str] = {}
    """Task -> file with its documents, for tasks whose own data are out of reach."""
    num_fewshot: int | None = Field(None, ge=0)
    """Solved examples before each question; null: as the task has it."""
    limit: float | None = Field(None, gt=0)
    """So many documents of each task; below 1 it is a share; null: all of them."""
    apply_chat_template: bool | None = None
    """Whether prompts are chat turns; null: where the model has a chat template."""
    gen_kwargs: dict[str, Any] = {}
    """Generation arguments that override a task's own, as lm-eval names them."""
    log_samples: bool = True
    """Write every answer to samples.jsonl."""
    compare: list[Annotated[str, Field(min_length=1)]] | None = None
    """Of parallel, serial, plain, hf (transformers) and NAME=PATH (a model); null: by the job."""
    concurrency: list[Annotated[int, Field(ge=1)]] = [1]
    """How many prompts a system is given at once; several numbers measure each."""
    repeats: int = Field(1, ge=1)
    """Timed runs of every answer, of which the median counts."""
    prompts: str | None = None
    """JSONL file of prompts for measures of speed alone; null: generated questions."""
    max_length: int | None = Field(None, ge=1)
    """Replay leaves out documents with more tokens; null: only what exceeds the context."""
    output_path: str | None = None
    """Directory for results.json, samples.jsonl and the report; null writes none."""
    judge: EndpointSection | None = None
    """Which endpoint judges the answers to the judged benches."""
    judge_mode: Literal["single", "pairwise", "both"] = "both"
    """Grades from 1 to 10, comparisons with the baseline in both orders, or both."""
    judge_samples: int = Field(1, ge=1, le=64)
    """Verdicts on each answer, and pairs of them on each comparison."""
