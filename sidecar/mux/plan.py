"""Plans: the answer to a request as parts of known length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sidecar.storage.source import SourceIdentity


class CacheClass(IntEnum):
    """How long a plan may be kept; numbers equal ``origin.v1.CacheClass``."""

    NONE = 0
    MANIFEST = 1
    MEDIA = 2


@dataclass(frozen=True, slots=True, eq=False)
class Inline:
    """Bytes that travel with the plan, or are laid down in a file beside it when they are many."""

    data: bytes | memoryview

    @property
    def length(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """Bytes that are put together when they are asked for: of several plans that are made together,
    those of one stand in memory at a time. ``compose`` makes all ``length`` of them, and cannot
    fail.
    """

    length: int
    compose: Callable[[], memoryview]

    @property
    def data(self) -> memoryview:
        return self.compose()


# Bytes of a plan's own.
Body = Inline | Composed


@dataclass(frozen=True, slots=True, eq=False)
class FileRanges:
    """Byte ranges of one local file, in the order of the body.

    ``offset`` and ``length``: int64[n], n >= 1, lengths positive, neighbours merged.
    """

    source: SourceIdentity
    offset: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def length(self) -> int:
        return int(self.lengths.sum())


# In place of an index of a file.
OF_INLINE = -1


@dataclass(frozen=True, slots=True, eq=False)
class MixedRanges:
    """Byte ranges of several local files in turns, in the order of the body: one part, however
    often the file changes.

    ``which``: int64[n], index into ``sources`` of each range, ``OF_INLINE`` = the range is one of
    ``inline``; the rest as in ``FileRanges``.
    """

    sources: tuple[SourceIdentity, ...]
    which: NDArray[np.int64]
    offset: NDArray[np.int64]
    lengths: NDArray[np.int64]
    inline: bytes = b""

    @property
    def length(self) -> int:
        return int(self.lengths.sum())


@dataclass(frozen=True, slots=True, eq=False)
class HeadedRanges:
    """Byte ranges, each behind a few bytes of its own: samples with a header each, left in their
    files.

    ``heads``: n times bytes, not empty, that stand before the range of the same index; the rest as
    in ``MixedRanges``.
    """

    sources: tuple[SourceIdentity, ...]
    which: NDArray[np.int64]
    offset: NDArray[np.int64]
    lengths: NDArray[np.int64]
    heads: tuple[bytes, ...]

    @property
    def length(self) -> int:
        return int(self.lengths.sum()) + sum(map(len, self.heads))


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A whole file that the service has made of an inline part. Formats do not use it.

    ``key`` identifies the content.
    """

    source: SourceIdentity
    key: bytes

    @property
    def length(self) -> int:
        return self.source.size


Part = Body | FileRanges | MixedRanges | HeadedRanges | Kept


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plan:
    """A successful answer: the parts of its body and what HTTP says of it.

    The service adds result, status, validity and entity tag. ``made_from``: identifies everything
    that inline bytes were made from, for bodies so large that a hash of them costs more than making
    them; None: the bytes say it themselves. ``last_modified``: Unix seconds, None: as the sources
    were. ``expires_ms``: when asking again may say more, Unix milliseconds, 0 = not said.
    ``describes``: it says how other media is decoded, is what it is as long as that is there, and
    was not received itself. ``max_age``: for so long, seconds, from each request on, a copy is as
    good as asking, 0 = ``expires_ms`` says it.
    """

    parts: tuple[Part, ...]
    content_type: str
    cache_class: CacheClass
    headers: tuple[tuple[str, str], ...] = field(default=())
    made_from: bytes | None = None
    last_modified: int | None = None
    expires_ms: int = 0
    describes: bool = False
    max_age: int = 0

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return sum(part.length for part in self.parts)
