"""The LoRA adapter of a run as PEFT takes it: its configuration, and what of a model it trains."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from aspd_cli.core.codec import Codec
from aspd_cli.errors import RecipeError
from aspd_cli.pretrained import is_local
from aspd_cli.recipe.training import LoraSection

UNSHARDED = (
    "{} cannot shard a model whose adapter trains rows of its vocabulary: start it with torchrun, "
    "which holds the whole model on every GPU, or train all weights (lora: null)"
)
"""PEFT computes these rows from the whole table, outside of the modules that would gather it."""

_EVERY_LINEAR = "all-linear"
"""PEFT's word, in any case, for every linear layer but the head."""


def lora_config(lora: LoraSection, model: Any, codec: Codec) -> Any:
    """LoRA, and full training of the six control tokens' rows: of the head too when it has its own.

    Rows of the embedding alone would never teach an untied head to emit them.
    """
    from peft import LoraConfig

    tables = [model.get_input_embeddings()]
    if model.get_output_embeddings().weight is not tables[0].weight:
        tables.append(model.get_output_embeddings())
    names = [name.rpartition(".")[2] for name in _names(model, tables)]
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        trainable_token_indices={name: list(codec.control) for name in names},
        task_type="CAUSAL_LM",
        revision=_revision(model.name_or_path),
    )


def _revision(base: str) -> str | None:
    """The commit of a base from the Hub, as the cache files it; None of one on the disk."""
    from huggingface_hub import try_to_load_from_cache

    if not base or is_local(base):
        return None
    found = try_to_load_from_cache(base, "config.json")
    return Path(found).parent.name if isinstance(found, str) else None


def trained_parameters(lora: LoraSection, model: Any, codec: Codec) -> int:
    """How many parameters PEFT trains in `model`, which has the adapter in it afterwards.

    Args:
        model: on the meta device; its weights are not looked at.

    Raises:
        RecipeError: `lora.target_modules` is nothing that PEFT can adapt in this model.
    """
    from peft import inject_adapter_in_model

    _check_targets(lora.target_modules, model)
    try:
        inject_adapter_in_model(lora_config(lora, model, codec), model, low_cpu_mem_usage=True)
    except (ValueError, TypeError) as error:  # a layer of a kind that PEFT does not know
        said = " ".join(str(error).split()).partition(". ")[0]
        raise RecipeError(f"lora: PEFT cannot adapt this model: {said}") from error
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _check_targets(targets: str | list[str], model: Any) -> None:
    """Refuses names that PEFT would find nowhere, skip in silence, or be unable to adapt."""
    modules = {name: module for name, module in model.named_modules() if name}
    if isinstance(targets, str):
        if targets.lower() == _EVERY_LINEAR:
            return
        matched = _taken(targets, modules) if targets else []
    else:
        found = {target: _taken([target], modules) for target in targets if target}
        if missing := [target for target in targets if not found.get(target)]:
            raise _wrong(_no_such(missing, modules))
        matched = [name for names in found.values() for name in names]
    if not matched:
        raise _wrong(_no_match(targets, modules))
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    if both := set(matched) & set(_names(model, tables)):
        raise _wrong(
            f"{' and '.join(sorted(both))} would be adapted, but embedding and head are trained at "
            "the six control tokens only; name other modules"
        )
    if groups := [name for name in matched if any(True for _ in modules[name].children())]:
        inside = [name for name, _ in modules[groups[0]].named_children()]
        raise _wrong(f"{groups[0]} is no layer but holds {', '.join(inside)}; name layers")


def _taken(targets: str | list[str], modules: dict[str, Any]) -> list[str]:
    """The modules that PEFT would adapt."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    config = LoraConfig(target_modules=targets)
    try:
        return [name for name in modules if check_target_module_exists(config, name)]
    except re.error as error:
        raise _wrong(f"{targets!r} is not a regular expression: {error}") from error


def _no_such(missing: list[str], modules: dict[str, Any]) -> str:
    if any(name.lower() == _EVERY_LINEAR for name in missing):
        return f"for every linear layer write {_EVERY_LINEAR} without a list"
    named = " and no module ".join(name or "''" for name in missing)
    close = dict.fromkeys(name for each in missing for name in _nearest(each, modules))
    meant = f" (did you mean {' or '.join(close)}?)" if close else ""
    return f"the model has no module {named}{meant}; it has {', '.join(_layers(modules))}"


def _no_match(targets: str | list[str], modules: dict[str, Any]) -> str:
    if not targets:
        return f"it is empty; name modules, or write {_EVERY_LINEAR}"
    assert isinstance(targets, str)
    if meant := _taken([targets], modules):
        return (
            f"a text is a regular expression for whole names like {meant[0]}, and {targets} "
            f"matches none; to name modules by their ends write a list: [{targets}]"
        )
    close = _nearest(targets, modules)
    meant_by = f" (did you mean [{close[0]}]?)" if close else ""
    return (
        f"no module's whole name matches the regular expression {targets}{meant_by}; the model "
        f"has {', '.join(_layers(modules))}"
    )


def _nearest(target: str, modules: dict[str, Any]) -> list[str]:
    """The ends of names, or whole names, that are most like `target`; at most one."""
    known = [*_layers(modules), *modules] if "." in target else _layers(modules)
    return get_close_matches(target, known, 1)


def _layers(modules: dict[str, Any]) -> list[str]:
    """The ends of the names of all linear layers inside of the model: not of the head."""
    from torch.nn import Linear

    linear = (
        name for name, module in modules.items() if isinstance(module, Linear) and "." in name
    )
    return sorted({name.rpartition(".")[2] for name in linear})


def _names(model: Any, wanted: list[Any]) -> list[str]:
    """The names of these modules."""
    return [
        name for name, module in model.named_modules() if any(module is each for each in wanted)
    ]


def _wrong(reason: str) -> RecipeError:
    return RecipeError(f"lora.target_modules: {reason}")
