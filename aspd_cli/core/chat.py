"""Prompts: messages to token ids, the same in training and in decoding.

A chat template is a program of somebody else, so nothing is taken for granted: messages with marks
for contents show what it leaves out and which form of a content it wants. What people have written
is data: no text of theirs becomes a special token, and where they write none, the ids are those of
`apply_chat_template`.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from aspd_cli.core.codec import Codec, any_of, cut_literals
from aspd_cli.errors import DataError, ModelError, reason

Message = Mapping[str, str]
Prompt = str | Sequence[Message]
"""One user turn as a string, or a conversation whose last turn is not the assistant's."""

ROLES = frozenset({"system", "user", "assistant", "tool"})
"""Roles that every chat template may be given; any other must be named in it."""

_SEAMS = tuple(map(chr, (*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF900))))
"""Characters without a meaning: one marks in rendered text where data were cut."""

_USUAL = (("user",), ("user", "assistant", "user"), ("system", "user", "assistant", "user"))
"""Conversations that show which tokens a template writes around contents."""
_MARK = re.compile(r"[^\w\s].+[^\w\s]", re.DOTALL)
"""What a mark of turns looks like; other added tokens are words, numbers or white space."""
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
    template = _template(codec)
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
    literals = _template(codec).literals[-1]
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
    tail = _template(codec).tail() if codec.tokenizer.chat_template else ""
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
    question = [{"role": "user", "content": _mark(0)}]
    _, _, opening = "".join(render(codec, question)).rpartition(_mark(0))
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


class _Literals:
    """Texts that data must not form in a rendered conversation."""

    def __init__(self, codec: Codec, texts: Iterable[str]) -> None:
        self._codec = codec
        texts = [text for text in texts if len(text) > 1]
        self._pattern = any_of(texts)
        self._anywhere = re.compile(f"(?=({self._pattern.pattern}))")
        self._longest = max(map(len, texts))
        self._begins = {text[:end] for text in texts for end in range(1, len(text))}
        self._ends = {text[start:] for text in texts for start in range(1, len(text))}
        ids = codec.tokenizer.convert_tokens_to_ids(texts)
        names = codec.tokenizer.convert_ids_to_tokens
        self._ids = {
            text: i
            for text, i in zip(texts, ids, strict=True)
            if i is not None and names(i) == text
        }

    def seamed(self, content: str, seam: str) -> str:
        """A content with seams within literals, and where it may form one with its neighbours."""
        inner = content.strip()  # templates trim, and must not meet the seam first
        before, _, after = content.partition(inner) if inner else (content, "", "")
        sizes = range(1, min(self._longest, len(inner) + 1))
        first = seam if any(inner[:size] in self._ends for size in sizes) else ""
        last = seam if any(inner[-size:] in self._begins for size in sizes) else ""
        return f"{before}{first}{seam.join(cut_literals(inner, self._pattern))}{last}{after}"

    def mended(self, pieces: Sequence[str]) -> list[str]:
        """The pieces, joined where no literal goes across."""
        out = [pieces[0]]
        for piece in pieces[1:]:
            left, right = out[-1][1 - self._longest :], piece[: self._longest - 1]
            spans = (match.span(1) for match in self._anywhere.finditer(left + right))
            if any(start < len(left) < end for start, end in spans):
                out.append(piece)
            else:
                out[-1] += piece
        return out

    def accounts_for(self, piece: str, ids: Sequence[int]) -> bool:
        """Whether the special tokens of a piece are those that stand in it."""
        guarded = self._codec.guarded
        if guarded.isdisjoint(ids):
            return True
        meant = [self._ids.get(text) for text in self._pattern.findall(piece)]
        return [i for i in ids if i in guarded] == [i for i in meant if i in guarded]

    def encode(self, piece: str) -> list[int]:
        """The ids of a piece with its literals as special tokens, and nothing else as one."""
        ids: list[int] = []
        at = 0
        for match in self._pattern.finditer(piece):
            if match[0] in self._ids:
                ids += [*self._codec.encode(piece[at : match.start()]), self._ids[match[0]]]
                at = match.end()
        return ids + self._codec.encode(piece[at:])


@lru_cache(maxsize=8)
def _template(codec: Codec) -> "_Template":
    return _Template(codec)


