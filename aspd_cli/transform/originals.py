"""The raw answers that training data were made of, to compare plain texts with them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from aspd_cli.errors import DataError
from aspd_cli.transform.records import Record, read_records

_SIZE = 16
"""Bytes of a digest: a million answers take some 200 MB."""


class Originals:
    """Digests of the answers of a file by the ids that `aspd transform` gives its records.

    Raises:
        DataError: the file cannot be read, or is in no dialect that is known.
    """

    def __init__(self, path: Path, dialect: str) -> None:
        self._digests: dict[str, bytes] = {}
        for record in read_records(path, dialect):
            if isinstance(record, Record):
                key = _key(record.id)
                self._digests[key] = self._digests.get(key, b"") + _digest(record.example.answer)

    def differs(self, row: dict[str, Any], text: str) -> str | None:
        """What is wrong with the plain text of a row; None when it is its raw answer's.

        Where several raw answers share an id, it may be that of any.
        """
        if "id" not in row:
            return "the record has no id, by which its raw answer would be found"
        known = self._digests.get(_key(row["id"]))
        if known is None:
            return f"there is no raw answer with the id {row['id']!r}"
        wanted = _digest(text)
        if any(known[at : at + _SIZE] == wanted for at in range(0, len(known), _SIZE)):
            return None
        return "the plain text is not the raw answer"


def _key(name: Any) -> str:
    return json.dumps(name, ensure_ascii=False, sort_keys=True)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_SIZE).digest()


def open_originals(path: Path | None, dialect: str) -> Originals | None:
    """The raw answers of `path`; None without one.

    Raises:
        DataError: as `Originals`; the sentence names the file.
    """
    if path is None:
        return None
    try:
        return Originals(path, dialect)
    except DataError as error:
        raise DataError(f"--against: {error}") from None
