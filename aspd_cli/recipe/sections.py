"""The recipe and its sections: each field with its default and one line that says what it is."""

from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from aspd_cli.recipe.base import Section
from aspd_cli.recipe.endpoint import EndpointSection, ServerSection
from aspd_cli.recipe.serving import ServeSection, VllmSection
from aspd_cli.recipe.training import DataSection, LoraSection, TrainingSection
from aspd_cli.safe_text import without_secrets


class ModelSection(Section):
    """Which model to use, and how to load it."""

    engine: Literal["aspd", "vllm"] = "aspd"
    """What decodes: aspd's own engine, or vLLM (experimental), see the section `vllm`."""
    path: str | None = None
    """Directory, GGUF file or Hub id; null: the embedded model, or a new one if `config` is set."""
    config: dict[str, Any] | None = None
    """Architecture of a new model with random weights: a transformers config with `model_type`."""
    tokenizer: str | None = None
    """Directory, GGUF file or Hub id of the tokenizer; null: the model's own."""
    adapter: str | None = None
    """Directory or Hub id of a LoRA adapter to apply to the model."""
    positions: Literal["same-seq", "same-max"] = "same-seq"
    """Position of the text after a block: after the sum of its branches, or after the longest."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format; auto: float32 on CPU or when training all weights, otherwise bfloat16."""
    quantize: Literal["int8"] | None = None
    """`int8`: decode on a CPU with weights of 8 bits, faster and less exact; null: as they are."""
    compile: bool = False
    """Compile the steps of decoding on a CPU: faster; needs a C++ compiler and time at loading."""
    device: str | None = None
    """torch device, such as `cpu` or `cuda:1`; null: CUDA if available, otherwise the CPU."""
    device_map: str | dict[str, int | str] | None = None
    """How accelerate spreads a large model over devices, such as `auto`; null: one device."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model or tokenizer; only for code that you trust."""
    endpoint: ServerSection | None = None
    """Server that answers for `aspd generate` in place of a local model; null: none."""


class TransformSection(Section):
    """How ordinary answers become parallel-structured ones."""

    dialect: Literal[
        "auto",
        "messages",
        "prompt-completion",
        "prompt-response",
        "alpaca",
        "sharegpt",
        "question-answer",
        "apar",
        "chatml",
    ] = "auto"
    """Record format: the fields that hold the conversation; auto: detect it from the file."""
    from_model: str | None = None
    """Directory or Hub id of a tuned model whose own answers to prompts are the data; null: none.
    """
    min_tokens: int = Field(128, ge=0)
    """Answers with fewer tokens stay serial: branching would not pay off."""
    max_tokens: int = Field(8000, ge=1)
    """Answers with more tokens stay serial."""
    max_branches: int = Field(16, ge=2)
    """Maximum number of branches per block; a longer list becomes several blocks."""
    min_speedup: float = Field(1.2, ge=0)
    """Blocks whose ideal speed-up over their plain text is lower become serial text."""
    min_saved: float = Field(0.0, ge=0)
    """Blocks that save fewer steps for each token they add become serial text; 0: keep them all."""
    endpoint: EndpointSection | None = None
    """Endpoint that proposes and judges; null: use the built-in rules, offline."""
    judge: EndpointSection | None = None
    """Endpoint that judges in place of `endpoint`; null: `endpoint` judges as well."""
    back_end: Literal["auto", "rules", "openai", "rules+judge"] = "auto"
    """Rules propose, a model (openai), or rules for a judge; auto: by which endpoints there are."""
    method: Literal["annotate", "rewrite"] = "annotate"
    """How a model proposes: `annotate` marks parts of the answer, `rewrite` rewrites it."""
    proposals: int = Field(3, ge=1, le=64)
    """Number of proposals per answer; the best one is used."""
    samples: int = Field(3, ge=1, le=64)
    """Number of judge votes per check."""
    accept: int = Field(3, ge=1, le=64)
    """How many of the `samples` votes must be yes."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.accept > self.samples:
            raise ValueError(f"accept={self.accept} is more than samples={self.samples}")
        if self.back_end == "openai" and self.endpoint is None:
            raise ValueError("back_end=openai needs an endpoint, as in endpoint: {model: gpt-4.1}")
        if self.back_end == "rules+judge" and self.judging is None:
            raise ValueError("back_end=rules+judge needs a judge, as in judge: {model: gpt-4.1}")
        if self.judge is not None and self.proposing is not None:
            self._check_one_budget(self.judge, self.proposing)
        return self

    def _check_one_budget(self, judge: EndpointSection, proposer: EndpointSection) -> None:
        if judge.budget is not None or judge.budget_tokens is not None:
            raise ValueError("one budget counts for both endpoints; set it in endpoint, not judge")
        priced = judge.price_input is not None and judge.price_output is not None
        if proposer.budget is not None and not priced:
            raise ValueError("a budget in dollars needs price_input and price_output of judge, too")

    @property
    def proposing(self) -> EndpointSection | None:
        """The endpoint that proposes; None where rules do."""
        wanted = self.back_end in ("auto", "openai") and self.from_model is None
        return self.endpoint if wanted else None

    @property
    def proposer(self) -> Literal["model", "rules"]:
        """Who proposes where no endpoint does: a tuned model by its own answers, or rules."""
        return "rules" if self.from_model is None else "model"

    @property
    def judging(self) -> EndpointSection | None:
        """The endpoint that judges; None where rules alone decide."""
        return None if self.back_end == "rules" else self.judge or self.endpoint

    @property
    def asked(self) -> EndpointSection | None:
        """The endpoint that is asked first, whose budget counts for all; None: rules decide."""
        return self.proposing or self.judging

    @property
    def distinct_proposals(self) -> int:
        """How many proposals to ask for: one where all would be the same."""
        return 1 if self.proposing is None or self.proposing.is_greedy else self.proposals

    def votes_of(self, judge: EndpointSection) -> tuple[int, int]:
        """How many votes to ask for, and how many must be yes: one where all would be the same."""
        return (1, 1) if judge.is_greedy else (self.samples, self.accept)


class GenerationSection(Section):
    """How to decode answers. The sampling names are those of transformers' GenerationConfig."""

    mode: Literal["parallel", "serial", "plain"] = "parallel"
    """Branches together, branches one after another, or no blocks at all."""
    system: str | None = None
    """System message for prompts that have none."""
    max_new_tokens: int = Field(1024, ge=1)
    """Longest answer in tokens, all branches and forced tokens together."""
    max_branch_tokens: int | None = Field(None, ge=1)
    """Longest branch in tokens; null: `max_new_tokens`."""
    temperature: float = Field(0.0, ge=0)
    """Sampling temperature; 0: greedy decoding."""
    top_k: int | None = Field(None, ge=1)
    """Sample from the k most likely tokens; null: from all."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Sample from the fewest tokens that reach this total probability; null: from all."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Drop tokens less likely than this fraction of the most likely one; null: keep all."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Above 1, tokens that already occur become less likely."""
    stop: list[Annotated[str, Field(min_length=1)]] = []
    """Strings at which to stop; they are not part of the answer."""
    seed: int = Field(0, ge=0, lt=1 << 64)
    """Seed for sampling."""
    batch_size: int = Field(8, ge=1)
    """Number of prompts to decode at once."""
    draft: bool = True
    """Guess the next tokens from those before and check them in the same step; same text."""
    max_branches: int = Field(16, ge=2)
    """Maximum number of branches per block."""
    max_title_tokens: int = Field(32, ge=1)
    """Longest title in tokens."""
    max_depth: int | None = Field(None, ge=1)
    """Maximum nesting depth of blocks; null: the depth the model was trained for."""


