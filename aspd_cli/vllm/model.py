"""What aspd knows of a model whose weights vLLM holds: tokenizer, ends, context, settings.

vLLM loads a directory of merged weights; an adapter is merged into one for it.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aspd_cli.core.chat import end_of_turn
from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import FORMAT
from aspd_cli.core.visibility import LaneTree
from aspd_cli.engine.compatibility import check_family, context_length
from aspd_cli.engine.loading import SETTINGS, assemble, choose_dtype, find_settings, read_settings
from aspd_cli.errors import ModelError, UsageError, reason
from aspd_cli.files import write_text
from aspd_cli.pretrained import from_pretrained, gguf_file, is_local
from aspd_cli.recipe.sections import ModelSection
from aspd_cli.sources import hub_answers


@dataclass(slots=True)
class Rows:
    """Stands for the cache of our own engine: vLLM has it, here only the lanes are known."""

    rows: int
    capacity: int = 0

    def open_row(self, row: int) -> LaneTree:
        return LaneTree()


class RemoteModel:
    """What the step loop needs to know of a model that vLLM runs.

    Raises:
        ModelError: it cannot be decoded in parallel on vLLM, or cannot be read.
    """

    def __init__(
        self,
        path: str,
        *,
        trust_remote_code: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        only_files = is_local(path) or not hub_answers(path)
        rest: dict[str, Any] = {
            "trust_remote_code": trust_remote_code,
            "local_files_only": only_files,
        }
        config = from_pretrained("AutoConfig", path, place=f"the configuration of {path}", **rest)
        check_family(config)
        tokenizer = from_pretrained("AutoTokenizer", path, place=f"the tokenizer of {path}", **rest)
        found = find_settings(path, only_files)
        self.settings = read_settings(found) if found else {}
        if self.settings.get("positions", "same-seq") != "same-seq":
            raise ModelError(
                f"{path} was trained with same-max positions, and vLLM numbers tokens one after "
                "another: decode it with aspd's own engine"
            )
        if chat_template_kwargs is not None:
            self.settings["chat_template_kwargs"] = dict(chat_template_kwargs)
        self.path, self.config = path, config
        self.dtype: torch.dtype = getattr(config, "dtype", None) or torch.float32
        """That of the weights in the directory."""
        self.generation_config = _generation_config(path, only_files)
        self.codec = Codec(tokenizer, self.settings.get("chat_template_kwargs"))
        self.context = context_length(config)
        self.vocabulary = int(config.get_text_config(decoder=True).vocab_size)
        self.known_ids = self.vocabulary
        self.parameters = 0  # they are vLLM's to count
        self.device = torch.device("cpu")

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Ids that end an answer: the template's end of turn, then what the model itself names."""
        named = self.generation_config.eos_token_id
        listed = named if isinstance(named, list) else [] if named is None else [named]
        return tuple(dict.fromkeys([end_of_turn(self.codec)[-1], *listed]))

    @cached_property
    def unnamed_ids(self) -> Tensor:
        """Ids with a logit but without a token."""
        named = set(self.codec.tokenizer.get_vocab().values())
        return torch.tensor([i for i in range(self.vocabulary) if i not in named])

    @cached_property
    def unpenalised_ids(self) -> frozenset[int]:
        return self.codec.special | frozenset(self.ends)

    def take_cache(self, rows: int) -> Rows:
        return Rows(rows)

    def give_back(self, cache: Rows) -> None:
        pass

    def reserve(self, cache: Rows, entries: int) -> None:
        pass


@contextlib.contextmanager
def merged_directory(section: ModelSection, merged: str | None) -> Iterator[str]:
    """A directory or Hub id that vLLM can load; a temporary one ends with the context.

    Args:
        merged: where weights are written that an adapter is merged into; what is there is used as
            it is. None: a temporary directory.

    Raises:
        ModelError: the model cannot be loaded, or the directory cannot be written.
        UsageError: vLLM does not load what it is, or the directory holds something else.
    """
    path, adapter = section.path, section.adapter
    if path is not None and gguf_file(path) is not None:
        raise UsageError(f"{path} is a GGUF file: with vLLM, pass a directory of weights")
    is_adapter = path is not None and (Path(path) / "adapter_config.json").is_file()
    if path is not None and adapter is None and not is_adapter:
        yield path
        return
    if merged is None:
        with tempfile.TemporaryDirectory(prefix="aspd-vllm-") as folder:
            _write_merged(section, Path(folder))
            yield folder
        return
    target = Path(merged)
    if not (target / SETTINGS).is_file():
        if target.exists() and any(target.iterdir()):
            raise UsageError(f"vllm.merged={merged} holds something else: choose a new directory")
        part = target.with_name(f"{target.name}.part")
        _write_merged(section, part)
        part.replace(target)
    yield merged


def _write_merged(section: ModelSection, folder: Path) -> None:
    dtype = choose_dtype(section.dtype, torch.device("cpu"))
    model, tokenizer, settings = assemble(
        section.path, section.adapter, dtype, trust_remote_code=section.trust_remote_code
    )
    settings["format"] = FORMAT if settings.pop("forms", True) else 1
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_text(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot write the merged model: {reason(error)}") from error


def _generation_config(path: str, only_files: bool) -> Any:
    """What the model itself names, its ends among it; empty where it names nothing."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(path, local_files_only=only_files)
    except OSError:  # there is none
        return GenerationConfig()
