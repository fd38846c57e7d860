"""What a run of `aspd transform` did: counts per stage, and the parallelism of its output."""

from collections import Counter
from dataclasses import asdict
from random import Random
from typing import Any

from aspd_cli.core.metrics import Interval, Structure, parallelism
from aspd_cli.endpoint.usage import Tally
from aspd_cli.files import json_safe
from aspd_cli.transform.io.records import Rejected

STAGES = {
    "rules": ("read", "length", "structure", "independence"),
    "openai": ("read", "length", "propose", "independence", "integrity", "answer"),
    "rules+judge": ("read", "length", "structure", "independence"),
    "model": ("read", "length", "structure", "independence"),
    "model+judge": ("read", "length", "structure", "independence"),
}
"""What a value must pass, in order, to become a parallel answer, by back end."""

BY_CONSTRUCTION = ("integrity", "answer")
"""The stages that `annotate` passes without a call: it cannot change a byte of an answer."""

SAMPLE = 10_000
"""Answers of which the measures are taken; of a longer file, so many drawn at random."""

_DRAWN = 2_000_000


class Report:
    """Counts up as records go by, in constant memory."""

    def __init__(self, back_end: str = "rules", *, method: str | None = None) -> None:
        self.back_end = back_end
        self.method = method
        """How the openai back end proposes."""
        self.tally: Tally | None = None
        """Calls, tokens and dollars of each stage where an endpoint is asked."""
        self.failed = 0
        """Answers that stay serial because the endpoint failed."""
        self.ended: Counter[str] = Counter()
        """How many values ended in each stage, "parallel" for those that passed all."""
        self.reasons: Counter[str] = Counter()
        self._sample: list[Structure] = []
        self._random = Random(0)
        self._measures: dict[str, Interval] | None = None

    @property
    def total(self) -> int:
        return self.ended.total()

    @property
    def rejected(self) -> int:
        return self.ended["read"]

    @property
    def parallel(self) -> int:
        return self.ended["parallel"]

    def reject(self, record: Rejected) -> None:
        """Counts a value that holds no conversation."""
        self.ended["read"] += 1

    @property
    def faulty(self) -> bool:
        """Whether some records were not done as they should."""
        return bool(self.rejected or self.failed)

    def add(
        self, stage: str, reason: str | None, structure: Structure, *, failed: bool = False
    ) -> None:
        """Counts an answer."""
        answers = self.total - self.rejected
        self.ended[stage] += 1
        self.failed += failed
        if reason is not None:
            self.reasons[reason.partition(";")[0]] += 1
        if len(self._sample) < SAMPLE:
            self._sample.append(structure)
        elif (at := self._random.randrange(answers + 1)) < SAMPLE:
            self._sample[at] = structure

    def stages(self) -> list[tuple[str, int, int]]:
        """Each stage with how many values went in and how many came out."""
        rows, left = [], self.total
        for stage in STAGES[self.back_end]:
            passed = left - self.ended[stage]
            rows.append((stage, left, passed))
            left = passed
        return rows

    def holds_by_construction(self, stage: str) -> bool:
        """Whether the stage needs no call because nothing can fail it."""
        return self.method == "annotate" and stage in BY_CONSTRUCTION

    def _spent(self, stage: str) -> dict[str, Any]:
        """What the calls of a stage cost; nothing where no endpoint is asked."""
        if self.tally is None:
            return {}
        if self.holds_by_construction(stage):
            return {"by_construction": True}
        spent = self.tally.stages.get(stage)
        return {} if spent is None else asdict(spent)

    def measures(self) -> dict[str, Interval]:
        """PPD, DP, ABN and APE, each with its bootstrap 95% interval; once all is added."""
        if self._measures is None:
            # Fewer draws of more answers, so that the end of a run takes no longer than a second.
            draws = max(400, min(2000, _DRAWN // max(1, len(self._sample))))
            self._measures = parallelism(self._sample, samples=draws)
        return self._measures

    def as_dict(self) -> dict[str, Any]:
        """The whole report, JSON-ready; a measure that is undefined is null."""
        return {
            "back_end": self.back_end,
            "method": self.method,
            "records": self.total,
            "rejected": self.rejected,
            "failed": self.failed,
            "parallel": self.parallel,
            "serial": self.total - self.rejected - self.parallel,
            "stages": [
                {"stage": stage, "in": before, "out": after, **self._spent(stage)}
                for stage, before, after in self.stages()
            ],
            "reasons": dict(self.reasons.most_common(100)),
            "measured": len(self._sample),
            "measures": {
                name: {
                    key: json_safe(round(number, 4))
                    for key, number in zip(("value", "low", "high"), interval, strict=True)
                }
                for name, interval in self.measures().items()
            },
        }
