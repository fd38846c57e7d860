"""The mask in a stock model: for every family, a branch is what it is alone, and nothing wider."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask
from torch.nn.functional import cross_entropy

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import TokenBlock, TokenBranch, lay_out
from aspd_cli.core.visibility import batch_mask
from aspd_cli.engine.decoder import Decoder
from aspd_cli.errors import ModelError, TrainingError
from aspd_cli.train import branch_mask
from aspd_cli.train.batching import BranchCollator
from aspd_cli.train.trainer import BranchTrainer
from tests import make
from tests.engine.families import EAGER_ONLY, FAMILIES, lane_paths, make_models_fork, tiny_model

NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 700}
PROMPTS = ["Compare the two fruits.", "Who was Ada?"]


@pytest.fixture(scope="module")
def words() -> Any:
    return make.tokenizer("qwen", "chatml")


def row(layout: Any) -> dict[str, Any]:
    return {
        "input_ids": layout.input_ids,
        "position_ids": layout.position_ids,
        "labels": layout.labels(),
        "lanes": layout.lanes,
        "sees": layout.sees,
    }


def logits(model: Any, rows: list[dict[str, Any]], *, packing: bool = False) -> Tensor:
    """(B, T, V) of a batch as the trainer hands it to the model."""
    batch = BranchCollator(0, packing)(rows)
    del batch["labels"]
    with torch.no_grad():
        return model(**batch, use_cache=False).logits


def with_hook(model: Any, family: str) -> Any:
    model.set_attn_implementation(branch_mask.implementation(model.config))
    assert model.config._attn_implementation == ("eager" if family in EAGER_ONLY else "sdpa")
    branch_mask.install(model)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_gives_the_logits_that_the_engine_samples_from(
    family: str, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(family, len(words))
    stock = with_hook(copy.deepcopy(model), family)
    decoder = Decoder(model, words)
    recorder = make_models_fork(monkeypatch)
    decoder.generate(PROMPTS, temperature=1.0, seed=5, **NESTED)
    layouts, trees = [], []
    for index, prompt in enumerate(PROMPTS):
        answer = recorder.answers[index]
        trees.append(answer.main.tree())
        prompt_ids = decoder.encode(prompt, answer.options)
        layouts.append(
            lay_out(trees[-1], decoder.codec, prompt_ids=prompt_ids, end_ids=answer.end_ids)
        )
    assert len({len(layout) for layout in layouts}) > 1, "padding must be among what is tested"
    made = logits(stock, [row(layout) for layout in layouts])
    compared = 0
    for index, (layout, tree) in enumerate(zip(layouts, trees, strict=True)):
        for lane, path in enumerate(lane_paths(tree)):
            sampled = ((layout.lanes == lane) & layout.sampled).nonzero()[0]
            for at, found in zip(sampled, recorder.logits[index, path], strict=True):
                torch.testing.assert_close(made[index, at - 1], found, atol=1e-4, rtol=1e-4)
                compared += lane > 0
    assert compared > 20


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text", "mistral-window"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_branch_is_what_it_is_alone_beyond_the_window_too(
    family: str, attention: str, words: Any
) -> None:
    """Windows of nine, branches of twenty: cut by index, the second would not see the prompt."""
    if (family, attention) == ("gemma2", "sdpa"):
        pytest.skip("refused, see below")
    codec = Codec(words)
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(20, 400, (3, 20), generator=draw).tolist()
    titles = ((21, 22), (23,))
    branches = tuple(TokenBranch(t, (*t, 24), (tuple(ids[i]),)) for i, t in enumerate(titles))
    whole = lay_out((TokenBlock(titles, branches),), codec, prompt_ids=ids[2])
    model = tiny_model(family, len(words))
    model.set_attn_implementation(attention)
    branch_mask.install(model)
    made = logits(model, [row(whole)])[0]
    second = whole.lanes == 2
    before = (whole.lanes == 0) & (torch.arange(len(whole)).numpy() < second.argmax())
    alone = torch.from_numpy(whole.input_ids[before | second])[None]
    with torch.no_grad():
        expected = model(alone).logits[0]  # an ordinary sequence, by transformers' own mask
    torch.testing.assert_close(
        made[torch.from_numpy(second)], expected[-int(second.sum()) :], atol=1e-4, rtol=1e-4
    )


def records(codec: Codec) -> list[dict[str, Any]]:
    """Three records of unlike lengths: nested blocks, a block, and none."""
    draw = torch.Generator().manual_seed(1)

    def ids(number: int) -> tuple[int, ...]:
        return tuple(torch.randint(20, 400, (number,), generator=draw).tolist())

    def block(*contents: Any) -> TokenBlock:
        titles = tuple((21 + at,) for at in range(len(contents)))
        pairs = zip(titles, contents, strict=True)
        return TokenBlock(titles, tuple(TokenBranch(t, (*t, 24), c) for t, c in pairs))

    trees = [
        (ids(5), block((ids(9), block((ids(4),), (ids(3),))), (ids(6),)), ids(7)),
        (block((ids(12),), (ids(8),), (ids(5),)), ids(2)),
        (ids(23),),
    ]
    return [
        row(lay_out(tree, codec, prompt_ids=ids(4 + at), end_ids=[30]))
        for at, tree in enumerate(trees)
    ]


def loss_and_gradients(model: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """The summed loss of a batch, and what it comes to at each weight."""
    labels = batch.pop("labels")[:, 1:]
    model.zero_grad()
    found = model(**batch, use_cache=False).logits[:, :-1]
    loss = cross_entropy(found.flatten(0, 1), labels.flatten(), reduction="sum")
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in EAGER_ONLY])
def test_a_row_of_records_has_the_loss_and_the_gradients_of_the_records_alone(
    family: str, checkpointing: bool, words: Any
) -> None:
    if checkpointing and family != "gemma3_text":
        pytest.skip("one family shows that the mask survives: it has two")
    model = with_hook(tiny_model(family, len(words)), family).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    rows = records(Codec(words))
    packed = BranchCollator(0, packing=True)(rows)
    assert packed["input_ids"].shape == (1, sum(len(row["lanes"]) for row in rows))
    loss, gradients = loss_and_gradients(model, packed)
    alone = [loss_and_gradients(model, BranchCollator(0)([row])) for row in rows]
    torch.testing.assert_close(loss, sum(each for each, _ in alone), atol=1e-4, rtol=1e-6)
    for name, found in gradients.items():
        expected = torch.stack([each[name] for _, each in alone]).sum(0)
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1e-3), name


def test_attention_that_would_pay_for_the_square_of_a_row_is_given_none(words: Any) -> None:
    model = with_hook(tiny_model("gemma2", len(words)), "gemma2")
    assert not branch_mask.takes_rows_of_records(model.config)
    with pytest.raises(ModelError, match="'eager' cannot take a row of several records"):
        logits(model, records(Codec(words)), packing=True)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("window", [None, 4])
def test_the_rule_for_flex_attention_is_the_dense_mask(
    window: int | None, packing: bool, words: Any
) -> None:
    codec = Codec(words)
    trees = [
        (
            TokenBlock(
                ((9,), (8,)),
                (TokenBranch((9,), (9, 4), ((5, 6),)), TokenBranch((8,), (8, 4), ((7,),))),
            ),
            (3,),
        ),
        ((4, 5, 6),),
    ]
    rows = [row(lay_out(tree, codec, prompt_ids=[1, 2])) for tree in trees]
    padded = BranchCollator(0)(rows)
    assert (padded["lanes"] < 0).any(), "padding must be among what is tested"
    dense = batch_mask(padded["lanes"], padded["sees"], padded["position_ids"], window)
    if packing:
        sizes = (padded["lanes"] >= 0).sum(1).tolist()
        parts = zip(dense[:, 0], sizes, strict=True)
        dense = torch.block_diag(*(mask[:size, :size] for mask, size in parts))[None, None].bool()
    batch = BranchCollator(0, packing)(rows)
    known = (batch["lanes"], batch["sees"], batch["position_ids"], window, batch["records"])
    rows_, size = batch["lanes"].shape
    found = create_mask(branch_mask.flex_rule(*known), rows_, 1, size, size, device="cpu")
    assert torch.equal(found, dense)


@pytest.mark.parametrize(
    ("family", "wanted", "words_"),
    [
        ("gemma2", "sdpa", "silently ignores"),
        ("qwen2", "flex_attention", "no backward pass on cpu"),
    ],
)
def test_attention_that_would_train_something_else_is_refused(
    family: str, wanted: str, words_: str
) -> None:
    model = tiny_model(family, 50)
    with pytest.raises(ModelError, match=words_):
        branch_mask.implementation(model.config, wanted, "cpu")
    model.config._attn_implementation = wanted
    with pytest.raises(ModelError, match=words_):
        branch_mask.install(model)


@pytest.mark.parametrize("name", ["packing", "padding_free", "max_length"])
def test_arguments_that_would_mix_or_cut_records_are_refused(name: str, tmp_path: Any) -> None:
    from trl import SFTConfig

    ours = {"remove_unused_columns": False, "max_length": None, name: 1024}
    with pytest.raises(TrainingError, match=name):
        BranchTrainer(args=SFTConfig(output_dir=str(tmp_path), bf16=False, **ours))
