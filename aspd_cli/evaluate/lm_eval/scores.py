"""lm-eval's samples as scores: of a task, of its categories, of each answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from aspd_cli.core.metrics import bootstrap
from aspd_cli.evaluate.figures import ALL, Score

CATEGORIES = ("category", "family", "subject", "type", "topic", "domain", "level")
"""Where a document says what it is about; the first that is there and a text counts."""


def category_of(document: Any, task: str) -> str:
    """What a document says that it is about; the task's name where it says nothing."""
    fields = document if isinstance(document, Mapping) else {}
    found = (fields.get(name) for name in CATEGORIES)
    return next((value for value in found if isinstance(value, str) and value), task)


def scores_of(
    system: str,
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    groups: Mapping[str, Sequence[str]],
) -> list[Score]:
    """Every metric of every task as a mean with its interval, in all and by category.

    A group of tasks counts every document alike; its categories are those of its tasks.
    """
    whole = {group: parts for group, parts in groups.items() if set(parts) <= samples.keys()}
    grouped = {task for parts in whole.values() for task in parts}
    pools = {group: [s for task in parts for s in samples[task]] for group, parts in whole.items()}
    pools |= {task: list(found) for task, found in samples.items() if task not in grouped}
    scores = []
    for task, pool in pools.items():
        values: dict[tuple[str, str], list[float]] = {}
        for sample in pool:
            for metric, value in _numbers(sample).items():
                for category in (ALL, category_of(sample["doc"], task)):
                    values.setdefault((category, metric), []).append(value)
        several = len({category for category, _ in values}) > 2
        for (category, metric), each in values.items():
            if category == ALL or several:
                scores.append(Score(system, task, category, metric, len(each), bootstrap(each)))
    return scores


def metrics_by_answer(
    system: str, samples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[tuple[str, str, str, int], dict[str, float]]:
    """(system, task, doc_id, repeat) -> the metrics of that answer.

    Where a task draws several answers to a question, they are scored together: each gets the score.
    """
    found: dict[tuple[str, str, str, int], dict[str, float]] = {}
    for task, each in samples.items():
        for sample in each:
            drawn = max(len(replies) for replies in sample["resps"])
            for repeat in range(drawn):
                place = (system, task, str(sample["doc_id"]), repeat)
                found.setdefault(place, {}).update(_numbers(sample))
    return found


def _numbers(sample: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of a sample that are numbers, by lm-eval's name with its filter."""
    return {
        f"{name},{sample['filter']}": float(sample[name])
        for name in sample["metrics"]
        if isinstance(sample[name], int | float)
    }
