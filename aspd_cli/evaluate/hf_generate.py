"""transformers' own `generate` as a system, with the time of each token."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aspd_cli.core.layout import lay_out
from aspd_cli.core.markup import plain, render
from aspd_cli.core.metrics import AnswerStats, structure
from aspd_cli.errors import ModelError
from aspd_cli.evaluate.requests import DecoderSystem, EvalRequest, Reply, serial_document
from aspd_cli.evaluate.results import System
from aspd_cli.evaluate.timeline import TimelineBar

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.options import GenerationOptions


class HFGenerate(DecoderSystem):
    """transformers' `generate` on the same weights: plain text, stock attention, static batches."""

    def __init__(self, system: System, decoder: "Decoder") -> None:
        super().__init__(system, decoder)
        if decoder.stock is None:
            raise ModelError("the stock model was not kept: load it with keep_stock=True")
        self.model: Any = decoder.stock
        self.barred = sorted(decoder.codec.control) if decoder.has_control else []
        """A system that writes plain text never writes a control token."""

    def answer(
        self, requests: Sequence[EvalRequest], concurrency: int
    ) -> list[tuple[EvalRequest, Any, list[float]]]:
        """For each request: itself, the ids of its answer, and when each of them was there (s)."""
        answers = []
        for at in range(0, len(requests), concurrency):
            answers += self._batch(requests[at : at + concurrency])
        return answers

    def reply(self, answer: tuple[EvalRequest, list[int], list[float]]) -> Reply:
        """What is reported of an answer."""
        request, ids, seconds = answer
        ends, codec = self.decoder.ends, self.decoder.codec
        ended = request.document is not None or ids[-1] in ends
        text_ids = ids[:-1] if ended else ids
        text = codec.decode(text_ids) if request.document is None else plain(request.document)
        found = [at for stop in request.options.stop if (at := text.find(stop)) >= 0]
        text = text[: min(found)] if found else text
        layout = lay_out((tuple(text_ids),), codec, end_ids=ids[len(text_ids) :])
        counts = structure((tuple(text_ids),), layout)
        stats = AnswerStats(
            prompt_tokens=len(request.ids),
            steps=len(ids),
            parallel_steps=0,
            max_lanes=1,
            ttft_s=seconds[0],
            time_s=seconds[-1],
            parallel_s=0.0,
            parallel_useful_tokens=0,
            decoded_tokens=counts.tokens,
            **asdict(counts),
        )
        reason = "stop" if ended or found else "length"
        markup = render(serial_document(text))
        return Reply(text, markup, reason, stats, (TimelineBar(0, "", 1, len(ids)),))

    def _batch(
        self, requests: Sequence[EvalRequest]
    ) -> list[tuple[EvalRequest, list[int], list[float]]]:
        import torch
        from transformers import StoppingCriteriaList

        width = max(len(request.ids) for request in requests)
        pad = self.decoder.codec.tokenizer.pad_token_id or self.decoder.ends[0]
        rows = [[pad] * (width - len(request.ids)) + list(request.ids) for request in requests]
        seen = [[0] * (width - len(request.ids)) + [1] * len(request.ids) for request in requests]
        device, options = self.decoder.device, requests[0].options
        clock = _Clock(
            self.decoder, options.stop, width, [self._forced(request) for request in requests]
        )
        torch.manual_seed(options.seed)
        with torch.inference_mode():
            out = self.model.generate(
                torch.tensor(rows, device=device),
                attention_mask=torch.tensor(seen, device=device),
                stopping_criteria=StoppingCriteriaList([clock]),
                pad_token_id=pad,
                **self._arguments(options, clock),
            )
        lengths = clock.lengths(out[:, width:].tolist(), self.decoder.ends)
        return [
            (request, out[row, width : width + length].tolist(), clock.seconds[:length])
            for row, (request, length) in enumerate(zip(requests, lengths, strict=True))
        ]

    def _forced(self, request: EvalRequest) -> int | None:
        """Tokens that a given answer has as plain text, its end included."""
        if request.document is None:
            return None
        text = self.decoder.codec.encode(plain(request.document))
        return min(len(text) + 1, request.options.max_new_tokens)

    def _arguments(self, options: "GenerationOptions", clock: "_Clock") -> dict[str, Any]:
        """All that steers `generate`, so that nothing of the model's own configuration does."""
        forced = [length for length in clock.forced if length is not None]
        most = max(forced) if forced else options.max_new_tokens
        warm = options.temperature > 0
        return {
            "max_new_tokens": most,
            "min_new_tokens": most if forced else None,
            "eos_token_id": list(self.decoder.ends),
            "suppress_tokens": self.barred or None,
            "do_sample": warm,
            "temperature": options.temperature if warm else 1.0,
            "top_k": (options.top_k or 0) if warm else 50,
            "top_p": (options.top_p or 1.0) if warm else 1.0,
            "min_p": options.min_p if warm else None,
            "repetition_penalty": options.repetition_penalty,
            "num_beams": 1,
            "use_cache": True,
        }


class _Clock:
    """A stopping criterion that notes when each token was there, and ends rows at stop strings."""

    def __init__(
        self, decoder: "Decoder", stop: Sequence[str], width: int, forced: list[int | None]
    ) -> None:
        self.codec, self.stop, self.width = decoder.codec, stop, width
        self.forced = forced
        longest = max((len(self.codec.encode(each)) for each in stop), default=0)
        self.tail = longest + 4
        self.stopped: dict[int, int] = {}
        """Row -> tokens at which it met a stop string."""
        self.began = time.perf_counter()
        self.seconds: list[float] = []

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        if input_ids.is_cuda:
            torch.cuda.synchronize(input_ids.device)
        self.seconds.append(time.perf_counter() - self.began)
        rows = len(input_ids)
        if self.stop:
            tails = input_ids[:, max(self.width, input_ids.shape[1] - self.tail) :].tolist()
            for row, tail in enumerate(tails):
                text = self.codec.decode(tail)
                if row not in self.stopped and any(each in text for each in self.stop):
                    self.stopped[row] = input_ids.shape[1] - self.width
        ended = [row in self.stopped for row in range(rows)]
        return torch.tensor(ended, device=input_ids.device)

    def lengths(self, answers: list[list[int]], ends: Sequence[int]) -> list[int]:
        """Tokens of each row's answer, its end included."""
        lengths = []
        for row, ids in enumerate(answers):
            ended = next((at + 1 for at, token in enumerate(ids) if token in ends), len(ids))
            known = self.forced[row]
            lengths.append(min(ended, self.stopped.get(row, len(ids))) if known is None else known)
        return lengths