class _Template:
    """The chat template of a tokenizer, and what is known of it."""

    def __init__(self, codec: Codec) -> None:
        self._tokenizer, self._arguments = codec.tokenizer, codec.chat_template_kwargs
        source = str(self._tokenizer.chat_template)
        self._roles = ROLES | set(re.findall(r"['\"]([\w-]+)['\"]", source))
        self._wants_parts: dict[tuple[str, ...], bool] = {}
        special = _Literals(codec, codec.literals)
        turns = self._turn_marks(codec) - codec.literals
        self.literals = [_Literals(codec, codec.literals | turns), special] if turns else [special]
        """What data must not form; first with the marks of turns that are no special tokens."""

    def apply(self, messages: Sequence[Message], parts: bool, **how: Any) -> str:
        """The rendered conversation. Raises `DataError` where the template fails, with its reason.

        Args:
            parts: contents are given as lists of parts, in place of strings.
        """
        from jinja2 import TemplateError

        given: list[dict[str, Any]] = [dict(message) for message in messages]
        for message in given if parts else ():
            message["content"] = [{"type": "text", "text": message["content"]}]
        try:
            text = self._tokenizer.apply_chat_template(
                given, tokenize=False, **how, **self._arguments
            )
        except TemplateError as error:
            said = reason(error)
            raise DataError(
                f"the model's chat template rejects this conversation: {said}"
            ) from error
        except Exception as error:  # a template is a program: it may do anything
            said = f"{type(error).__name__}: {reason(error)}"
            raise DataError(
                f"the model's chat template fails on this conversation: {said}"
            ) from error
        return str(text)

    def wants_parts(self, roles: tuple[str, ...]) -> bool:
        """Whether contents must be lists of parts for the template to write them.

        Raises:
            DataError: it does not know a role, refuses the conversation, or drops a content.
        """
        if roles not in self._wants_parts:
            self._wants_parts[roles] = self._find_form(roles)
        return self._wants_parts[roles]

    def tail(self) -> str:
        """What the template writes after an answer; nothing where it leaves the answer out."""
        turns = _marked(("user", "assistant"))
        forms = self._forms(turns, add_generation_prompt=False)
        return next((text.partition(_mark(1))[2] for _, text in forms if _mark(1) in text), "")

    def _find_form(self, roles: tuple[str, ...]) -> bool:
        if unknown := [role for role in roles if role not in self._roles]:
            raise DataError(f"the model's chat template does not know the role {unknown[0]!r}")
        lost: list[str] = []
        for parts, text in self._forms(
            _marked(roles), add_generation_prompt=roles[-1] != "assistant"
        ):
            gone = [role for at, role in enumerate(roles) if _mark(at) not in text]
            if not gone:
                return parts
            lost = lost or gone
        raise DataError(
            f"the model's chat template drops the content of the {lost[0]} message: correct it in "
            "chat_template.jinja or tokenizer_config.json beside the model"
        )

    def _forms(self, messages: Sequence[Message], **how: Any) -> Iterator[tuple[bool, str]]:
        """The conversation with strings as contents, then with parts; raises where both fail."""
        try:
            yield False, self.apply(messages, False, **how)
        except DataError as fault:
            try:
                with_parts = self.apply(messages, True, **how)
            except DataError:
                raise fault from fault.__cause__
            yield True, with_parts
            return
        with contextlib.suppress(DataError):
            yield True, self.apply(messages, True, **how)

    def _turn_marks(self, codec: Codec) -> frozenset[str]:
        """Added tokens that the template writes around contents, whether they are special or not.

        Some families mark turns with tokens that are not called special.
        """
        added = {token.content for token in self._tokenizer.added_tokens_decoder.values()}
        written = ""
        for roles in _USUAL:
            with contextlib.suppress(DataError):
                forms = self._forms(_marked(roles), add_generation_prompt=True)
                written += "".join(text for _, text in forms)
        return frozenset(t for t in added if _MARK.fullmatch(t) and t in written)


def _marked(roles: Iterable[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": _mark(at)} for at, role in enumerate(roles)]


def _mark(number: int) -> str:
    """A text that stands for a content; no template has a reason to change or to write it."""
    return f"sentinel{number}x"


def _before(tokenizer: Any) -> list[int]:
    """What a tokenizer puts before a text, such as BOS; what it puts after one would end it."""
    text = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a", add_special_tokens=True)
    starts = range(len(whole) - len(text) + 1)
    return next((whole[:at] for at in starts if whole[at : at + len(text)] == text), [])
