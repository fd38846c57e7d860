"""Replay: what a model could gain, before it is trained.

The engine is led through the documents of a transform's output: titles and contents are given, the
model runs all the same. What is measured is the wall-clock of the real structure of real answers on
a real architecture; what the weights say does not matter, so they may be random.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspd_cli.core.chat import Prompt, encode_prompt, to_messages
from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import Document
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError, ModelError, UsageError, reason
from aspd_cli.evaluate.requests import EvalRequest
from aspd_cli.files import EMBEDDED_MODEL, parse_jsonl
from aspd_cli.pretrained import from_config, from_pretrained, gguf_file
from aspd_cli.recipe.yaml_reader import read_yaml

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder

TASK = "replay"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One answer of a transform output."""

    line: int
    prompt: Prompt
    document: Document


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed, and what was left out."""

    requests: list[EvalRequest]
    serial: int
    """Records without a block: nothing to gain, so they are left out."""
    too_long: int
    """Records beyond `max_length` or the model's context."""
    rejected: list[str]
    """Lines that hold no document, and why: one sentence each."""


def left_out(path: Path, serial: int, too_long: int) -> list[str]:
    """One sentence on the documents of a file that do not count, if there are any."""
    left = [(serial, "without a block"), (too_long, "too long")]
    told = [f"{number} {why}" for number, why in left if number]
    return [f"left out of {path}: {' and '.join(told)}"] if told else []


def read_documents(path: Path) -> tuple[list[Replayed], list[str]]:
    """The answers of a file that `aspd transform` wrote; a sentence for each line that holds none.

    Raises:
        DataError: the file cannot be read, or no line of it holds an answer.
    """
    try:
        with path.open("rb") as file:
            lines = list(parse_jsonl(file))
    except OSError as error:
        raise DataError(f"cannot read the documents in {path}: {error.strerror}") from error
    found: list[Replayed] = []
    rejected: list[str] = []
    for number, record, problem in lines:
        try:
            prompt, answer = record["prompt"], record["completion"]
            text = answer if isinstance(answer, str) else answer[-1]["content"]
            to_messages(prompt)
            found.append(Replayed(number, prompt, parse(text)))
        except MarkupError as error:
            rejected.append(f"{path}:{number}: {error}")
        except (ValueError, KeyError, IndexError, TypeError, DataError):
            rejected.append(
                f"{path}:{number} has no `prompt` and `completion` as `aspd transform` writes them"
                + (f": {problem}" if problem else "")
            )
    if not found:
        raise DataError(rejected[0] if rejected else f"{path} contains no documents")
    return found, rejected


def replay_requests(
    path: Path,
    decoder: "Decoder",
    *,
    limit: int | None = None,
    max_length: int | None = None,
    draft: bool = True,
) -> Replay:
    """The parallel answers of a file, evenly spaced where `limit` takes fewer.

    Args:
        max_length: most tokens of a document, markup included.
        draft: as of `GenerationOptions`; how many drafts come true, the documents say.

    Raises:
        DataError: the file cannot be read, or holds no block that fits.
    """
    from aspd_cli.engine.options import GenerationOptions

    codec = decoder.codec
    fit: list[tuple[Replayed, tuple[int, ...]]] = []
    longest = serial = too_long = 0
    documents, rejected = read_documents(path)
    for record in documents:
        if not any(True for _ in record.document.blocks()):
            serial += 1
            continue
        ids = encode_prompt(codec, record.prompt)
        length = len(lay_out(tokenize(record.document, codec), codec, end_ids=[decoder.ends[0]]))
        room = length if decoder.context is None else decoder.context - len(ids)
        if length > room or (max_length is not None and length > max_length):
            too_long += 1
            continue
        fit.append((record, tuple(ids)))
        longest = max(longest, length)
    if not fit:
        raise DataError(
            f"{path} contains no document with a block that fits: {serial} without a block, "
            f"{too_long} too long"
        )
    options = GenerationOptions(max_new_tokens=longest, draft=draft)
    requests = [
        EvalRequest(
            task=TASK,
            category=TASK,
            doc_id=str(record.line),
            prompt="\n".join(message["content"] for message in to_messages(record.prompt)),
            ids=ids,
            options=options,
            document=record.document,
        )
        for record, ids in fit
    ]
    if limit is not None and limit < len(requests):
        requests = [requests[at * len(requests) // limit] for at in range(limit)]
    return Replay(requests, serial, too_long, rejected)


def random_decoder(
    source: str | None,
    tokenizer: str | None,
    device: str | None,
    dtype: str | None,
    *,
    keep_stock: bool = False,
    trust_remote_code: bool = False,
    quantize: str | None = None,
    compile: bool = False,
) -> tuple["Decoder", str]:
    """A decoder of an architecture with random weights, and where its tokenizer comes from.

    Args:
        source: a model directory, or a JSON or YAML file with a transformers configuration.
        tokenizer: directory or Hub id; None: the model directory's own, or the embedded one.
        trust_remote_code: whether Python code that comes with the tokenizer may run; that of the
            model never does.

    Raises:
        ModelError: there is no configuration, or it is of no causal language model.
    """
    import torch
    from transformers import AutoConfig

    from aspd_cli.core.codec import ControlIds, add_control_tokens
    from aspd_cli.engine.compiled_steps import check_compile
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.loading import choose_device, choose_dtype, finish
    from aspd_cli.engine.quantized_linear import check_quantize

    settings = dict(_configuration(source))
    named = Path(source or "")
    own = (named / "tokenizer_config.json").is_file() or gguf_file(named)
    place = tokenizer or (str(named) if own else None)
    chosen = choose_device(device)
    bits = check_quantize(quantize, chosen, choose_dtype(dtype, chosen))
    check_compile(compile, chosen)
    where = place or str(EMBEDDED_MODEL / "adapter")
    codec = from_pretrained(
        "AutoTokenizer",
        where,
        trust_remote_code=trust_remote_code,
        place=f"the tokenizer {where}",
    )
    try:
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        torch.manual_seed(0)
        number = choose_dtype(dtype, chosen)
        with torch.device(chosen):
            model = from_config(config, trust_remote_code=False, dtype=number)
    except Exception as error:  # whatever the libraries make of a configuration
        raise ModelError(f"cannot create a model from {source}: {reason(error)}") from error
    add_control_tokens(codec)
    needed = max(*ControlIds.of(codec), len(codec) - 1) + 1
    if needed > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(needed)
    model.generation_config.eos_token_id = codec.eos_token_id
    decoder = Decoder(model, codec)
    finish(decoder, keep_stock=keep_stock, quantize=bits, compile=compile)
    return decoder, place or "the embedded model"


def _configuration(source: str | None) -> dict[str, Any]:
    if source is None:
        raise UsageError(
            "--random-weights needs --model: a model directory, or a file with a configuration "
            "like recipes/shapes/qwen2.5-0.5b.json"
        )
    path = Path(source)
    if gguf_file(path):
        place = f"the configuration of {path}"
        config = from_pretrained("AutoConfig", path, trust_remote_code=False, place=place)
        return dict(config.to_dict())
    path = path / "config.json" if path.is_dir() else path
    try:
        text = read_yaml(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read a configuration in {path}: {error}") from error
    if text.problems:
        line, _, fault = text.problems[0]
        raise ModelError(f"cannot read a configuration in {path}:{line}: {fault}")
    found = text.data
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise ModelError(f"{path} is not a model configuration: it has no model_type")
    return found
