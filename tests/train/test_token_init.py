"""New control tokens: the vocabulary never shrinks, and what the model says stays what it was."""

from typing import Any

import pytest
import torch

from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.train.model import Vocabulary, load_config, load_model, load_vocabulary
from tests import make
from tests.engine.families import tiny_model


def started(tmp_path: Any, spare: int, tied: bool) -> tuple[Any, Any, Vocabulary]:
    """The stock model, and model and vocabulary as a run starts from them."""
    tokenizer = make.tokenizer("llama3", "llama3", control=False)
    stock = tiny_model("llama", len(tokenizer) + spare, tie_word_embeddings=tied)
    stock.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    recipe: Recipe = load_recipe(None, (), {"model.path": str(tmp_path), "lora.r": 2})
    config = load_config(recipe)
    vocabulary = load_vocabulary(recipe, config, None, None)  # type: ignore[arg-type]
    return stock, load_model(recipe, config, vocabulary), vocabulary


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("spare", "grown"), [(0, 6), (4, 2), (6, 0), (100, 0)])
def test_rows_are_added_only_where_they_lack(
    tmp_path: Any, spare: int, grown: int, tied: bool
) -> None:
    stock, model, vocabulary = started(tmp_path, spare, tied)
    before = stock.get_input_embeddings().weight
    after = model.get_input_embeddings().weight
    assert vocabulary.added == CONTROL_TOKENS
    assert len(after) == len(before) + grown
    assert model.config.vocab_size == len(after)
    known = vocabulary.known
    assert torch.equal(after[:known], before[:known])
    assert torch.equal(after[known + 6 :], before[known + 6 :])
    tables_are_one = model.get_output_embeddings().weight is after
    assert tables_are_one == tied


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_says_what_it_said_before(tmp_path: Any, tied: bool) -> None:
    stock, model, vocabulary = started(tmp_path, 0, tied)
    ids = torch.arange(5, 105).view(4, 25)
    with torch.no_grad():
        before, after = stock(ids).logits, model(ids).logits
    known = vocabulary.known
    torch.testing.assert_close(after[..., :known], before)
    taken = after.softmax(-1)[..., known:].sum(-1)
    assert taken.mean() < 0.02, "six of several hundred tokens, none of them wanted"


def test_the_six_rows_differ_as_inputs(tmp_path: Any) -> None:
    _, model, vocabulary = started(tmp_path, 0, False)
    rows = model.get_input_embeddings().weight[list(vocabulary.codec.control)]
    assert len(torch.unique(rows, dim=0)) == 6
    assert rows.norm(dim=1).max() < 2 * model.get_input_embeddings().weight.norm(dim=1).mean()
    heads = model.get_output_embeddings().weight[list(vocabulary.codec.control)]
    assert len(torch.unique(heads, dim=0)) == 1


def test_tokens_that_the_model_knows_already_keep_their_rows(tmp_path: Any) -> None:
    tokenizer = make.tokenizer("llama3", "llama3")
    stock = tiny_model("llama", len(tokenizer))
    stock.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    recipe = load_recipe(None, (), {"model.path": str(tmp_path), "lora.r": 2})
    config = load_config(recipe)
    vocabulary = load_vocabulary(recipe, config, None, None)  # type: ignore[arg-type]
    assert vocabulary.added == ()
    weights = load_model(recipe, config, vocabulary).state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in stock.state_dict().items())
