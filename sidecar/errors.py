"""One exception tree. Each class owns its result name; evidence travels in attributes.

``str(error)`` is the line for the log: it may name files and offsets. ``error.sentence`` is what a
client may see: it never contains a path of the server's disk.
"""

from __future__ import annotations

from enum import IntEnum
from fractions import Fraction


class Result(IntEnum):
    """What a request ended in; numbers equal ``origin.v1.Result`` of the gRPC contract."""

    FMP4_OK = 0
    FMP4_BAD_REQUEST = 1
    FMP4_FORBIDDEN = 2
    FMP4_NO_LICENSE = 3
    FMP4_NOT_FOUND = 4
    FMP4_METHOD_NOT_ALLOWED = 5
    FMP4_CONFLICT = 6
    FMP4_FRAGMENT_NOT_FOUND = 7
    FMP4_FRAGMENT_MISSING = 8
    FMP4_FRAGMENT_NOT_AVAILABLE = 9
    FMP4_MISSING_TFRA = 10
    FMP4_UNSUPPORTED_MEDIA = 11
    FMP4_INVALID_MEDIA = 12
    FMP4_STORAGE_ERROR = 13
    FMP4_STORAGE_TIMEOUT = 14
    FMP4_UNAVAILABLE = 15
    FMP4_INTERNAL_ERROR = 16


class OriginError(Exception):
    """Base of everything that the sidecar raises on purpose."""

    result = Result.FMP4_INTERNAL_ERROR

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class BadRequest(OriginError):
    """The request's URL or an argument of it is not valid. ``sentence`` names the argument."""

    result = Result.FMP4_BAD_REQUEST


class Forbidden(OriginError):
    """The content lies where this location may not read. ``path`` names it where that is another
    server (log only)."""

    result = Result.FMP4_FORBIDDEN

    def __init__(self, sentence: str, *, path: str = "") -> None:
        super().__init__(sentence)
        self.path = path


class NoLicense(OriginError):
    """No license key allows it. ``detail`` says more, for the log (never the key's own text)."""

    result = Result.FMP4_NO_LICENSE

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.sentence}: {self.detail}" if self.detail else self.sentence


class NotFound(OriginError):
    """The presentation, track or virtual path does not exist. ``path`` names what another server
    does not have (log only)."""

    result = Result.FMP4_NOT_FOUND

    def __init__(self, sentence: str, *, path: str = "") -> None:
        super().__init__(sentence)
        self.path = path


class Conflict(OriginError):
    """What is asked for contradicts the state of a publishing point."""

    result = Result.FMP4_CONFLICT


class FragmentNotFound(OriginError):
    """The segment lies before the first one. ``seconds``: its presentation time, if it is named by
    that."""

    result = Result.FMP4_FRAGMENT_NOT_FOUND

    def __init__(self, sentence: str, *, seconds: Fraction | None = None) -> None:
        super().__init__(sentence)
        self.seconds = seconds


class FragmentMissing(OriginError):
    """The segment lies inside the timeline, but there is none at that number or time."""

    result = Result.FMP4_FRAGMENT_MISSING


class FragmentNotAvailable(OriginError):
    """The segment lies after the last one.

    ``behind``: of the very next one, the presentation time at which the newest that was received
    ends, seconds. ``due_ms``: when it is expected, Unix milliseconds, filled in by whoever knows.
    """

    result = Result.FMP4_FRAGMENT_NOT_AVAILABLE

    def __init__(self, sentence: str, *, behind: Fraction | None = None) -> None:
        super().__init__(sentence)
        self.behind = behind
        self.due_ms: int | None = None


class StorageError(OriginError):
    """Reading content failed; ``path`` names the file (log only)."""

    result = Result.FMP4_STORAGE_ERROR

    def __init__(self, sentence: str, *, path: str) -> None:
        super().__init__(sentence)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}"


class StorageTimeout(StorageError):
    """Reading content took too long."""

    result = Result.FMP4_STORAGE_TIMEOUT


class Replaced(StorageError):
    """The content is no longer what it was when it was looked at."""


class MediaError(OriginError):
    """A media file or server manifest cannot be used.

    ``path``: the file, filled in by whoever knows it; ``box_path``: ``moov/trak[1]/mdia/mdhd``;
    ``offset``: byte offset in the file of the evidence. All three are for the log.
    """

    def __init__(
        self, sentence: str, *, path: str = "", box_path: str = "", offset: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.path = path
        self.box_path = box_path
        self.offset = offset

    def __str__(self) -> str:
        where = [self.path] if self.path else []
        if self.box_path:
            where.append(f"box {self.box_path}")
        if self.offset is not None:
            where.append(f"offset {self.offset}")
        return f"{', '.join(where)}: {self.sentence}" if where else self.sentence


class InvalidMedia(MediaError):
    """The file is damaged: sizes, counts or structure contradict each other."""

    result = Result.FMP4_INVALID_MEDIA


class UnsupportedMedia(MediaError):
    """The file is sound, but uses something that is not served (a codec, edits ...)."""

    result = Result.FMP4_UNSUPPORTED_MEDIA


class MissingTfra(MediaError):
    """A track has no samples, so no manifest can list it."""

    result = Result.FMP4_MISSING_TFRA
