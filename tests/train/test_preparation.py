"""What is said before a run: thoughts that the template opens, arguments that it does not read."""

import json
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.errors import ModelError, RecipeError
from aspd_cli.train.preflight import Preflight
from aspd_cli.train.run import dry_run
from tests.train.conftest import recipe, write

THINK = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>"
    "{% if enable_thinking is defined and not enable_thinking %}</think>{% endif %}{% endif %}"
)


@pytest.fixture
def thinking(base: Path, tokenizer: Any, tmp_path: Path) -> Path:
    """The random model with a template that opens a thought."""
    folder = tmp_path / "thinking"
    folder.mkdir()
    for file in base.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(THINK)
    return folder


def checked(model: Path, completion: str, **fields: Any) -> Preflight:
    path = write(model.parent / "d.jsonl", completion)
    made = recipe(
        model, model.parent / "run", data__train=str(path), data__style="serial", **fields
    )
    return dry_run(made)[0]


def test_a_thought_that_the_template_opens_is_told(thinking: Path) -> None:
    [warning] = checked(thinking, "An answer.").warnings
    assert "opens a thought (<think>)" in warning
    assert "enable_thinking: false" in warning
    assert not checked(thinking, "Well.</think>An answer.").warnings


def test_an_argument_of_the_template_turns_it_off(thinking: Path) -> None:
    off = {"data__chat_template_kwargs": {"enable_thinking": False}}
    found = checked(thinking, "An answer.", **off)
    assert not found.warnings
    assert found.sample.ids != checked(thinking, "An answer.").sample.ids


def test_an_argument_that_the_template_does_not_read_is_refused(thinking: Path) -> None:
    with pytest.raises(ModelError, match="does not read enable_thinkng"):
        checked(thinking, "x", data__chat_template_kwargs={"enable_thinkng": False})
    with pytest.raises(RecipeError, match="chat_template_kwargs cannot set tokenize"):
        checked(thinking, "x", data__chat_template_kwargs={"tokenize": True})


def test_arguments_are_kept_with_the_model(thinking: Path) -> None:
    from aspd_cli.train.run_dir import settings

    arguments = {"enable_thinking": False}
    made = recipe(thinking, thinking.parent / "run", data__chat_template_kwargs=arguments)
    assert json.loads(json.dumps(settings(made, 1)))["chat_template_kwargs"] == arguments
    assert "chat_template_kwargs" not in settings(recipe(thinking, thinking.parent / "run"), 1)
