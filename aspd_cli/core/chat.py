"""Prompts: messages to token ids, the same in training and in decoding.

What people have written is data: no text of theirs becomes a special token, and where they write
none, the ids are those of `apply_chat_template`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aspd_cli.core.chat_template import Message, mark, template_of
from aspd_cli.core.codec import Codec
from aspd_cli.errors import DataError, ModelError

Prompt = str | Sequence[Message]
"""One user turn as a string, or a conversation whose last turn is not the assistant's."""

_SEAMS = tuple(map(chr, (*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF900))))
"""Characters without a meaning: one marks in rendered text where data were cut."""

_THOUGHT = re.compile(
    r"[<\[]\|?(?P<end>/)?(?P<name>(?:\w+:)?(?:think|thinking|thought|reason|reasoning))\|?[>\]]",
    re.IGNORECASE,
)


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
        _refuse_surrogates(turn)
        if not re.fullmatch(r"[\w-]+", turn["role"]):
            raise DataError(f"{turn['role']!r} is not a role: use system, user or assistant")
        if not isinstance(turn.get("content"), str):
            raise DataError(f"the content of a {turn['role']} message is not a string")
        messages.append({"role": turn["role"], "content": turn["content"]})
    if not messages or not messages[-1]["content"].strip():
        raise DataError("the prompt is empty: give the question as text")
    if messages[-1]["role"] == "assistant":
        raise DataError("the last message is from the assistant: there is nothing to answer")
    if system is not None and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    return messages


def _refuse_surrogates(turn: Mapping[str, Any]) -> None:
    try:
        f"{turn['role']}{turn.get('content')}".encode()
    except UnicodeEncodeError as error:  # JSON can write one, UTF-8 and tokenizers cannot
        raise DataError(
            "the prompt contains half of a surrogate pair, which is not a valid character"
        ) from error


def encode_prompt(codec: Codec, prompt: Prompt, system: str | None = None) -> list[int]:
    """The token ids of a prompt up to where the answer begins.

    Special tokens inside contents are data: they are encoded as ordinary text. A tokenizer without
    a chat template gets the contents joined by newlines, after what it puts before a text itself.

    Raises:
        DataError: the prompt is empty, or the chat template refuses the roles or drops a content.
    """
    messages = to_messages(prompt, system)
    if codec.tokenizer.chat_template:
        return encode_pieces(codec, render(codec, messages))
    text = "\n".join(message["content"] for message in messages)
    return [*_before(codec.tokenizer), *codec.encode_first(text)]


def render(codec: Codec, messages: Sequence[Message], *, continues: bool = False) -> list[str]:
    """A conversation as the chat template writes it, cut wherever data would be a special token.

    Args:
        continues: the answer goes on with the last message, in place of an empty one.

    Raises:
        DataError: as `encode_prompt`.
    """
    template = template_of(codec)
    parts = template.wants_parts(tuple(message["role"] for message in messages))
    how = {"add_generation_prompt": not continues, "continue_final_message": continues}
    whole = template.apply(messages, parts, **how)
    contents = [message["content"] for message in messages]
    seam = next(mark for mark in _SEAMS if not any(mark in each for each in [whole, *contents]))
    for literals in template.literals:
        cut = [{**m, "content": literals.seamed(m["content"], seam)} for m in messages]
        if all(m["content"] == content for m, content in zip(cut, contents, strict=True)):
            return [whole]
        pieces = template.apply(cut, parts, **how).split(seam)
        if "".join(pieces) == whole:
            break  # or the template looks for this text in contents, as for the end of a thought
    return literals.mended(pieces)


def encode_pieces(codec: Codec, pieces: Sequence[str]) -> list[int]:
    """The ids of a rendered conversation: special tokens within a piece are the template's."""
    literals = template_of(codec).literals[-1]
    ids: list[int] = []
    for at, piece in enumerate(pieces):
        first = not at  # the first piece is encoded as transformers does, with nothing before it
        found = (
            list(codec.tokenizer.encode(piece, add_special_tokens=False))
            if first
            else codec.encode_rendered(piece)
        )
        if not literals.accounts_for(piece, found):
            found = literals.encode(piece)  # a normaliser made one of data
        ids += found
    return ids


def end_of_turn(codec: Codec) -> list[int]:
    """The tokens that end an answer, as the chat template writes them; the last one stops decoding.

    Found by rendering a marked answer and reading what comes after it, up to and including the
    first special token. Without a template, or where it writes none: the EOS token.

    Raises:
        DataError: there is none, or the chat template fails.
    """
    tail = template_of(codec).tail() if codec.tokenizer.chat_template else ""
    ids = codec.encode_rendered(tail) if tail else []
    for end, token in enumerate(ids):
        if token in codec.special:
            return ids[: end + 1]
    if codec.tokenizer.eos_token_id is None:
        raise DataError(
            "the tokenizer has neither a chat template that ends a turn nor an EOS token"
        )
    return [codec.tokenizer.eos_token_id]


def open_thought(codec: Codec) -> str | None:
    """The mark of a thought that the prompt opens for the answer, such as `<think>`; None: none."""
    if not codec.tokenizer.chat_template:
        return None
    question = [{"role": "user", "content": mark(0)}]
    _, _, opening = "".join(render(codec, question)).rpartition(mark(0))
    marks = list(_THOUGHT.finditer(opening))
    return marks[-1][0] if marks and not marks[-1]["end"] else None


def check_arguments(codec: Codec) -> None:
    """Raises `ModelError` for an argument of the chat template that it does not read."""
    source = str(codec.tokenizer.chat_template or "")
    names = codec.chat_template_kwargs
    if unread := [name for name in names if not re.search(rf"\b{re.escape(name)}\b", source)]:
        raise ModelError(
            f"the model's chat template does not read {' or '.join(unread)}: correct or remove it "
            "in data.chat_template_kwargs"
        )


def _before(tokenizer: Any) -> list[int]:
    """What a tokenizer puts before a text, such as BOS; what it puts after one would end it."""
    text = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a", add_special_tokens=True)
    starts = range(len(whole) - len(text) + 1)
    return next((whole[:at] for at in starts if whole[at : at + len(text)] == text), [])