class EvaluationSection(Section):
    """What to measure, and against what. Names match lm-eval where it has one."""

    tasks: list[str] = []
    """Tasks of lm-eval, `aspd_synth`, and judged benchmarks: mt_bench, vicuna_bench, rag_bench."""
    data: dict[str, str] = {}
    """Task -> local file with its documents, to use instead of the Hub."""
    num_fewshot: int | None = Field(None, ge=0)
    """Solved examples before each question; null: the task's default."""
    limit: float | None = Field(None, gt=0)
    """Number of documents per task, or a fraction if below 1; null: all."""
    apply_chat_template: bool | None = None
    """Format prompts as chat turns; null: if the model has a chat template."""
    gen_kwargs: dict[str, Any] = {}
    """Generation arguments that override a task's own, with lm-eval's names."""
    log_samples: bool = True
    """Write every answer to samples.jsonl."""
    compare: list[Annotated[str, Field(min_length=1)]] | None = None
    """Systems: parallel, serial, plain, hf (transformers), NAME=PATH, NAME=URL; null: automatic."""
    concurrency: list[Annotated[int, Field(ge=1)]] = [1]
    """Number of prompts at once; with several numbers, measure each."""
    repeats: int = Field(1, ge=1)
    """Timed runs of each answer; the median is used."""
    prompts: str | None = None
    """JSONL file of prompts for `--latency`; null: generated questions."""
    max_length: int | None = Field(None, ge=1)
    """Replay skips documents with more tokens; null: those that exceed the context."""
    output_path: str | None = None
    """Directory for results.json, samples.jsonl and the report; null: do not write them."""
    judge: EndpointSection | None = None
    """Endpoint that grades the answers to the judged benchmarks."""
    judge_mode: Literal["single", "pairwise", "both"] = "both"
    """Grades from 1 to 10, comparisons with the baseline in both orders, or both."""
    judge_samples: int = Field(1, ge=1, le=64)
    """Verdicts per answer, and pairs of verdicts per comparison."""


class Recipe(Section):
    """All settings. Every section and every field has a default."""

    model: ModelSection = ModelSection()
    """Which model to use, and how to load it."""
    data: DataSection = DataSection()
    """What to train on."""
    transform: TransformSection = TransformSection()
    """How ordinary answers become parallel-structured ones."""
    training: TrainingSection = TrainingSection()
    """How to train."""
    lora: LoraSection | None = None
    """Low-rank adaptation; null trains all weights."""
    generation: GenerationSection = GenerationSection()
    """How to decode answers."""
    evaluation: EvaluationSection = EvaluationSection()
    """What to measure."""
    serve: ServeSection = ServeSection()
    """How `aspd serve` listens, and how much it takes."""
    vllm: VllmSection = VllmSection()
    """How vLLM is reached where `model.engine` is `vllm`."""

    def without_secrets(self) -> Self:
        """The recipe as it may be saved and shown."""
        served = self.model.endpoint
        asked, judging = self.transform.endpoint, self.transform.judge
        judge, compare = self.evaluation.judge, self.evaluation.compare
        model = {"endpoint": served and served.without_secrets()}
        transform = {
            "endpoint": asked and asked.without_secrets(),
            "judge": judging and judging.without_secrets(),
        }
        evaluation = {
            "judge": judge and judge.without_secrets(),
            "compare": compare and without_secrets(compare),
        }
        return self.model_copy(
            update={
                "model": self.model.model_copy(update=model),
                "transform": self.transform.model_copy(update=transform),
                "evaluation": self.evaluation.model_copy(update=evaluation),
            }
        )

    def to_yaml(self) -> str:
        """The resolved recipe without secrets; `load_recipe` on it gives an equal one else."""
        values = self.without_secrets().model_dump()
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
