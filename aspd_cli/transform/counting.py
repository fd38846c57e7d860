"""How many tokens texts and documents have, by a tokenizer or by an estimate."""

import re
from pathlib import Path
from typing import Any

import aspd_cli
from aspd_cli.core.layout import TokenBlock, TokenTree, lay_out, tokenize
from aspd_cli.core.markup import CONTROL_TOKENS, SEPARATOR, Document
from aspd_cli.core.metrics import Structure, structure
from aspd_cli.core.tokens import Codec, ControlIds
from aspd_cli.transform.tokenizer import read_tokenizer
from aspd_cli.transform.words import words_of

EMBEDDED = Path(aspd_cli.__file__).parent / "assets" / "tiny" / "base"
"""The embedded model, whose tokenizer counts where no other is named."""

_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_CHARACTERS = 4


class EstimatingCodec(Codec):
    """Stands in for a tokenizer where only the number of tokens counts: every id is 0.

    A Chinese, Japanese or Korean character is one token; of other text four characters are one, as
    large vocabularies have it for English.
    """

    def __init__(self) -> None:
        self.control = ControlIds(*[0] * 6)
        self.separator = self.encode(SEPARATOR)

    def encode(self, text: str) -> list[int]:
        """As many zeros as the text has tokens; at least one unless it is empty."""
        wide = 0 if text.isascii() else len(_WIDE.findall(text))
        return [0] * (wide + -(-(len(text) - wide) // _CHARACTERS))


class FastCodec(Codec):
    """The same ids, most of them looked up word by word."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        special = tokenizer.convert_ids_to_tokens(sorted(self.special))
        literals = {*CONTROL_TOKENS, *special}
        self._words = words_of(tokenizer.backend_tokenizer, literals) if self._bare else None

    def encode(self, text: str) -> list[int]:
        """The ids of one piece; control and other special tokens in it are plain text."""
        ids = self._words.encode(text) if self._words else None
        return super().encode(text) if ids is None else ids


def measure(document: Document, codec: Codec) -> Structure:
    """What an answer is made of, its end of turn left out."""
    tree = tokenize(document, codec)
    return structure(tree, lay_out(tree, codec))


def ideal_speedup(document: Document, codec: Codec) -> float:
    """Tokens over steps of an answer, end of turn included: the gain if steps cost the same."""
    tree = tokenize(document, codec)
    return (len(lay_out(tree, codec)) + 1) / (_steps(tree) + 1)


def _steps(tree: TokenTree) -> int:
    """Steps on the longest path: one for each token that is sampled there, none for forced ones."""
    steps = 0
    for part in tree:
        if isinstance(part, TokenBlock):
            titles = sum(len(title) + 2 for title in part.titles)
            steps += titles + 1 + max(_steps(branch.content) + 1 for branch in part.branches)
        else:
            steps += len(part)
    return steps


def open_codec(name: str | None) -> tuple[Codec, str]:
    """What counts tokens, and what to call it.

    Args:
        name: directory or Hub id of a tokenizer. None: the embedded one, else an estimate.

    Raises:
        ModelError: there is no such tokenizer.
    """
    if name is None and not EMBEDDED.is_dir():
        return EstimatingCodec(), "an estimate, four characters each"
    tokenizer = read_tokenizer(name or str(EMBEDDED))
    fast = hasattr(tokenizer, "backend_tokenizer")
    codec = FastCodec(tokenizer) if fast else Codec(tokenizer)
    return codec, f"the tokenizer of {name or 'the embedded model'}"
