"""What a run starts from: tokenizer and model, loaded or new, with rows for the control tokens."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from aspd_cli.core.chat import check_arguments
from aspd_cli.core.codec import Codec, add_control_tokens
from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.errors import ModelError, reason
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.pretrained import from_pretrained, is_local
from aspd_cli.recipe import Recipe
from aspd_cli.recipe.training import LoraSection
from aspd_cli.train import branch_mask
from aspd_cli.train.from_scratch import new_model, new_tokenizer
from aspd_cli.train.token_init import initialise


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer that holds the control tokens, and what it was before."""

    tokenizer: Any
    codec: Codec
    added: tuple[str, ...]
    """Control tokens that it had to be given."""
    known: int
    """Ids below this one were its own."""

    @property
    def size(self) -> int:
        """Rows that embeddings need."""
        return len(self.tokenizer)


def base_path(recipe: Recipe) -> str:
    """The model that a recipe starts from: its own, or the embedded serial base.

    One on the disk is told by its whole path, so that an adapter on it finds it from anywhere.
    """
    path = recipe.model.path or str(EMBEDDED_MODEL / "base")
    return os.path.abspath(path) if is_local(path) else path


def load_config(recipe: Recipe) -> PreTrainedConfig:
    """The architecture, without any weight. Raises `ModelError` when there is none to read."""
    path, settings = base_path(recipe), recipe.model.config
    if settings is None:
        found: PreTrainedConfig = from_pretrained(
            "AutoConfig",
            path,
            trust_remote_code=recipe.model.trust_remote_code,
            place=f"the model {path} to train it",
        )
        return found
    try:
        return AutoConfig.for_model(**settings)
    except Exception as error:  # unknown types and fields
        raise ModelError(f"cannot load the model model.config: {reason(error)}") from error


def load_vocabulary(
    recipe: Recipe, config: PreTrainedConfig, found: Dataset, made: Path | None
) -> Vocabulary:
    """The recipe's tokenizer with the control tokens; a new model may get a new one.

    Args:
        made: where the new tokenizer of this run stands already.

    Raises:
        ModelError: there is none, or it is not the model's.
    """
    if recipe.model.config is not None and recipe.model.tokenizer is None:
        tokenizer: Any = (
            _tokenizer(str(made), recipe)
            if made
            else new_tokenizer(_texts(found), config.vocab_size)
        )
    else:
        own = recipe.model.config is None and base_path(recipe)
        tokenizer = _tokenizer(recipe.model.tokenizer or str(own), recipe)
        if own and recipe.model.tokenizer:
            _check_same(tokenizer, own, recipe)
    known, rows = len(tokenizer), config.get_text_config().vocab_size
    if recipe.model.config is None and recipe.model.tokenizer and known > rows:
        raise ModelError(
            f"the tokenizer {recipe.model.tokenizer} has {known} tokens and the model "
            f"{base_path(recipe)} has embeddings for {rows}: they do not match"
        )
    vocabulary = tokenizer.get_vocab()
    missing = tuple(token for token in CONTROL_TOKENS if token not in vocabulary)
    add_control_tokens(tokenizer)
    codec = Codec(tokenizer, recipe.data.chat_template_kwargs)
    check_arguments(codec)
    if split := [
        t for t in CONTROL_TOKENS if len(tokenizer.encode(t, add_special_tokens=False)) != 1
    ]:
        raise ModelError(f"the tokenizer does not encode {' '.join(split)} as one token each")
    return Vocabulary(tokenizer, codec, missing, known)


def load_model(recipe: Recipe, config: PreTrainedConfig, vocabulary: Vocabulary) -> PreTrainedModel:
    """The recipe's model, with a row for every token. Raises `ModelError` when there is none."""
    device = device_of(recipe)
    if recipe.model.config is not None:
        new = new_model(recipe.model.config, vocabulary.tokenizer)
        wanted = branch_mask.implementation(new.config, recipe.training.attention, device)
        new.set_attn_implementation(wanted)
        return new
    path = base_path(recipe)
    wanted = branch_mask.implementation(config, recipe.training.attention, device)
    model: PreTrainedModel = from_pretrained(
        "AutoModelForCausalLM",
        path,
        trust_remote_code=recipe.model.trust_remote_code,
        place=f"the model {path}",
        dtype=number_format(recipe),
        attn_implementation=wanted,
        **_quantized(recipe.lora),
    )
    rows = cast(int, model.get_input_embeddings().num_embeddings)  # ZeRO-3 leaves the weight empty
    if vocabulary.size > rows:  # never downward: many vocabularies are padded
        model.resize_token_embeddings(vocabulary.size, mean_resizing=False)
    if vocabulary.added:
        initialise(model, vocabulary.codec, vocabulary.added, min(vocabulary.known, rows))
    return model


def device_of(recipe: Recipe) -> str:
    """The kind of device that is trained on: `cuda` where there is one, unless told otherwise."""
    told = recipe.model.device or "cuda"
    return "cuda" if told.startswith("cuda") and torch.cuda.is_available() else "cpu"


def number_format(recipe: Recipe) -> torch.dtype:
    """How weights are held. Training all needs float32: bfloat16 rounds small steps away."""
    name = recipe.model.dtype
    if name == "auto":
        frozen = recipe.lora is not None and device_of(recipe) == "cuda"
        name = "bfloat16" if frozen and torch.cuda.is_bf16_supported() else "float32"
    found: torch.dtype = getattr(torch, name)
    return found


def _quantized(lora: LoraSection | None) -> dict[str, Any]:
    """Arguments that load the weights in four bits (QLoRA: NF4, its constants quantised too)."""
    if lora is None or lora.quantization is None:
        return {}
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": int(os.environ.get("LOCAL_RANK", 0))}}


def _tokenizer(path: str, recipe: Recipe) -> Any:
    trusted = recipe.model.trust_remote_code
    place = f"the tokenizer {path}"
    return from_pretrained("AutoTokenizer", path, trust_remote_code=trusted, place=place)


def _check_same(tokenizer: Any, model: str, recipe: Recipe) -> None:
    """Refuses a tokenizer whose tokens have other ids in the model's own one."""
    try:
        own = _tokenizer(model, recipe).get_vocab()
    except ModelError:  # the model has none: that is what model.tokenizer is for
        return
    name = recipe.model.tokenizer
    other = tokenizer.get_vocab()
    moved = sum(other.get(token) != i for token, i in own.items() if token not in CONTROL_TOKENS)
    if moved > len(own) // 100:
        raise ModelError(
            f"the tokenizer {name} does not match the model {model}: {moved} of its {len(own)} "
            "tokens have other ids; leave out model.tokenizer"
        )


def _texts(found: Dataset) -> list[str]:
    """What a new tokenizer learns from; numbers count extra, so that each becomes one token."""
    turns = [turn for column in ("prompt", "completion") for row in found[column] for turn in row]
    numbers = [str(number) for number in range(100)]
    return [turn["content"] for turn in turns] + numbers * (len(turns) // 100 + 1)
