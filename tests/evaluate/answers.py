"""Answers made up for tables."""

from typing import Any

from aspd_cli.core.metrics import AnswerStats
from aspd_cli.evaluate.results import EvalAnswer, System
from aspd_cli.evaluate.timeline import TimelineBar

SYSTEMS = (
    System("parallel", "aspd", "parallel", "embedded", "a", parameters=10),
    System("hf", "transformers", "plain", "embedded"),
)

STATS = AnswerStats(
    prompt_tokens=3,
    tokens=40,
    useful_tokens=30,
    steps=20,
    parallel_steps=8,
    blocks=1,
    branches=2,
    branch_tokens=20,
    title_tokens=4,
    max_lanes=2,
    ttft_s=0.1,
    time_s=1.0,
    parallel_s=0.5,
    parallel_useful_tokens=20,
)


def answer(
    system: str = "parallel", doc_id: str = "0", seconds: float = 1.0, **other: Any
) -> EvalAnswer:
    """An answer that took `seconds`."""
    fields: dict[str, Any] = {
        "task": "t",
        "category": "c",
        "repeat": 0,
        "concurrency": 1,
        "prompt": "p",
        "text": "text",
        "markup": "text",
        "finish_reason": "stop",
        "stats": STATS,
        "times_s": (seconds,),
        "bars": (TimelineBar(0, "", 1, 5), TimelineBar(1, "A", 6, 9), TimelineBar(2, "B", 6, 7)),
    }
    return EvalAnswer(system=system, doc_id=doc_id, **fields | other)
