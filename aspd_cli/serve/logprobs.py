"""Log-probabilities in the two forms that OpenAI's API has."""

from collections.abc import Sequence
from typing import Any

from aspd_cli.core.codec import Codec
from aspd_cli.engine.scoring import Score

LEAST = -9999.0
"""What stands for minus infinity, which JSON cannot say; vLLM's choice too."""


def of_completion(codec: Codec, scores: Sequence[Score]) -> dict[str, Any]:
    """As `/v1/completions` has them: parallel lists, one entry for each token."""
    texts = [_text(codec, score.token) for score in scores]
    offsets, at = [], 0
    for text in texts:
        offsets.append(at)
        at += len(text)
    return {
        "tokens": texts,
        "token_logprobs": [_finite(score.logprob) for score in scores],
        "top_logprobs": [
            None if score.logprob is None else _named(codec, _with_own(score)) for score in scores
        ],
        "text_offset": offsets,
    }


def of_chat(codec: Codec, scores: Sequence[Score]) -> dict[str, Any]:
    """As `/v1/chat/completions` has them: an object for each token."""
    return {"content": [_entry(codec, score) for score in scores], "refusal": None}


def _entry(codec: Codec, score: Score) -> dict[str, Any]:
    top = [_token(codec, token, logprob) for token, logprob in score.top.items()]
    return {**_token(codec, score.token, score.logprob), "top_logprobs": top}


def _token(codec: Codec, token: int, logprob: float | None) -> dict[str, Any]:
    text = _text(codec, token)
    return {"token": text, "logprob": _finite(logprob), "bytes": list(text.encode())}


def _with_own(score: Score) -> dict[int, float]:
    assert score.logprob is not None
    return {**score.top, score.token: score.logprob}


def _named(codec: Codec, logprobs: dict[int, float]) -> dict[str, float | None]:
    named: dict[str, float | None] = {}
    for token, logprob in logprobs.items():  # ids of the same text: the likelier one stands
        named.setdefault(_text(codec, token), _finite(logprob))
    return named


def _text(codec: Codec, token: int) -> str:
    """The text of a token; of a special one its name."""
    if token in codec.special:
        return str(codec.tokenizer.convert_ids_to_tokens(token))
    return codec.decode_one(token)


def _finite(logprob: float | None) -> float | None:
    return logprob if logprob is None else max(logprob, LEAST)
