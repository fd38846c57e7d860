"""The contents of packed data up to where they break, so that what came before the break counts."""

import io
import zlib
from typing import IO, Any, Literal

Packing = Literal["gzip", "zstd"]

_CHUNK = 1 << 16
_AT_ONCE = 1 << 12
"""Bytes of contents that a break in zstd data costs."""
_GZIP = 31
"""What zlib calls a stream with the head and the checksum of gzip."""


def unpacked(file: IO[bytes], packing: Packing) -> "Unpacked":
    """A stream of what packed data hold.

    Args:
        file: the data, at their begin.
    """
    return Unzipped(file) if packing == "gzip" else Unzstd(file)


class Unclosed(io.RawIOBase):
    """Any binary stream as a raw one, and not closed with it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Unpacked(io.RawIOBase):
    """What both packings share."""

    def __init__(self) -> None:
        self.broken: str | None = None
        """Why the data could not be read to their end, once they have been read that far."""

    def readable(self) -> bool:
        return True


class Unzstd(Unpacked):
    """The contents of zstd data, frame after frame, by pyarrow, which `datasets` brings."""

    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow  # type: ignore[import-untyped]

        super().__init__()
        raw = pyarrow.PythonFile(Unclosed(file), mode="r")
        self._data = pyarrow.CompressedInputStream(raw, "zstd")

    def readinto(self, buffer: Any) -> int:
        if self.broken:
            return 0
        try:
            data = self._data.read(min(len(buffer), _AT_ONCE))
        except OSError as error:
            self.broken = f"the zstd data are broken ({str(error).rstrip('.')})"
            return 0
        buffer[: len(data)] = data
        return len(data)


class Unzipped(Unpacked):
    """The contents of gzip data: all of their members, one after another."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._member = zlib.decompressobj(_GZIP)
        self._given = b""
        """Compressed bytes that are not read yet."""

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
