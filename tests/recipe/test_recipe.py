"""Recipes: precedence, problems all at once with place and advice, no field without a reader."""

import ast
import json
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from transformers import TrainingArguments

import aspd_cli
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import RecipeError
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.recipe.advice import _ELSEWHERE
from aspd_cli.recipe.sections import GenerationSection
from aspd_cli.recipe.training import LoraSection

PACKAGE = Path(aspd_cli.__file__).parent
SECTIONS = {
    name: type(getattr(Recipe(lora=LoraSection()), name)).model_fields
    for name in Recipe.model_fields
}


def problems(path: Path | None, *overrides: str, **flags: object) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides, {k.replace("__", "."): v for k, v in flags.items()})
    head, *rest = str(caught.value).split("\n  ")
    return rest or [head]


def test_command_line_over_recipe_over_default(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("training: {max_steps: 5, seed: 1, save_steps: 7}\nlora:\n")
    recipe = load_recipe(
        path, ["training.seed=2", "training.max_steps=6"], {"training.max_steps": 8}
    )
    assert (recipe.training.max_steps, recipe.training.seed) == (8, 2)
    assert (recipe.training.save_steps, recipe.training.logging_steps) == (7, 10)
    assert recipe.lora is None
    assert load_recipe(path, ["lora.r=8"]).lora == LoraSection(r=8)


def test_all_problems_come_at_once_with_place_and_advice(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "model:\n  positons: same-seq\n  dtype: fp16\n"
        "training:\n  max_steps: '10'\n  max_steps: 11.5\n  top_k: 4\n"
        "lora:\n  r: 0\n"
        "generatoin: {}\n"
    )
    assert problems(path, "lora.alpha=x", "seed", "a.b=1", generation__top_p=2.0) == [
        f"{path}:6: training.max_steps: given twice, first on line 5; keep one",
        "--set seed: write it as section.field=value",
        f"{path}:3: model.dtype: must be 'auto', 'float32', 'bfloat16' or 'float16', not 'fp16'",
        f"{path}:2: model.positons: no such field; did you mean positions?",
        f"{path}:6: training.max_steps: must be a valid integer, not 11.5",
        f"{path}:7: training.top_k: no such field here; did you mean generation.top_k?",
        f"{path}:9: lora.r: must be greater than or equal to 1, not 0",
        "--set lora.alpha=x: lora.alpha: must be a valid integer, not 'x'",
        "command line: generation.top_p: must be less than or equal to 1, not 2.0",
        f"{path}:10: generatoin: no such section; did you mean generation?",
        "--set a.b=1: a: no such section; "
        "choose from model, data, transform, training, lora, generation, evaluation, serve, "
        "vllm",
    ]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("temperature=1", "temperature: no such section; did you mean generation.temperature?"),
        ("decode.tempratur=1", "decode: no such section; did you mean generation.temperature?"),
        ("train=x", "train: no such section; did you mean data.train?"),
        (
            "transform.endpoint={model: x, price_in: 2}",
            "transform.endpoint.price_in: no such field; did you mean price_input?",
        ),
        (
            "model.lora.r=2",
            "model.lora: no such field here; lora is a section of its own, without indentation",
        ),
        (
            "transform.base_url=x",
            "transform.base_url: no such field here; did you mean transform.endpoint.base_url?",
        ),
        ("lora={r: 0}", "lora.r: must be greater than or equal to 1, not 0"),
    ],
)
def test_the_wrong_key_is_named_with_the_nearest_field(override: str, told: str) -> None:
    assert problems(None, override) == [f"--set {override}: {told}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lora: {rank: 8}\n", "lora.rank: no such field; use lora.r"),
        ("training:\n  micro_batch_size: 2\n", "; use training.per_device_train_batch_size"),
        ("model_name_or_path: x\n", "no such section; use model.path"),
    ],
)
def test_names_of_other_trainers_are_understood(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    [problem] = problems(path)
    assert problem.endswith(words)


def test_names_of_other_trainers_lead_to_fields_that_exist() -> None:
    recipe = Recipe(lora=LoraSection())
    for name in set(_ELSEWHERE.values()):
        section, field = name.split(".")
        assert hasattr(getattr(recipe, section), field)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "a recipe is a mapping of sections"),
        ("model: 3\n", ":1: model: must be a mapping of fields"),
        ("model: {path: [1\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("model: \x01\n", "not YAML"),
        ("data: {seed: 2024-99-99}\n", "would become a date"),
        ("training: {bf16: 1}\n", "bf16: must be a valid boolean"),
        ("lora: {target_modules: 5}\n", "target_modules: must be a valid string"),
        ("1: 2\n", "1: "),
    ],
)
def test_what_is_no_recipe_says_why(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    assert words in "\n".join(problems(path))


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("training: {learning_rate: 1e-5}\n")
    assert load_recipe(path).training.learning_rate == 1e-5
    assert load_recipe(path, ["training.learning_rate=2E-3"]).training.learning_rate == 2e-3


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("# nothing\n\ntraining:\n  # learning_rate: 1\n")
    assert load_recipe(path) == load_recipe() == Recipe()


def test_a_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    recipe = load_recipe(None, ["lora.r=4", "model.config.model_type=qwen2", "generation.stop=[é]"])
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe


def test_the_shipped_schema_is_current() -> None:
    """After a change: python -m aspd_cli.recipe > aspd_cli/assets/recipe.schema.json"""
    shipped = json.loads((PACKAGE / "assets" / "recipe.schema.json").read_text())
    assert shipped == Recipe.model_json_schema()


def test_every_field_has_a_line_that_says_what_it_is() -> None:
    for section, names in SECTIONS.items():
        for name, field in names.items():
            assert field.description, f"{section}.{name}"


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "recipes").glob("*.yaml")), ids=str)
def test_every_recipe_of_the_repository_is_valid(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.training.output_dir != Recipe().training.output_dir, "a run of its own"


def test_the_generation_section_is_what_the_engine_takes() -> None:
    defaults = {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields(GenerationOptions)
        if field.default is not MISSING
    }
    assert GenerationSection().model_dump(exclude={"batch_size"}) == defaults


def _told(section: ast.ClassDef) -> set[tuple[str, str]]:
    """(section, field) that the properties and methods of a section read, validators apart."""
    return {
        (section.name.removesuffix("Section").lower(), node.attr)
        for function in section.body
        if isinstance(function, ast.FunctionDef) and "validator" not in ast.dump(function)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "self"
    }


def test_no_field_is_read_nowhere() -> None:
    """A field counts as read where `section.field` stands in the package, or `self.field` in what
    the section itself tells of its fields, checks apart.

    Two sections are handed on as a whole, and what takes them refuses names that it does not know.
    """
    taken = {
        "generation": {field.name for field in fields(GenerationOptions)},
        "training": {field.name for field in fields(TrainingArguments)},
    }
    read = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                owner = getattr(node.value, "attr", None) or getattr(node.value, "id", None)
                read.add((owner, node.attr))
            if isinstance(node, ast.ClassDef) and node.name.endswith("Section"):
                read |= _told(node)
    assert {(section, "model_dump") for section in taken} <= read
    fields_of = {(section, name) for section, names in SECTIONS.items() for name in names}
    handed_on = {(section, name) for section, names in taken.items() for name in names}
    assert fields_of - read - handed_on == set()
