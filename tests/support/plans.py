"""The bodies of plans, put together without a server."""

from __future__ import annotations

from sidecar.mux.plan import FileRanges, HeadedRanges, Inline, Plan
from sidecar.service.reader import MediaReader


def body(plan: Plan) -> bytes:
    """All bytes of ``plan``, as many as it says; ranges are read from their files."""
    read = MediaReader()
    pieces: list[bytes] = []
    for part in plan.parts:
        match part:
            case Inline(data):
                pieces.append(data)
            case FileRanges(source, offset, lengths):
                for at, length in zip(offset.tolist(), lengths.tolist(), strict=True):
                    pieces.append(read(source, at, length))
            case HeadedRanges(sources, which, offset, lengths, heads):
                rows = zip(which.tolist(), offset.tolist(), lengths.tolist(), heads, strict=True)
                for file, at, length, head in rows:
                    pieces += [head, read(sources[file], at, length)]
            case _:
                raise AssertionError(f"no bytes for {type(part).__name__}")
    read.close()
    joined = b"".join(pieces)
    assert len(joined) == plan.length
    return joined
