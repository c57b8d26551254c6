"""Plans as messages of the gRPC contract: the only code that knows both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import Result
from sidecar.mux.plan import (
    CacheClass,
    Composed,
    FileRanges,
    HeadedRanges,
    Inline,
    Kept,
    MixedRanges,
    Plan,
)
from sidecar.rpc import origin_pb2
from sidecar.service.spool import SMALLEST, content_key
from sidecar.service.statuses import playout_of, status_of
from sidecar.storage.source import SourceIdentity

# Tags of the columns of FileRanges: field number and wire type 2 (length-delimited).
_OFFSET = bytes([origin_pb2.FileRanges.OFFSET_FIELD_NUMBER << 3 | 2])
_LENGTH = bytes([origin_pb2.FileRanges.LENGTH_FIELD_NUMBER << 3 | 2])
_SOURCES = bytes([origin_pb2.FileRanges.SOURCES_FIELD_NUMBER << 3 | 2])
_INLINE = bytes([origin_pb2.FileRanges.INLINE_FIELD_NUMBER << 3 | 2])
_STEPS = bytes([origin_pb2.FileRanges.STEPS_FIELD_NUMBER << 3 | 2])
_BEGIN = bytes([origin_pb2.FileRanges.BEGIN_FIELD_NUMBER << 3])
# So many ranges are worth the shorter encoding.
_MANY = 1024
_UINT32_MAX = 0xFFFFFFFF
# In place of the index of a file: 2^64 - 1.
_OF_INLINE = -1


class SourceTable:
    """The files of a presentation as every plan of it lists them.

    ``last_modified``: of every answer that is made from them, Unix seconds. ``remote``: how those
    on other servers are requested; ``expires_ms``: until when all of that is accepted, Unix
    milliseconds, 0 = for ever.
    """

    def __init__(
        self,
        identities: Iterable[SourceIdentity],
        last_modified: int,
        remote: Callable[[SourceIdentity], origin_pb2.Remote] | None = None,
    ) -> None:
        self.expires_ms = 0
        self._last_modified = last_modified
        self._remote = remote
        self._messages: list[origin_pb2.Source] = []
        self._position: dict[str, int] = {}
        self._common: dict[tuple[str, CacheClass, str, str], bytes] = {}
        self._ttl_ms = 0
        for identity in identities:
            self.position(identity)

    def position(self, identity: SourceIdentity) -> int:
        """Index of ``identity`` in the list; appended when it is new."""
        position = self._position.get(identity.path)
        if position is None:
            position = self._position[identity.path] = len(self._messages)
            self._common.clear()
            message = source_message(identity)
            if self._remote is not None and identity.is_remote:
                message.remote.CopyFrom(self._remote(identity))
                ends = (self.expires_ms, message.remote.expires_ms)
                self.expires_ms = min(filter(None, ends), default=0)
            self._messages.append(message)
        return position

    @property
    def count(self) -> int:
        """How many files every plan lists."""
        return len(self._messages)

    def common(
        self, content_type: str, cache_class: CacheClass, format_name: str, kind: str, ttl_ms: int
    ) -> bytes:
        """The encoded fields that all successful plans of such content share."""
        if ttl_ms != self._ttl_ms:
            # The same for all, but while it runs out.
            self._ttl_ms = ttl_ms
            self._common.clear()
        key = (content_type, cache_class, format_name, kind)
        encoded = self._common.get(key)
        if encoded is None:
            encoded = self._common[key] = origin_pb2.Plan(
                status=status_of(Result.FMP4_OK),
                content_type=content_type,
                cache_class=cache_class.value,  # type: ignore[arg-type]
                last_modified=self._last_modified,
                sources=self._messages,
                format=playout_of(format_name),
                kind=kind,
                ttl_ms=ttl_ms,
            ).SerializeToString()
        return encoded


def source_message(identity: SourceIdentity) -> origin_pb2.Source:
    """``identity`` as plans say it."""
    return origin_pb2.Source(
        path=identity.path,
        size=identity.size,
        mtime_ns=identity.mtime_ns,
        inode=identity.inode,
        growing=int(identity.growing),
    )


def write_plan(
    message: origin_pb2.Plan,
    plan: Plan,
    sources: SourceTable,
    format_name: str = "",
    *,
    kind: str = "",
    ttl_ms: int = 0,
) -> None:
    """Fills the empty ``message`` with a successful ``plan`` of a format, if of any, that answers a
    request of ``kind`` and may be kept for ``ttl_ms`` milliseconds, 0 = while its sources hold.

    The entity tag covers everything that the body depends on: inline bytes, ranges, and size and
    mtime of each file, not its path or inode, so that two origins with copies of a file agree.
    """
    # Processors have instructions for this one: twice as fast as any other over megabytes.
    digest = sha256(plan.content_type.encode())
    parts = message.parts
    length = 0
    kept: list[tuple[origin_pb2.FileRanges, origin_pb2.Source]] = []
    for part in plan.parts:
        length += part.length
        match part:
            case Inline() | Composed():
                data = part.data
                parts.add().inline = bytes(data)
                if len(data) > SMALLEST:
                    digest.update(b"k%d:" % len(data) + content_key(plan, Inline(data)))
                else:
                    digest.update(b"i%d:" % len(data))
                    digest.update(data)
            case Kept(source, key):
                ranges = parts.add().file
                ranges.offset.append(0)
                ranges.length.append(source.size)
                kept.append((ranges, source_message(source)))
                digest.update(b"k%d:" % source.size + key)
            case FileRanges(source, offset, lengths):
                columns = _stepped(offset, lengths)
                if columns is None:
                    columns = _OFFSET + _packed(offset) + _LENGTH + _packed(lengths)
                ranges = parts.add().file
                ranges.source = sources.position(source)
                ranges.MergeFromString(columns)
                digest.update(_content(source))
                digest.update(columns)
            case MixedRanges(files, which, offset, lengths, inline):
                columns = _OFFSET + _packed(offset) + _LENGTH + _packed(lengths)
                # The last one, which OF_INLINE finds as -1, is that of the part's own bytes.
                position = np.array([*map(sources.position, files), _OF_INLINE], dtype=np.int64)
                own = (_INLINE, _varint(len(inline)), inline) if inline else ()
                parts.add().file.MergeFromString(
                    b"".join((columns, _SOURCES, _packed(position[which]), *own))
                )
                for file in files:
                    digest.update(_content(file))
                digest.update(columns)
                digest.update(_packed(which))
                digest.update(inline)
            case HeadedRanges():
                parts.add().file.MergeFromString(_headed(part, sources))
                for file in part.sources:
                    digest.update(_content(file))
                digest.update(_packed(part.offset) + _packed(part.lengths) + _packed(part.which))
                digest.update(b"%d," * len(part.heads) % tuple(map(len, part.heads)))
                digest.update(b"".join(part.heads))
    message.length = length
    if plan.expires_ms:
        message.expires_ms = plan.expires_ms
    if plan.max_age:
        message.max_age = plan.max_age
    message.etag = f'"{digest.hexdigest()[:20]}"'
    for name, value in plan.headers:
        message.headers.add(name=name, value=value)
    message.MergeFromString(
        sources.common(plan.content_type, plan.cache_class, format_name, kind, ttl_ms)
    )
    # Files of this plan alone, behind those that all plans of the presentation list.
    for at, (ranges, source_of_part) in enumerate(kept, sources.count):
        ranges.source = at
        message.sources.append(source_of_part)


def _headed(part: HeadedRanges, sources: SourceTable) -> bytes:
    """The encoded ``FileRanges`` of ``part``: ranges of its heads and of files in turns."""
    count = len(part.heads)
    head_length = np.fromiter(map(len, part.heads), dtype=np.int64, count=count)
    columns = np.empty((3, count, 2), dtype=np.int64)
    offset, length, position = columns
    offset[:, 0], offset[:, 1] = np.cumsum(head_length) - head_length, part.offset
    length[:, 0], length[:, 1] = head_length, part.lengths
    files = np.array([sources.position(file) for file in part.sources], dtype=np.int64)
    position[:, 0], position[:, 1] = _OF_INLINE, files[part.which]
    heads = b"".join(part.heads)
    return b"".join(
        (
            *(_OFFSET, _packed(offset), _LENGTH, _packed(length), _SOURCES, _packed(position)),
            *(_INLINE, _varint(len(heads)), heads),
        )
    )


def _content(identity: SourceIdentity) -> bytes:
    """What entity tags say of a file. Of one that grows they say the ranges alone: their order and
    sizes, and the times in the boxes before them, are those of one recording only."""
    if identity.growing:
        return b"g"
    if identity.etag:
        return b"e%d:%s:" % (identity.size, identity.etag.encode())
    return b"f%d:%d:" % (identity.size, identity.mtime_ns)


def _stepped(offset: NDArray[np.int64], lengths: NDArray[np.int64]) -> bytes | None:
    """The ranges as ``steps``, half as long; None where they are few, or not each behind the one
    before it and within reach of 32 bits."""
    if len(offset) < _MANY:
        return None
    gap = np.empty_like(offset)
    gap[0] = 0
    np.subtract(offset[1:], offset[:-1], out=gap[1:])
    gap[1:] -= lengths[:-1]
    if int(gap.min()) < 0 or max(int(gap.max()), int(lengths.max())) > _UINT32_MAX:
        return None
    steps = np.empty((len(offset), 2), dtype="<u4")
    steps[:, 0], steps[:, 1] = gap, lengths
    return b"".join((_STEPS, _varint(steps.nbytes), steps.data, _BEGIN, _varint(int(offset[0]))))


def _packed(column: NDArray[np.int64]) -> bytes:
    """``column`` as the payload of a packed ``repeated fixed64``, with its length before it.

    These are the bytes of the array itself: handing them over one by one as Python integers
    would cost more than all the rest of a plan.
    """
    data = column.astype("<i8", copy=False).tobytes()
    return _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def refusal(
    result: Result,
    sentence: str,
    format_name: str = "",
    headers: Iterable[tuple[str, str]] = (),
    kind: str = "",
) -> origin_pb2.Plan:
    """The plan of a request that ended in ``result``: a status and one sentence, never cached.

    ``kind``: name of the row that claimed it.
    """
    body = f"{sentence}\n".encode()
    return origin_pb2.Plan(
        result=result.value,  # type: ignore[arg-type]
        status=status_of(result, format_name),
        content_type="text/plain; charset=utf-8",
        headers=[origin_pb2.Header(name=name, value=value) for name, value in headers],
        parts=[origin_pb2.Part(inline=body)],
        length=len(body),
        cache_class=origin_pb2.CACHE_NONE,
        format=playout_of(format_name),
        kind=kind,
    )
