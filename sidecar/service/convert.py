"""Plans as messages of the gRPC contract: the only code that knows both."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from sidecar.errors import Result
from sidecar.mux.plan import FileRanges, Inline, Plan
from sidecar.rpc import origin_pb2
from sidecar.service.statuses import status_of
from sidecar.storage.source import SourceIdentity


class SourceTable:
    """The files of a presentation as every plan of it lists them."""

    def __init__(self, identities: Iterable[SourceIdentity]) -> None:
        self.messages: list[origin_pb2.Source] = []
        self._position: dict[str, int] = {}
        for identity in identities:
            self.position(identity)

    def position(self, identity: SourceIdentity) -> int:
        """Index of ``identity`` in ``messages``; appended when it is new."""
        position = self._position.get(identity.path)
        if position is None:
            position = self._position[identity.path] = len(self.messages)
            self.messages.append(
                origin_pb2.Source(
                    path=identity.path,
                    size=identity.size,
                    mtime_ns=identity.mtime_ns,
                    inode=identity.inode,
                )
            )
        return position


def write_plan(
    message: origin_pb2.Plan, plan: Plan, sources: SourceTable, last_modified: int
) -> None:
    """Fills the empty ``message`` with a successful ``plan``; ``last_modified`` in Unix seconds.

    The entity tag covers everything that the body depends on: inline bytes, ranges, and size and
    mtime of each file, not its path or inode, so that two origins with copies of a file agree.
    """
    digest = blake2b(plan.content_type.encode(), digest_size=10)
    length = 0
    for part in plan.parts:
        length += part.length
        match part:
            case Inline(data):
                message.parts.add().inline = data
                digest.update(b"i%d:" % len(data))
                digest.update(data)
            case FileRanges(source, offset, lengths):
                ranges = message.parts.add().file
                # proto3 leaves 0 out, and touching the field selects it in the oneof.
                ranges.source = sources.position(source)
                ranges.offset.extend(offset.tolist())
                ranges.length.extend(lengths.tolist())
                digest.update(b"f%d:%d:%d:" % (source.size, source.mtime_ns, len(offset)))
                digest.update(offset.tobytes())
                digest.update(lengths.tobytes())
    message.status = status_of(Result.FMP4_OK)
    message.content_type = plan.content_type
    message.length = length
    message.cache_class = plan.cache_class.value  # type: ignore[assignment]
    message.etag = f'"{digest.hexdigest()}"'
    message.last_modified = last_modified
    for name, value in plan.headers:
        message.headers.add(name=name, value=value)
    message.sources.extend(sources.messages)


def refusal(
    result: Result,
    sentence: str,
    format_name: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> origin_pb2.Plan:
    """The plan of a request that ended in ``result``: a status and one sentence, never cached."""
    body = f"{sentence}\n".encode()
    return origin_pb2.Plan(
        result=result.value,  # type: ignore[arg-type]
        status=status_of(result, format_name),
        content_type="text/plain; charset=utf-8",
        headers=[origin_pb2.Header(name=name, value=value) for name, value in headers],
        parts=[origin_pb2.Part(inline=body)],
        length=len(body),
        cache_class=origin_pb2.CACHE_NONE,
    )
