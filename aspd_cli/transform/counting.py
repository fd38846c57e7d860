"""How many tokens texts and documents have, by a tokenizer or by an estimate."""

import re
from pathlib import Path

import aspd_cli
from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import SEPARATOR, Document
from aspd_cli.core.metrics import Structure, structure
from aspd_cli.core.tokens import Codec, ControlIds, add_control_tokens
from aspd_cli.errors import ModelError

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
    """The same ids, straight from the Rust tokenizer: transformers' wrapper takes most of the time.

    Only for tokenizers that need no anchor, which byte-level ones do not.
    """

    def encode_rendered(self, text: str) -> list[int]:
        """The ids of a piece of text."""
        if not self._bare:
            return super().encode_rendered(text)
        found = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        return list(found.ids)


def measure(document: Document, codec: Codec) -> Structure:
    """What an answer is made of, its end of turn left out."""
    tree = tokenize(document, codec)
    return structure(tree, lay_out(tree, codec))


def open_codec(name: str | None) -> tuple[Codec, str]:
    """What counts tokens, and what to call it.

    Args:
        name: directory or Hub id of a tokenizer. None: the embedded one, else an estimate.

    Raises:
        ModelError: there is no such tokenizer.
    """
    if name is None and not EMBEDDED.is_dir():
        return EstimatingCodec(), "an estimate, four characters each"
    from transformers import AutoTokenizer

    where = name or str(EMBEDDED)
    try:
        # A directory needs no network, which transformers would ask and wait for.
        local = Path(where).is_dir()
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local)
    except Exception as error:  # transformers raises whatever its readers do
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"there is no tokenizer in {where}: {reason}") from error
    add_control_tokens(tokenizer)
    codec = FastCodec if tokenizer.is_fast else Codec
    return codec(tokenizer), f"the tokenizer of {name or 'the embedded model'}"
