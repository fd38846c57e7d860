"""lm-eval's view of a decoder: the model type `aspd`.

Generation goes through our engine; log-likelihoods are plain forward passes of the same weights, as
lm-eval's own `hf` class makes them. lm-eval has no way to find model types of other packages, so
importing this module registers the type; `python -m aspd_cli.evaluate.lm_eval.model` is lm-eval's
command line with it:

    python -m aspd_cli.evaluate.lm_eval.model --model aspd --model_args pretrained=DIR --tasks gsm8k
"""

import copy
import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from aspd_cli.core.chat import encode_pieces, render
from aspd_cli.core.visibility import MAIN
from aspd_cli.engine.kv_cache import Feed, LaneCache
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import UsageError
from aspd_cli.evaluate.processes import Processes

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder

_MAX_GEN_TOKS = 256
"""Longest answer where neither task nor user says: lm-eval's own default."""
_TAKEN = {"until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p", "min_p"}
_TAKEN |= {"repetition_penalty", "seed", "max_branch_tokens", "num_beams", "num_return_sequences"}

Generate = Callable[[Sequence[Any]], list[str]]


class _Shell:
    """What lm-eval reads off a model. It is not to touch the decoder's own."""

    def __init__(self, decoder: "Decoder") -> None:
        model = described(decoder)
        self.device, self.config, self.dtype = decoder.device, model.config, model.dtype
        self.num_parameters = lambda: decoder.runner.parameters


def described(decoder: "Decoder") -> Any:
    """The model of a decoder, or where vLLM has it what is known of it."""
    return decoder.runner if decoder.model is None else decoder.model


