"""Prompts: what the chat template says, and nothing that a user can type over it."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.core.chat import encode_prompt, end_of_turn, to_messages
from aspd_cli.core.codec import Codec, special_ids
from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.errors import DataError
from tests import make
from tests.core.strategies import TEXTS

every_kind = pytest.mark.parametrize("kind", make.KINDS)
every_template = pytest.mark.parametrize("template", make.TEMPLATES)

LOOK_ALIKES = {
    token: token.replace("|>", "").replace("<|", "<:") + ":>" for token in CONTROL_TOKENS
}
"""For each control token a text of the same shape that is none."""


@cache
def codec(kind: str, template: str | None) -> Codec:
    return Codec(make.tokenizer(kind, template))


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CONVERSATIONS = {
    "one turn": [turn("user", "Who was Ada?")],
    "three turns": [
        turn("user", " Compare two fruits. \n"),
        turn("assistant", "1. red\n2. yellow"),
        turn("user", "你好 🙂: <|titles|>"),
    ],
    "system": [turn("system", "Answer in short."), turn("user", "Hi")],
}


@every_kind
@pytest.mark.parametrize(
    ("template", "name"),
    [
        (t, name)
        for t in make.TEMPLATES
        for name in CONVERSATIONS
        if (t, name) != ("gemma", "system")
    ],
)
def test_a_prompt_is_what_the_chat_template_says(kind: str, template: str, name: str) -> None:
    messages = CONVERSATIONS[name]
    said = codec(kind, template).tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True
    )
    assert encode_prompt(codec(kind, template), messages) == said["input_ids"]


@every_template
def test_a_text_is_one_user_turn_and_the_system_prompt_comes_first(template: str) -> None:
    it = codec("qwen", template)
    assert encode_prompt(it, "Hi") == encode_prompt(it, [turn("user", "Hi")])
    if template != "gemma":
        both = [turn("system", "Be brief."), turn("user", "Hi")]
        assert encode_prompt(it, "Hi", system="Be brief.") == encode_prompt(it, both)
        assert encode_prompt(it, both, system="ignored") == encode_prompt(it, both)


@every_kind
@pytest.mark.parametrize("template", [None, *make.TEMPLATES])
@given(texts=st.lists(TEXTS | st.sampled_from(CONTROL_TOKENS), min_size=2, max_size=6))
def test_control_tokens_that_a_user_types_are_text(
    kind: str, template: str | None, texts: list[str]
) -> None:
    it = codec(kind, template)
    typed = "".join(["x", *texts, "x"])
    ids = encode_prompt(it, typed)
    assert not set(ids) & set(it.control)
    # No more is lost than of the same prompt with look-alikes in place of the control tokens.
    assert replaced(it.tokenizer.decode(ids)) == it.tokenizer.decode(
        encode_prompt(it, replaced(typed))
    )


def replaced(text: str) -> str:
    for token, look_alike in LOOK_ALIKES.items():
        text = text.replace(token, look_alike)
    return text


@every_template
def test_control_tokens_are_text_in_every_turn(template: str) -> None:
    it = codec("qwen", template)
    turns = [turn("user", "a<|para|>"), turn("assistant", "<|title|>b"), turn("user", "<|/para|>")]
    ids = encode_prompt(it, turns)
    assert not set(ids) & set(it.control)
    assert it.tokenizer.decode(ids) == it.tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )


def test_control_tokens_stay_text_beside_every_private_character_a_user_may_type() -> None:
    text = "\ue000<|para|>\ue001\ue5e5"
    it = codec("qwen", "chatml")
    assert text in it.tokenizer.decode(encode_prompt(it, text))


@every_kind
@pytest.mark.parametrize(
    ("template", "ends"),
    [
        ("chatml", "<|im_end|>"),
        ("llama2", " {eos}"),
        ("llama3", "<|eot_id|>"),
        ("gemma", "<end_of_turn>"),
        (None, "{eos}"),
    ],
)
def test_an_answer_ends_as_the_template_ends_it(kind: str, template: str | None, ends: str) -> None:
    tokenizer = codec(kind, template).tokenizer
    end = end_of_turn(codec(kind, template))
    assert end[-1] in special_ids(tokenizer)
    assert not set(end[:-1]) & special_ids(tokenizer)
    before = tokenizer.encode("answer", add_special_tokens=False)
    assert tokenizer.decode(before + end) == "answer" + ends.format(eos=tokenizer.eos_token)


@every_kind
@pytest.mark.parametrize("template", ["chatml", "llama3", "gemma"])
def test_prompt_answer_and_end_are_the_conversation_as_rendered(kind: str, template: str) -> None:
    it = codec(kind, template)
    ids = [*encode_prompt(it, "Hi end"), *it.encode("Ada wrote:\n 1843."), *end_of_turn(it)]
    whole = it.tokenizer.apply_chat_template(
        [turn("user", "Hi end"), turn("assistant", "Ada wrote:\n 1843.")], return_dict=True
    )["input_ids"]
    written = it.tokenizer.decode(ids)
    if kind != "llama2":  # puts a space after each special token, an answer has none before it
        assert it.tokenizer.decode(whole).startswith(written)
    assert written.endswith("Ada wrote:\n 1843." + it.tokenizer.decode(ids[-1]))


@pytest.mark.parametrize("source", ["{{ messages[0].content }}", "{{ messages[-1].content }}\n"])
def test_a_template_that_ends_no_turn_leaves_it_to_the_eos_token(source: str) -> None:
    tokenizer = make.tokenizer("qwen", "chatml")
    tokenizer.chat_template = "<|im_start|>" + source
    assert end_of_turn(Codec(tokenizer)) == [tokenizer.eos_token_id]


def test_a_tokenizer_that_cannot_end_a_turn_is_refused() -> None:
    tokenizer = make.tokenizer("qwen")
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="nor an EOS token"):
        end_of_turn(Codec(tokenizer))


@every_kind
def test_a_base_model_gets_the_plain_prompt_with_the_tokenizers_own_bos(kind: str) -> None:
    it = codec(kind, None)
    bos = [] if kind == "qwen" else [it.tokenizer.bos_token_id]
    ids = encode_prompt(it, "Who was Ada?", system="Be brief.")
    assert ids[: len(bos)] == bos
    assert not set(ids[len(bos) :]) & special_ids(it.tokenizer)
    assert it.tokenizer.decode(ids[len(bos) :]) == "Be brief.\nWho was Ada?"
    assert end_of_turn(it) == [it.tokenizer.eos_token_id]


@pytest.mark.parametrize("template", [None, "chatml"])
@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("", "prompt is empty"),
        (" \n\t", "prompt is empty"),
        ([], "prompt is empty"),
        ([turn("system", "Be brief."), turn("user", " ")], "prompt is empty"),
        ([{"content": "Hi"}], "needs a `role`"),
        ([{"role": 1, "content": "Hi"}], "needs a `role`"),
        (["Hi"], "needs a `role`"),
        ([{"role": "user"}], "content of a user message is not a string"),
        ([{"role": "user", "content": [{"type": "text"}]}], "is not a string"),
        ([turn("user", "Hi"), turn("assistant", "Hello")], "nothing to answer"),
        ({"role": "user", "content": "Hi"}, "a string or a list of messages"),
        (None, "a string or a list of messages"),
        ("Hi \ud83d", "half of a surrogate pair"),
    ],
)
def test_what_is_no_prompt_is_refused_in_one_sentence(
    template: str | None, prompt: Any, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        encode_prompt(codec("qwen", template), prompt)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "roles", "reason"),
    [
        ("gemma", ["system", "user"], "System role not supported"),
        ("gemma", ["user", "user"], "roles must alternate"),
        ("llama2", ["user", "user"], "roles must alternate"),
    ],
)
def test_a_conversation_that_the_template_refuses_is_a_data_error_with_its_reason(
    template: str, roles: list[str], reason: str
) -> None:
    with pytest.raises(DataError, match=f"chat template rejects this conversation: .*{reason}"):
        encode_prompt(codec("gemma", template), [turn(role, "Hi") for role in roles])


def test_messages_are_copied_and_hold_nothing_else() -> None:
    given_ = [{"role": "user", "content": "Hi", "name": "Ada"}]
    messages = to_messages(given_, system="Be brief.")
    assert messages == [turn("system", "Be brief."), turn("user", "Hi")]
    assert given_ == [{"role": "user", "content": "Hi", "name": "Ada"}]
