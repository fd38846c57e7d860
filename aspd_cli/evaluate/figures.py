"""The figures of an evaluation: scores, measures and rows of speed; to JSON and back.

An interval is (value, low, high), see `core.metrics`; what is undefined is NaN, and null in JSON.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from aspd_cli.core.metrics import Interval
from aspd_cli.files import json_safe

ALL = "all"
"""Stands for all tasks, or all categories, together."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well one system did: the mean of one metric over the answers of a category."""

    system: str
    task: str
    category: str
    """`all` for the whole task."""
    metric: str
    """As lm-eval calls it, filter included: `exact_match,strict-match`."""
    answers: int
    value: Interval

    def as_dict(self) -> dict[str, Any]:
        return {**_plain(self), "value": interval_dict(self.value)}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Score":
        return cls(**{**value, "value": interval_of(value["value"])})


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure over many answers."""

    mean: Interval
    """Mean, or ratio of sums for shares, with its bootstrap 95% interval over answers."""
    median: float
    p95: float

    def as_dict(self) -> dict[str, Any]:
        return {**interval_dict(self.mean), "median": number(self.median), "p95": number(self.p95)}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Measure":
        nan = math.nan if value["median"] is None else value["median"]
        return cls(interval_of(value), nan, math.nan if value["p95"] is None else value["p95"])


@dataclass(frozen=True, slots=True)
class Latency:
    """How soon one system answered: one row of a table of speed."""

    system: str
    task: str
    """`all` for all tasks."""
    category: str
    """`all` for all categories."""
    branches: int | None
    """Only prompts whose answer has so many branches (see `evaluate.latency`); None: all."""
    concurrency: int
    answers: int
    measures: Mapping[str, Measure]
    """See `evaluate.measures.MEASURES`: ttft_s, time_s, steps, useful_tokens, tps, ppd, dp, ..."""
    speedup: Mapping[str, Interval]
    """Other system -> its time over this one's for the same prompts, summed before dividing."""
    speedup_per_token: Mapping[str, Interval] = field(default_factory=dict)
    """The same with both times divided by the useful tokens that they gave."""

    def as_dict(self) -> dict[str, Any]:
        return {
            **_plain(self),
            "measures": {name: each.as_dict() for name, each in self.measures.items()},
            "speedup": {name: interval_dict(each) for name, each in self.speedup.items()},
            "speedup_per_token": {
                name: interval_dict(each) for name, each in self.speedup_per_token.items()
            },
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Latency":
        measures = {name: Measure.of(each) for name, each in value["measures"].items()}
        gains = {
            kind: {name: interval_of(each) for name, each in value.get(kind, {}).items()}
            for kind in ("speedup", "speedup_per_token")
        }
        return cls(**{**value, "measures": measures, **gains})


def interval_dict(interval: Interval) -> dict[str, float | None]:
    """`value`, `low` and `high`, JSON-ready."""
    return dict(zip(("value", "low", "high"), map(number, interval), strict=True))


def interval_of(value: Mapping[str, Any]) -> Interval:
    """The inverse of `interval_dict`."""
    low, mid, high = (value[name] for name in ("low", "value", "high"))
    return tuple(math.nan if each is None else each for each in (mid, low, high))  # type: ignore[return-value]


def number(value: float) -> float | None:
    """A measure, JSON-ready."""
    rounded: float | None = json_safe(round(value, 6))
    return rounded


def _plain(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}
