"""What Prometheus reads at /metrics: vLLM's names where they fit, and ours for branches."""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from aspd_cli.core.metrics import AnswerStats
from aspd_cli.engine.events import Close, Event, Fork

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)


class Metrics:
    """The counters of one server."""

    def __init__(self, model: str) -> None:
        self._registry = CollectorRegistry()
        self._model = model

        def made(kind: type, name: str, help: str, *more: str, **rest: Any) -> Any:
            metric = kind(name, help, ["model_name", *more], registry=self._registry, **rest)
            return metric if more else metric.labels(model)

        self._running = made(Gauge, "vllm:num_requests_running", "Answers that are decoded.")
        self._waiting = made(Gauge, "vllm:num_requests_waiting", "Answers that wait for a row.")
        self._prompt = made(Counter, "vllm:prompt_tokens", "Prompt tokens.")
        self._tokens = made(Counter, "vllm:generation_tokens", "Tokens of answers with markup.")
        self._finished = made(
            Counter, "vllm:request_success", "Answers that were finished.", "finished_reason"
        )
        self._first = made(
            Histogram,
            "vllm:time_to_first_token_seconds",
            "From the arrival of a request to its first text or fork.",
            buckets=_SECONDS,
        )
        self._whole = made(
            Histogram,
            "vllm:e2e_request_latency_seconds",
            "From the arrival of a request to its last token.",
            buckets=_SECONDS,
        )
        self._useful = made(Counter, "aspd:useful_tokens", "Tokens that the reader sees.")
        self._steps = made(Counter, "aspd:steps", "Forward passes.")
        self._forks = made(Counter, "aspd:forks", "Blocks that answers forked into.")
        self._branches = made(Counter, "aspd:branches", "Branches that were finished.")
        self._lanes = made(Gauge, "aspd:lanes", "Lanes that are decoded.")
        self._dropped = made(
            Counter, "aspd:requests_dropped", "Answers whose client had gone before their end."
        )
        self._refused = made(Counter, "aspd:requests_refused", "Requests that met a full queue.")

    def watch(
        self,
        *,
        running: Callable[[], float],
        waiting: Callable[[], float],
        lanes: Callable[[], float],
    ) -> None:
        """Reads these numbers whenever the metrics are asked for."""
        for gauge, read in (
            (self._running, running),
            (self._waiting, waiting),
            (self._lanes, lanes),
        ):
            gauge.set_function(read)

    def count_step(self, events: Iterable[Event]) -> None:
        """Counts a step of the engine and what came of it."""
        kinds = [type(event) for event in events]
        self._steps.inc()
        self._forks.inc(kinds.count(Fork))
        self._branches.inc(kinds.count(Close))

    def count_first(self, seconds: float) -> None:
        self._first.observe(seconds)

    def count_answer(self, stats: AnswerStats, reason: str, seconds: float) -> None:
        """Counts a finished answer."""
        self._prompt.inc(stats.prompt_tokens)
        self._tokens.inc(stats.tokens)
        self._useful.inc(stats.useful_tokens)
        self._finished.labels(self._model, reason).inc()
        self._whole.observe(seconds)

    def count_dropped(self, answers: int) -> None:
        self._dropped.inc(answers)

    def count_refused(self) -> None:
        self._refused.inc()

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)