@register_model("aspd")
class AspdLM(HFLM):
    """A decoder as lm-eval's language model.

    Args:
        pretrained: directory or Hub id; without it the embedded model with its adapter.
        adapter: directory or Hub id of a LoRA adapter.
        mode: parallel, serial or plain.
        batch_size: prompts decoded at once.
        trust_remote_code: whether Python code that comes with the model may run.
    """

    def __init__(
        self,
        pretrained: "str | Decoder | None" = None,
        adapter: str | None = None,
        mode: str = "parallel",
        device: str | None = None,
        dtype: str | None = None,
        quantize: str | None = None,
        compile: bool = False,
        batch_size: int | str = 8,
        max_length: int | None = None,
        trust_remote_code: bool | None = False,
        generate: Generate | None = None,
        **others: Any,
    ) -> None:
        """`generate`: answers the requests of `generate_until` in place of the engine."""
        if others := {k: v for k, v in others.items() if k != "max_batch_size" and v is not None}:
            raise UsageError(f"the model type aspd takes no {', '.join(others)}")
        self.processes = Processes()
        if pretrained is None or isinstance(pretrained, str):
            from aspd_cli.engine.loading import load

            pretrained = load(
                pretrained,
                adapter,
                self.processes.device(device),
                dtype,
                trust_remote_code=bool(trust_remote_code),
                quantize=quantize,
                compile=bool(compile),
            )
        self.decoder, self.mode, self._answer = pretrained, mode, generate
        super().__init__(
            pretrained=_Shell(self.decoder),
            tokenizer=copy.deepcopy(self.decoder.codec.tokenizer),
            batch_size=batch_size if str(batch_size).isdigit() else 8,
            max_length=max_length,
        )
        self._likelihoods: dict[str, Any] = {}
        self.questions: dict[str, str] = {}
        """What a person would have typed, by the context that the chat template made of it."""
        self._rendered: dict[str, list[str]] = {}
        """Pieces of the contexts that the chat template made, by the context; see `render`."""
        self._lengths: list[int] = []
        """Of these contexts, the longest first."""

    @property
    def has_chat_template(self) -> bool:
        return bool(self.decoder.codec.tokenizer.chat_template)

    @property
    def rank(self) -> int:
        return self.processes.index

    @property
    def world_size(self) -> int:
        return self.processes.number

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The context of a conversation, see lm-eval.

        Raises:
            DataError: the chat template refuses it or drops a content; nothing is left out.
        """
        continues = not add_generation_prompt
        pieces = render(self.decoder.codec, chat_history, continues=continues)
        context = "".join(pieces)
        for text in (context, context.rstrip()):
            cut = accumulate(map(len, pieces), initial=0)
            self._rendered[text] = [
                text[at : at + len(p)] for at, p in zip(cut, pieces, strict=False)
            ]
            self._lengths = sorted({*self._lengths, len(text)}, reverse=True)
        asked = [turn["content"] for turn in chat_history if turn["role"] == "user"]
        self.questions[context] = asked[-1] if asked else context
        return context

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """The ids of a text, see lm-eval. Special tokens are the chat template's; others are text.

        lm-eval cuts white space off the end of a context, and appends continuations to it.
        """
        codec = self.decoder.codec
        pieces = self._pieces(string)
        ids = encode_pieces(codec, pieces) if pieces else codec.encode_first(string)
        bos = codec.tokenizer.bos_token
        if not (pieces and bos and add_special_tokens is None and string.startswith(bos)):
            bare = super().tok_encode("a", add_special_tokens=False)
            framed = super().tok_encode("a", add_special_tokens=add_special_tokens)
            at = framed.index(bare[0]) if bare else 0
            ids = [*framed[:at], *ids, *framed[at + len(bare) :]]
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def _pieces(self, string: str) -> list[str] | None:
        """The pieces of a text that begins with a rendered conversation; None for any other."""
        for length in self._lengths:
            if head := self._rendered.get(string[:length]):
                joined, *rest = self.decoder.codec.cut(string[length:]) or [""]
                return [*head[:-1], head[-1] + joined, *rest]
        return None

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Plain texts of the answers, in the order of the requests."""
        if self._answer is not None:
            return self._answer(requests)
        texts: dict[int, str] = {}
        chosen = [self.options(request.args[1]) for request in requests]
        for options in dict.fromkeys(chosen):
            places = [at for at, each in enumerate(chosen) if each == options]
            encoded = [self.context_ids(requests[at].args[0], options) for at in places]
            events = self.decoder.run(encoded, options, batch_size=int(self.batch_size))
            for index, event in events:
                if hasattr(event, "output"):
                    texts[places[index]] = event.output.text
        return [texts[at] for at in range(len(requests))]

    def options(self, gen_kwargs: dict[str, Any], base: GenerationOptions | None = None) -> Any:
        """The engine's options for a task's generation arguments.

        As for lm-eval's `hf` class, a repetition penalty in the model's own generation
        configuration counts where the task names none.

        Raises:
            UsageError: an argument that the engine does not have.
        """
        configured = described(self.decoder).generation_config
        penalty = getattr(configured, "repetition_penalty", None) or 1.0
        base = base or GenerationOptions(mode=self.mode)  # type: ignore[arg-type]
        return options_of(gen_kwargs, base, penalty)

    def context_ids(self, context: str, options: GenerationOptions) -> list[int]:
        """The ids of a context, cut on the left as lm-eval does where the answer needs the room.

        Special tokens that stand in a document are its data, so they are plain text.
        """
        ids = self.tok_encode(context)
        room = int(self.max_length) - options.max_new_tokens
        if room < 1:
            raise UsageError(
                f"max_gen_toks={options.max_new_tokens} leaves no room for a prompt: the model's "
                f"context is {self.max_length} tokens"
            )
        return ids[-room:]

    def encode(self, context: str, options: GenerationOptions) -> dict[str, Any]:
        """A context as fields of an `EvalRequest`."""
        return {"ids": tuple(self.context_ids(context, options))}

    def _model_call(self, inps: Any, attn_mask: Any = None, labels: Any = None) -> Any:
        """(B, T, V) logits of B rows of T tokens: one forward pass, each row plainly causal."""
        rows, length = inps.shape
        decoder = self.decoder
        cache = LaneCache(decoder.runner.layers, rows, decoder.device)
        for row in range(rows):
            cache.open_row(row)
        tokens = inps.tolist()
        plan = cache.prepare([Feed(row, MAIN, tokens[row], 0) for row in range(rows)])
        logits = decoder.runner.forward(range(rows * length), cache, plan)
        return logits.view(rows, length, -1)

    def _loglikelihood_tokens(self, requests: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Each distinct request once, however many systems have these weights."""
        keys = [json.dumps(request[1:]) for request in requests]
        first = dict(zip(keys, requests, strict=True))
        missing = [request for key, request in first.items() if key not in self._likelihoods]
        found = super()._loglikelihood_tokens(missing, *args, **kwargs) if missing else []
        for request, value in zip(missing, found, strict=True):
            self._likelihoods[json.dumps(request[1:])] = value
        return [self._likelihoods[key] for key in keys]

    def all_gather(self, tensor: Any) -> Any:
        from accelerate.utils import gather

        return gather(tensor.reshape(1)) if self.world_size > 1 else tensor

    def gather_object(self, obj: Any, dst: int = 0) -> list[Any] | None:
        from accelerate.utils import gather_object

        if self.world_size == 1:
            return [obj]
        gathered: list[Any] = gather_object([obj])
        return gathered if self.rank == dst else None

    def barrier(self) -> None:
        self.processes.wait()


def options_of(
    gen_kwargs: dict[str, Any], base: GenerationOptions, penalty: float = 1.0
) -> GenerationOptions:
    """The options for a task's generation arguments.

    Args:
        base: what the arguments say nothing about.
        penalty: of repetitions, where the arguments name none.

    Raises:
        UsageError: an argument that the engine does not have.
    """
    kwargs: dict[str, Any] = dict(normalize_gen_kwargs(gen_kwargs, _MAX_GEN_TOKS))
    if unknown := sorted(kwargs.keys() - _TAKEN):
        raise UsageError(
            f"the engine does not support the generation argument {', '.join(unknown)}"
        )
    if int(kwargs.pop("num_beams", 1) or 1) > 1:
        raise UsageError("the engine does not support beam search: leave out num_beams")
    warm = bool(kwargs.get("do_sample"))
    fields = {
        "max_new_tokens": kwargs["max_gen_toks"],
        "stop": tuple(stop for stop in kwargs["until"] if stop),
        "temperature": float(kwargs.get("temperature") or 1.0) if warm else 0.0,
        "repetition_penalty": float(kwargs.get("repetition_penalty", penalty)),
    }
    for name in ("top_k", "top_p", "min_p", "seed", "max_branch_tokens"):
        if kwargs.get(name) is not None:
            fields[name] = kwargs[name]
    if not fields.get("top_k", 1):
        del fields["top_k"]  # 0 is how transformers spells none
    kept = {name: getattr(base, name) for name in base.__slots__ if name not in fields}
    return GenerationOptions(**kept, **fields)


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
