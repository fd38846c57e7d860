"""Prompts: messages to token ids, the same in training and in decoding (DESIGN 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

from aspd_cli.core.codec import Codec, special_ids, split_literals
from aspd_cli.core.markup import holds_markup
from aspd_cli.errors import DataError

Message = Mapping[str, str]
Prompt = str | Sequence[Message]
"""One user turn as a string, or a conversation whose last turn is not the assistant's."""

_PRIVATE_USE = range(0xE000, 0xF900)
"""Characters without a meaning: one marks in rendered text where a control token was cut."""

_SENTINEL = "sentinel-answer"


def to_messages(prompt: Prompt, system: str | None = None) -> list[dict[str, str]]:
    """The conversation of a prompt, with `system` put first unless it has a system turn.

    Raises:
        DataError: the prompt is empty or no text, or a message lacks `role` or `content`.
    """
    if not isinstance(prompt, Sequence):
        raise DataError("a prompt must be a string or a list of messages")
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    messages = []
    for turn in turns:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
            raise DataError("a message needs a `role` and a `content`, both strings")
        if not isinstance(turn.get("content"), str):
            raise DataError(f"the content of a {turn['role']} message is not a string")
        messages.append({"role": turn["role"], "content": turn["content"]})
    if not messages or not messages[-1]["content"].strip():
        raise DataError("the prompt is empty: give the question as text")
    if messages[-1]["role"] == "assistant":
        raise DataError("the last message is from the assistant: there is nothing to answer")
    if system is not None and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    try:
        "".join(message["role"] + message["content"] for message in messages).encode()
    except UnicodeEncodeError as error:  # JSON can write one, UTF-8 and tokenizers cannot
        raise DataError(
            "the prompt contains half of a surrogate pair, which is not a valid character"
        ) from error
    return messages


def encode_prompt(codec: Codec, prompt: Prompt, system: str | None = None) -> list[int]:
    """The token ids of a prompt up to where the answer begins.

    Control tokens inside contents are data: they are encoded as ordinary text. A tokenizer without
    a chat template gets the contents joined by newlines, with its own special tokens.

    Raises:
        DataError: the prompt is empty, or the chat template refuses the roles.
    """
    tokenizer, messages = codec.tokenizer, to_messages(prompt, system)
    if not tokenizer.chat_template:
        text = "\n".join(message["content"] for message in messages)
        head, *rest = split_literals(text)
        ids = list(tokenizer.encode(head, add_special_tokens=True))
    else:
        head, *rest = _render_in_pieces(tokenizer, messages)
        ids = list(tokenizer.encode(head, add_special_tokens=False))
    return ids + [i for piece in rest for i in codec.encode_rendered(piece)]


def end_of_turn(codec: Codec) -> list[int]:
    """The tokens that end an answer, as the chat template writes them; the last one stops decoding.

    Found by rendering a sentinel answer and reading what comes after it, up to and including the
    first special token. Without a template, or where it writes none: the EOS token.
    """
    tokenizer = codec.tokenizer
    if tokenizer.chat_template:
        turns = [
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": _SENTINEL},
        ]
        _, _, tail = _render(tokenizer, turns, add_generation_prompt=False).partition(_SENTINEL)
        ids = codec.encode_rendered(tail) if tail else []
        special = special_ids(tokenizer)
        for end, token in enumerate(ids):
            if token in special:
                return ids[: end + 1]
    if tokenizer.eos_token_id is None:
        raise DataError(
            "the tokenizer has neither a chat template that ends a turn nor an EOS token"
        )
    return [tokenizer.eos_token_id]


def _render_in_pieces(tokenizer: Any, messages: list[dict[str, str]]) -> list[str]:
    """The rendered prompt, cut inside every control token that a content holds."""
    contents = "".join(message["content"] for message in messages)
    if not holds_markup(contents):
        return [_render(tokenizer, messages, add_generation_prompt=True)]
    seam = next(mark for mark in map(chr, _PRIVATE_USE) if mark not in contents)
    cut = [{**m, "content": seam.join(split_literals(m["content"]))} for m in messages]
    return _render(tokenizer, cut, add_generation_prompt=True).split(seam)


def _render(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        )
    except TemplateError as error:
        raise DataError(f"the model's chat template rejects this conversation: {error}") from error
