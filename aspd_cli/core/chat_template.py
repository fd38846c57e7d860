"""The chat template of a tokenizer: a program of somebody else, so nothing is taken for granted.

Messages with marks for contents show what it leaves out, which form of a content it wants, and what
it writes around contents: that is what no content may form (`Literals`).
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from aspd_cli.core.codec import Codec, any_of, cut_literals
from aspd_cli.errors import DataError, reason

Message = Mapping[str, str]
ROLES = frozenset({"system", "user", "assistant", "tool"})
"""Roles that every chat template may be given; any other must be named in it."""

_USUAL = (("user",), ("user", "assistant", "user"), ("system", "user", "assistant", "user"))
"""Conversations that show which tokens a template writes around contents."""
_MARK = re.compile(r"[^\w\s].+[^\w\s]", re.DOTALL)
"""What a mark of turns looks like; other added tokens are words, numbers or white space."""


class Literals:
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
def template_of(codec: Codec) -> "ChatTemplate":
    """The chat template of a codec's tokenizer; what was found out about it is kept."""
    return ChatTemplate(codec)


class ChatTemplate:
    """The chat template of a tokenizer, and what is known of it."""

    def __init__(self, codec: Codec) -> None:
        self._tokenizer, self._arguments = codec.tokenizer, codec.chat_template_kwargs
        source = str(self._tokenizer.chat_template)
        self._roles = ROLES | set(re.findall(r"['\"]([\w-]+)['\"]", source))
        self._wants_parts: dict[tuple[str, ...], bool] = {}
        special = Literals(codec, codec.literals)
        turns = self._turn_marks(codec) - codec.literals
        self.literals = [Literals(codec, codec.literals | turns), special] if turns else [special]
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
            said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
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
        turns = marked(("user", "assistant"))
        forms = self._forms(turns, add_generation_prompt=False)
        return next((text.partition(mark(1))[2] for _, text in forms if mark(1) in text), "")

    def _find_form(self, roles: tuple[str, ...]) -> bool:
        if unknown := [role for role in roles if role not in self._roles]:
            raise DataError(f"the model's chat template does not know the role {unknown[0]!r}")
        lost: list[str] = []
        for parts, text in self._forms(
            marked(roles), add_generation_prompt=roles[-1] != "assistant"
        ):
            gone = [role for at, role in enumerate(roles) if mark(at) not in text]
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
                forms = self._forms(marked(roles), add_generation_prompt=True)
                written += "".join(text for _, text in forms)
        return frozenset(t for t in added if _MARK.fullmatch(t) and t in written)


def marked(roles: Iterable[str]) -> list[dict[str, str]]:
    """A conversation of those roles whose contents are marks."""
    return [{"role": role, "content": mark(at)} for at, role in enumerate(roles)]


def mark(number: int) -> str:
    """A text that stands for a content; no template has a reason to change or to write it."""
    return f"sentinel{number}x"
