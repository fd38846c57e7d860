"""How many tokens texts and documents have: by a tokenizer, or by an estimate without one.

Reading a tokenizer with transformers brings torch into memory, some 200 MB that counting does not
need, and each call of it costs as much as the encoding of a short text. So another process reads
the tokenizer (`python -m aspd_cli.transform.token_counts WHERE`) and hands over its Rust object:
the ids are those that training will see.
"""

import json
import re
import subprocess
import sys
from typing import Any

from aspd_cli.core.codec import Codec, ControlIds
from aspd_cli.core.markup import SEPARATOR
from aspd_cli.errors import ModelError
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.pretrained import from_pretrained, is_local
from aspd_cli.transform.word_ids import WordIds, parts_words

_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_CHARACTERS = 4
_KNOWN = 1000
"""Most texts whose ids are kept: more than the pieces of an answer."""

_TRUST = "--trust-remote-code"
_NAMES = ("eos_token", "eos_token_id", "unk_token_id", "all_special_ids")


class CountingCodec(Codec):
    """Counts tokens: the pieces of an answer are asked for again and again, and encoded once."""

    def __init__(self, tokenizer: Any) -> None:
        self._known: dict[str, list[int]] = {}
        super().__init__(tokenizer)

    def encode(self, text: str) -> list[int]:
        """The ids of one piece, which must not be changed."""
        ids = self._known.get(text)
        if ids is None:
            if len(self._known) == _KNOWN:
                self._known.clear()
            ids = self._known[text] = super().encode(text)
        return ids


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


_ESTIMATE = EstimatingCodec()


class UnnamedCodec(CountingCodec):
    """The embedded tokenizer where it stands in for that of a model which nobody has named.

    It takes several tokens for a character for which a large vocabulary has one, so that it says
    nothing of how long a title the model can write.
    """

    def title_length(self, title: str) -> int:
        return _ESTIMATE.title_length(title)


def open_codec(name: str | None, *, trust_remote_code: bool = False) -> tuple[Codec, str]:
    """What counts tokens, and what to call it.

    Args:
        name: directory, GGUF file or Hub id of a tokenizer. None: the embedded one, else an
            estimate.
        trust_remote_code: whether Python code that comes with it may run.

    Raises:
        ModelError: there is no such tokenizer, or it needs code of its own and may not run it.
    """
    if name is None and not EMBEDDED_MODEL.is_dir():
        return EstimatingCodec(), "an estimate, four characters each"
    if name is None:
        codec = UnnamedCodec(read_tokenizer(str(EMBEDDED_MODEL / "base")))
        return codec, "the tokenizer of the embedded model"
    return CountingCodec(read_tokenizer(name, trust_remote_code)), f"the tokenizer of {name}"


class BareTokenizer:
    """A fast tokenizer as its Rust object and the names of its special tokens."""

    def __init__(self, backend: Any, names: dict[str, Any]) -> None:
        self.backend_tokenizer = backend
        self.eos_token: str | None = names["eos_token"]
        self.eos_token_id: int | None = names["eos_token_id"]
        self.unk_token_id: int | None = names["unk_token_id"]
        self.all_special_ids: list[int] = names["all_special_ids"]
        self.added_tokens_decoder: dict[int, Any] = backend.get_added_tokens_decoder()
        self._words = WordIds(backend) if parts_words(backend) else None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The ids of a text."""
        if self._words is not None and not add_special_tokens:
            return self._words.encode(text)
        return list(self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, ids: list[int], *, clean_up_tokenization_spaces: bool) -> str:
        """The text of ids, special tokens included; it is never cleaned up."""
        return str(self.backend_tokenizer.decode(list(ids), skip_special_tokens=False))

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """The names of ids."""
        return [str(self.backend_tokenizer.id_to_token(i)) for i in ids]

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """The id of a name; that of unknown ones where there is none."""
        found = self.backend_tokenizer.token_to_id(token)
        return self.unk_token_id if found is None else int(found)


def read_tokenizer(where: str, trust_remote_code: bool = False) -> Any:
    """A tokenizer with the control tokens: a `BareTokenizer`, or transformers' own if it is slow.

    Args:
        where: directory, GGUF file or Hub id.
        trust_remote_code: whether Python code that comes with it may run.

    Raises:
        ModelError: there is no such tokenizer.
    """
    # Where torch has been read already, another process would save nothing.
    if "torch" in sys.modules:
        return _bare(_load(where, trust_remote_code))
    command = [sys.executable, "-m", "aspd_cli.transform.token_counts", where]
    command += [_TRUST] if trust_remote_code else []
    none = subprocess.DEVNULL
    done = subprocess.run(command, stdin=none, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ModelError(said or f"cannot read the tokenizer in {where}")
    if not done.stdout:
        return _load(where, trust_remote_code)
    names, _, backend = done.stdout.partition(b"\n")
    return _made(json.loads(names), backend.decode())


def _load(where: str, trust_remote_code: bool) -> Any:
    from aspd_cli.core.codec import add_control_tokens

    tokenizer = from_pretrained(
        "AutoTokenizer",
        where,
        trust_remote_code=trust_remote_code,
        place=f"a tokenizer from {where}",
        # What is on the disk needs no network, which transformers would ask and wait for.
        local_files_only=is_local(where),
    )
    add_control_tokens(tokenizer)
    return tokenizer


def _bare(tokenizer: Any) -> Any:
    if not tokenizer.is_fast:
        return tokenizer
    names = {name: getattr(tokenizer, name) for name in _NAMES}
    return BareTokenizer(tokenizer.backend_tokenizer, names)


def _made(names: dict[str, Any], backend: str) -> BareTokenizer:
    from tokenizers import Tokenizer

    return BareTokenizer(Tokenizer.from_str(backend), names)


def _hand_over(where: str, trust_remote_code: bool) -> int:
    """Writes the names and the Rust object of a tokenizer; nothing for a slow one."""
    try:
        tokenizer = _bare(_load(where, trust_remote_code))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    if isinstance(tokenizer, BareTokenizer):
        names = {name: getattr(tokenizer, name) for name in _NAMES}
        print(json.dumps(names))
        print(tokenizer.backend_tokenizer.to_str(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(_hand_over(sys.argv[1], _TRUST in sys.argv[2:]))
