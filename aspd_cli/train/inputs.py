"""What a run needs from outside of its recipe: files, models, and a place on the Hub.

`missing_data`, `missing_models` and `cannot_push` look at this machine only, so that all of it can
be told at once; `ask_hub` asks the Hub, once for each name, before anything is read from there.
"""

import os
from pathlib import Path

from aspd_cli.errors import DataError, ModelError, TrainingError, reason
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.pretrained import gguf_file, is_local, not_a_model
from aspd_cli.recipe import Recipe
from aspd_cli.sources import DatasetName, dataset_name, hub_answers
from aspd_cli.train.data import SYNTH, no_file

_NO_HUB = (
    "it is not in the cache, and the Hub does not answer (is there a network?): download it "
    "elsewhere and give its directory"
)
_OFFLINE = "it is not in the cache, and HF_HUB_OFFLINE is set: unset it, or give a directory"


def missing_data(recipe: Recipe) -> list[str]:
    """A sentence for each source of records that this machine cannot have."""
    return [told for source in _sources(recipe) if (told := _missing_source(source))]


def missing_models(recipe: Recipe) -> list[str]:
    """A sentence for model and tokenizer each that this machine cannot have."""
    found = []
    for what, name in _models(recipe).items():
        if why := _missing_model(what, name):
            found.append(f"cannot load {what} {name} to train it: {why}")
    return found


def cannot_push(repository: str | None) -> list[str]:
    """Why this machine could not upload to `repository`: its name, or no token."""
    from huggingface_hub import get_token, is_offline_mode
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if repository is None:
        return []
    try:
        validate_repo_id(repository)
    except HFValidationError:
        return [f"--push: {repository} is not a repository name; write NAME or OWNER/NAME"]
    if is_offline_mode():
        return ["--push needs the Hub, but HF_HUB_OFFLINE is set: unset it, or leave out --push"]
    if get_token() is None:
        return ["--push needs a token of the Hub: run `hf auth login`, or set HF_TOKEN"]
    return []


def ask_hub(recipe: Recipe, push: str | None) -> None:
    """Asks for what is on the Hub; without an answer only what is in the cache will do.

    Where it does not answer the libraries are told to stay offline: each of them would try each
    file for half a minute.

    Raises:
        DataError, ModelError: something is neither here nor to be had.
        TrainingError: the token may not write to `push`.
    """
    from huggingface_hub import is_offline_mode

    if push is not None:
        _check_write(push)
    if is_offline_mode():
        return
    silent = False
    for source in _sources(recipe):
        dataset = _on_hub(source)
        if dataset and not hub_answers(dataset.path, "dataset"):
            silent = True
            if not _cached_dataset(dataset):
                raise DataError(f"cannot read the training data {source}: {_NO_HUB}")
    for what, name in _models(recipe).items():
        if not is_local(name) and not hub_answers(name):
            silent = True
            if not _cached_model(name):
                raise ModelError(f"cannot load {what} {name} to train it: {_NO_HUB}")
    if silent:
        _stay_offline()


def _stay_offline() -> None:
    import datasets
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True


def _check_write(repository: str) -> None:
    """Asks the Hub who the token is of, and whether it may write there."""
    from huggingface_hub import HfApi

    try:
        who = HfApi().whoami()
    except Exception as error:  # no network, no such token: a class for each
        raise TrainingError(
            f"--push {repository}: the Hub does not take the token: {reason(error)}; check the "
            "network and the token, or leave out --push and upload later with `hf upload`"
        ) from error
    token = who.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise TrainingError(
            f"--push {repository}: the token may only read: create one that may write, at "
            "https://huggingface.co/settings/tokens"
        )
    owner, slash, _ = repository.partition("/")
    own = [who.get("name"), *(each.get("name") for each in who.get("orgs", []))]
    if slash and owner not in own:
        raise TrainingError(
            f"--push {repository}: the token's user {own[0]} is not a member of {owner}; push to "
            f"{own[0]}/..., or use another token"
        )


def _sources(recipe: Recipe) -> list[str]:
    both = (recipe.data.train, recipe.data.eval)
    return [source for source in both if source is not None and source != SYNTH]


def _models(recipe: Recipe) -> dict[str, str]:
    """What is called how, without the embedded model, which is always there."""
    model = recipe.model
    found = {"the model": model.path, "the tokenizer": model.tokenizer}
    return {
        what: name
        for what, name in found.items()
        if name is not None and not Path(name).is_relative_to(EMBEDDED_MODEL)
    }


def _missing_source(source: str) -> str | None:
    path = Path(source)
    if path.is_file():
        return None if os.access(path, os.R_OK) else f"{source} cannot be read: Permission denied"
    name = dataset_name(path)
    if name is None:
        return no_file(source)
    if _is_offline() and not name.is_local and not _cached_dataset(name):
        return f"cannot read the training data {source}: {_OFFLINE}"
    return None


def _missing_model(what: str, name: str) -> str | None:
    path = Path(name)
    if path.is_dir():
        named = (path / "config.json").is_file() or gguf_file(path)
        if what == "the model" and not named:
            if (path / "adapter_config.json").is_file():
                return "it is an adapter; merge it with `aspd train --merge`, or give its base"
            return f"the directory {not_a_model(path)}"
        return None
    if gguf_file(path):
        return None if path.is_file() else "there is no such file"
    if path.exists():
        return "it is a file; give the directory that contains it"
    if not _may_be_repository(name):
        return "there is no such directory"
    if _is_offline() and not _cached_model(name):
        return f"there is no such directory; if it is a model of the Hub, {_OFFLINE}"
    return None


def _may_be_repository(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not (Path(name).parent.is_dir() and "/" in name)


def _is_offline() -> bool:
    from huggingface_hub import is_offline_mode

    return bool(is_offline_mode())


def _on_hub(source: str) -> DatasetName | None:
    name = None if Path(source).is_file() else dataset_name(Path(source))
    return None if name is None or name.is_local else name


def _cached_model(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    files = ("config.json", "tokenizer_config.json")
    return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)


def _cached_dataset(name: DatasetName) -> bool:
    from datasets.load import CachedDatasetModuleFactory

    try:
        CachedDatasetModuleFactory(name.path).get_module()
    except FileNotFoundError:
        return False
    return True
