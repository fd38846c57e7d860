"""The contents of gzip data up to where they break, so that what came before the break counts."""

import io
import zlib
from typing import IO, Any

_CHUNK = 1 << 16
_GZIP = 31
"""What zlib calls a stream with the head and the checksum of gzip."""


class Unzipped(io.RawIOBase):
    """A stream of what gzip data hold: all of their members, one after another.

    Args:
        file: the data, at their begin.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.broken: str | None = None
        """Why the data could not be read to their end, once they have been read that far."""
        self._file = file
        self._member = zlib.decompressobj(_GZIP)
        self._given = b""
        """Compressed bytes that are not read yet."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.broken:
            if self._member.eof:
                self._given = (self._member.unused_data or self._file.read(_CHUNK)).lstrip(b"\0")
                if not self._given:
                    return 0
                self._member = zlib.decompressobj(_GZIP)
            given = self._given or self._file.read(_CHUNK)
            if not given:
                self.broken = "the gzip data end too early"
                return 0
            if data := self._unzip(given, len(buffer)):
                buffer[: len(data)] = data
                return len(data)
        return 0

    def _unzip(self, given: bytes, most: int) -> bytes:
        before = self._member.copy()
        try:
            data = self._member.decompress(given, most)
        except zlib.error as error:
            # zlib throws away what it had before a fault; byte by byte, only the fault is lost.
            self.broken = f"the gzip data are broken ({error})"
            data, self._member = b"", before
            for at in range(len(given)):
                try:
                    data += self._member.decompress(given[at : at + 1])
                except zlib.error:
                    break
            return data[:most]
        self._given = self._member.unconsumed_tail
        return data
