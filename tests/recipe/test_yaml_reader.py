"""YAML as recipes have it: nothing becomes what nobody wrote, and no text costs time or memory."""

import time
from pathlib import Path

import pytest

from aspd_cli.errors import RecipeError
from aspd_cli.recipe import load_recipe
from aspd_cli.recipe.yaml_reader import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n"
    for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)


def refusal(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "written", "told"),
    [
        ("data.seed", "010", "010 would become 8; write 10 or 8"),
        ("data.seed", "-010", "-010 would become -8; write -10 or -8"),
        ("data.seed", "1:30", "1:30 would become 90; write 90"),
        ("data.seed", "0o10", "0o10 would become a text; write 8"),
        ("data.seed", "08", "08 would become a text; write 8"),
        ("data.seed", "0b11", "0b11 would become 3; write 3"),
        ("data.seed", "1_000", "1_000 would become 1000; write 1000"),
        ("data.seed", "0x_", "0x_ is no number that can be read; write a number"),
        ("data.seed", "9" * 5000, "is no number that can be read; write a number"),
        ("data.seed", "yes", "yes would become true; write a number"),
        ("data.eval_share", "1_0.5", "1_0.5 would become 10.5; write 10.5"),
        ("data.eval_share", ".inf", ".inf is no finite number; write a number"),
        ("training.learning_rate", "1e999", "1e999 is no finite number; write a number"),
        ("model.path", "010", "010 would become 8; write '010' for the text"),
        ("model.path", "no", "no would become false; write 'no' for the text"),
        ("model.path", ".nan", ".nan is no finite number; write '.nan' for the text"),
        ("model.path", "2024-01-31", "would become a date; write '2024-01-31' for the text"),
        ("model.path", "=", "= has a meaning of its own in YAML; write '=' for the text"),
        ("model.dtype", "Off", "Off would become false; write 'Off' for the text"),
        ("generation.stop", "[a, on]", "on would become true; write 'on' for the text"),
        ("model.config", "{a: [no]}", "no would become false; write false or 'no' for the text"),
        ("model.config", "{a: 010}", "010 would become 8; write 10 or 8 or '010' for the text"),
        ("model.config", "{a: .inf}", ".inf is no finite number; write '.inf' for the text"),
        ("model.config", "{on: 1}", "as a name, on would become true; write 'on'"),
        ("model.path", "7", "must be a valid string, not 7; put it in quotes"),
        ("model.path", '"\\ud800"', "holds half of a character"),
    ],
)
def test_what_would_become_something_else_is_refused_with_its_place_and_the_cure(
    tmp_path: Path, field: str, written: str, told: str
) -> None:
    section, name = field.split(".")
    path = tmp_path / "r.yaml"
    message = refusal(path, f"{section}:\n  {name}: {written}\n")
    assert message.startswith(f"{path}:2: {field}")
    assert message.count("\n") == 0
    assert told in message
    with pytest.raises(RecipeError) as caught:
        load_recipe(None, [f"{field}={written}"])
    assert str(caught.value).startswith(f"--set {field}={written}: {field}")
    assert told.partition(" or '")[0].partition("; write '")[0] in str(caught.value)


def test_the_cure_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("model: {path: '010', tokenizer: \"no\"}\ntraining: {bf16: yes}\n")
    recipe = load_recipe(path, ["generation.system='off'", "data.seed=0x10", "model.adapter=08"])
    assert (recipe.model.path, recipe.model.tokenizer, recipe.model.adapter) == ("010", "no", "08")
    assert (recipe.training.bf16, recipe.generation.system, recipe.data.seed) == (True, "off", 16)


def test_a_field_that_the_command_line_sets_need_not_be_clear(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("data: {seed: 010}\n")
    assert load_recipe(path, ["data.seed=3"]).data.seed == 3
    assert load_recipe(path, (), {"data.seed": 4}).data.seed == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, ":5: more than 10,000 values"),
        (MERGES, "more than 10,000 values"),
        ("data: [" + "1," * MAX_VALUES + "]\n", ":1: more than 10,000 values"),
        ("[" * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("\n".join(" " * n + "a:" for n in range(400)), f":{MAX_DEPTH}: nested more than"),
        ("- " * 1000 + "a", "nested more than"),
        (
            "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(900)).replace("*a0", "x"),
            "nested",
        ),
        ("model: &m {config: *m}\n", ":1: the alias *m stands inside of what it names"),
        ("#" * (MAX_BYTES + 1), ":1: more than 256 KiB"),
        (b"model: {}\n\xff\n", ":2: not text in UTF-8"),
        ("model: {}\ndata: \x00\n", ":2: not YAML: the character U+0000 is not allowed"),
        ("model: {path: [1\n", "not YAML"),
        ("model:\n  path: !!set {a}\n", ":2: the YAML tag !!set has no meaning here; leave it out"),
        ("data: {seed: !!bool maybe}\n", ":1: the YAML tag !!bool has no meaning here"),
        ("model: !!python/object:os.system {}\n", "the YAML tag !!python/object:os.system has"),
    ],
)
def test_a_text_that_would_not_end_is_refused_at_once(
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    started = time.process_time()
    message = refusal(tmp_path / "r.yaml", text)
    assert time.process_time() - started < 5
    assert told in message
    assert len(message) < len(str(tmp_path)) + 200


def test_aliases_and_merges_of_ordinary_size_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "data: &d {seed: 3}\ntraining:\n  <<: *d\n  max_steps: 5\n"
        "generation: &g {seed: 4, top_k: 2}\nlora: {target_modules: &t [q, k]}\n"
        "evaluation: {compare: *t}\n"
    )
    recipe = load_recipe(path, ["generation.top_k=3"])
    assert (recipe.data.seed, recipe.training.seed, recipe.training.max_steps) == (3, 3, 5)
    assert recipe.evaluation.compare == ["q", "k"]
    assert (recipe.generation.seed, recipe.generation.top_k) == (4, 3)


def test_an_override_changes_one_of_two_places_that_share_an_alias(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("data: &d {seed: 3}\ngeneration: *d\n")
    recipe = load_recipe(path, ["generation.seed=5"])
    assert (recipe.data.seed, recipe.generation.seed) == (3, 5)


def test_lines_of_merged_fields_are_those_where_they_stand() -> None:
    source = read_yaml("a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\n")
    assert source.lines["b", "x"] == 2
    assert source.lines["b", "y"] == 5


def test_what_reaches_a_terminal_is_one_line_of_moderate_length(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    message = refusal(path, 'model:\n  "a\\e[31m\\nb\\u2028": 1\n  dtype: ' + "x" * 5000 + "\n")
    assert message.isascii()
    assert "\x1b" not in message
    assert len(message.splitlines()) == 3
    assert len(message) < 1000
