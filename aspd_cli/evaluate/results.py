"""What an evaluation produces: systems, answers and all made of them; to JSON and back.

Evaluation(systems, answers, scores, latency, ...)
  .as_dict()              JSON-ready: the `aspd` part of results.json, without the answers
  .results()              the whole results.json: lm-eval's layout, and ours under `aspd`
  read_evaluation(DIR)    the evaluation whose results.json and samples.jsonl lie in DIR
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from aspd_cli.core.metrics import AnswerStats
from aspd_cli.engine.options import Mode
from aspd_cli.errors import DataError
from aspd_cli.evaluate.figures import Latency, Score
from aspd_cli.evaluate.timeline import TimelineBar
from aspd_cli.files import json_safe, read_jsonl

RESULTS, SAMPLES = "results.json", "samples.jsonl"


@dataclass(frozen=True, slots=True)
class System:
    """What answered: a model with a way of decoding."""

    name: str
    """As `--compare` calls it: parallel, serial, plain, hf, or a NAME of one's own."""
    library: str
    """`aspd`, our engine; `transformers`, its stock `generate`; `vllm`; or `server`."""
    mode: Mode
    """parallel, serial or plain."""
    model: str
    """Directory or Hub id, or name and address; `embedded` is the model of the package."""
    adapter: str | None = None
    parameters: int = 0
    """Weights of the model, embeddings included."""
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class EvalAnswer:
    """One answer of one system."""

    system: str
    task: str
    """Task of lm-eval, bench, or where the prompts came from (`prompts`, `synth`, `replay`)."""
    category: str
    """Family or category within the task; the task's name where it has none."""
    doc_id: str
    """Identifies the prompt within the task: equal for all systems."""
    repeat: int
    """Which answer to the prompt it is where a task draws several, from 0."""
    concurrency: int
    """How many prompts the system was given at once."""
    prompt: str
    """What was asked, as text; a conversation as its messages, one a line."""
    text: str
    """What the reader sees."""
    markup: str
    """The document with its control tokens; `core.markup.parse` takes it."""
    finish_reason: str
    """`stop`, or `length` when a budget ended it."""
    stats: AnswerStats
    """Of the run whose wall-clock is the median one."""
    times_s: tuple[float, ...]
    """Wall-clock of each timed run: the seconds for the prompts that were given at once, prefill
    included, divided by their number."""
    bars: tuple[TimelineBar, ...] = ()
    """When each lane was decoded, in steps of the critical path."""
    malformed: bool = False
    """Whether its structure needed mending: a block cut by a budget, or a title announced twice."""
    peak_memory: int = 0
    """Most bytes while it was decoded: of the GPU's allocator, or of the whole process; 0: not
    known."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Metric -> value of this answer."""
    target: str | None = None
    """The right answer, where the task has one."""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """(task, doc_id, repeat, concurrency): what the same answer of another system shares."""
        return self.task, self.doc_id, self.repeat, self.concurrency

    @property
    def branches(self) -> int:
        return self.stats.branches

    @property
    def wall_s(self) -> float:
        """The median of its runs, see `times_s`; `stats.time_s` is what its reader waited for."""
        return statistics.median(self.times_s)

    def as_dict(self) -> dict[str, Any]:
        """One line of samples.jsonl."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {
            "stats": json_safe(self.stats.as_dict()),
            "times_s": [round(seconds, 6) for seconds in self.times_s],
            "bars": [asdict(bar) for bar in self.bars],
            "scores": dict(self.scores),
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "EvalAnswer":
        """The answer of a line of samples.jsonl; fields of other programs are left out."""
        names = {f.name for f in fields(cls)}
        measures = {f.name for f in fields(AnswerStats)}
        stats = {name: n for name, n in value["stats"].items() if name in measures}
        # What a server does not tell.
        stats |= {n: math.nan for n, v in stats.items() if v is None and n != "decoded_tokens"}
        return cls(
            **{name: found for name, found in value.items() if name in names}
            | {
                "stats": AnswerStats(**stats),
                "times_s": tuple(value["times_s"]),
                "bars": tuple(TimelineBar(**bar) for bar in value["bars"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of one run."""

    systems: tuple[System, ...]
    """In the order of `--compare`; the first one's results of lm-eval lead results.json."""
    baseline: str
    """The system that speed-ups are told against: the Seq model where there is one."""
    answers: tuple[EvalAnswer, ...] = ()
    """Of all systems: by task, then by prompt, then by system."""
    scores: tuple[Score, ...] = ()
    latency: tuple[Latency, ...] = ()
    lm_eval: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """System -> the results of lm-eval as it gives them, without samples."""
    judged: Mapping[str, Any] = field(default_factory=dict)
    """Judged bench -> what the judge said, JSON-ready."""
    documents: Mapping[str, Any] = field(default_factory=dict)
    """The losses of given documents that scores are made of, see `evaluate.content_loss`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The resolved recipe, and the flags of the command that are no part of it."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Versions, processor, threads, when it began and how many seconds it took."""
    notes: tuple[str, ...] = ()
    """What a reader of the tables must know, one sentence each."""
    rejected: int = 0
    """Lines of files of prompts or questions that hold none."""

    def system(self, name: str) -> System:
        return next(system for system in self.systems if system.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the answers, JSON-ready."""
        return {
            "systems": [asdict(system) for system in self.systems],
            "baseline": self.baseline,
            "scores": [score.as_dict() for score in self.scores],
            "latency": [row.as_dict() for row in self.latency],
            "lm_eval": {name: dict(found) for name, found in self.lm_eval.items()},
            "judged": dict(self.judged),
            "documents": dict(self.documents),
            "settings": dict(self.settings),
            "machine": dict(self.machine),
            "notes": list(self.notes),
        }

    def results(self) -> dict[str, Any]:
        """results.json: what lm-eval would write for the first system, and ours under `aspd`."""
        leading = next((self.lm_eval[s.name] for s in self.systems if s.name in self.lm_eval), {})
        return {"results": {}, **leading, "aspd": self.as_dict()}

    @classmethod
    def of(cls, value: Mapping[str, Any], answers: Iterable[EvalAnswer] = ()) -> "Evaluation":
        """The evaluation of the `aspd` part of results.json."""
        return cls(
            **{
                **value,
                "systems": tuple(System(**each) for each in value["systems"]),
                "answers": tuple(answers),
                "scores": tuple(map(Score.of, value["scores"])),
                "latency": tuple(map(Latency.of, value["latency"])),
                "notes": tuple(value["notes"]),
            }
        )


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a directory that `aspd eval --output` wrote.

    Raises:
        DataError: the directory holds none.
    """
    try:
        value = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["aspd"]
        lines = read_jsonl(folder / SAMPLES, "answers")
        return Evaluation.of(value, [EvalAnswer.of(line) for _, line in lines])
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        raise DataError(f"{folder} contains no results of `aspd eval`: {error}") from error
