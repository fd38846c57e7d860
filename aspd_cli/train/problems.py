"""What is wrong with a recipe that no field shows by itself, all at once."""

from importlib.util import find_spec

from aspd_cli.errors import RecipeError
from aspd_cli.recipe import Recipe
from aspd_cli.train.start import device_of


def check_recipe(recipe: Recipe) -> None:
    """What fields of a recipe mean together, or need of the machine.

    Raises:
        RecipeError: all problems, a line each.
    """
    lora, training, data = recipe.lora, recipe.training, recipe.data
    targets = [] if lora is None else lora.target_modules
    problems = {
        "data.eval and data.eval_share exclude each other; leave one out": data.eval is not None
        and data.eval_share > 0,
        "model.adapter is for decoding: train on a model that `aspd train --merge` has written": (
            recipe.model.adapter is not None
        ),
        "model.config makes a new model and model.path names one: leave one out": (
            recipe.model.config is not None and recipe.model.path is not None
        ),
        "model.config makes a new model, and lora trains only a little of one: leave one out": (
            recipe.model.config is not None and lora is not None
        ),
        "training.max_steps: 0 steps train nothing": training.max_steps == 0,
        f"training.report_to: {training.report_to} is not installed: pip install "
        f"{training.report_to}": (
            training.report_to != "none" and find_spec(training.report_to) is None
        ),
        "training.save_dtype is for whole models; an adapter is small: leave it out": (
            lora is not None and training.save_dtype is not None
        ),
        "training.optim: muon trains whole matrices, not the small factors of lora": (
            lora is not None and training.optim == "muon"
        ),
        "lora.target_modules: the head is trained at the six control tokens only; leave out "
        "lm_head": "lm_head" in targets and not isinstance(targets, str),
        **_quantization_problems(recipe),
    }
    if found := [text for text, is_wrong in problems.items() if is_wrong]:
        head = f"{len(found)} problems in the recipe:\n  " if len(found) > 1 else ""
        raise RecipeError(head + "\n  ".join(found))


def _quantization_problems(recipe: Recipe) -> dict[str, bool]:
    wanted = recipe.lora is not None and recipe.lora.quantization is not None
    cuda = device_of(recipe) == "cuda"
    return {
        "lora.quantization: 4bit needs a CUDA device, and there is none: leave it out": wanted
        and not cuda,
        "lora.quantization: 4bit needs bitsandbytes: pip install bitsandbytes": wanted
        and cuda
        and find_spec("bitsandbytes") is None,
    }
