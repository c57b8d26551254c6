"""The bodies of plans, put together without a server."""

from __future__ import annotations

from sidecar.mux.plan import (
    OF_INLINE,
    Composed,
    FileRanges,
    HeadedRanges,
    Inline,
    MixedRanges,
    Plan,
)
from sidecar.service.reader import MediaReader
from sidecar.storage.source import ReadRange


def body(plan: Plan, read: ReadRange | None = None) -> bytes:
    """All bytes of ``plan``, as many as it says; ranges are what ``read`` says, or the files."""
    files = MediaReader()
    read = read or files
    pieces: list[bytes] = []
    for part in plan.parts:
        match part:
            case Inline() | Composed():
                pieces.append(part.data)
            case FileRanges(source, offset, lengths):
                for at, length in zip(offset.tolist(), lengths.tolist(), strict=True):
                    pieces.append(read(source, at, length))
            case HeadedRanges(sources, which, offset, lengths, heads):
                headed = zip(which.tolist(), offset.tolist(), lengths.tolist(), heads, strict=True)
                for file, at, length, head in headed:
                    pieces += [head, read(sources[file], at, length)]
            case MixedRanges(sources, which, offset, lengths, inline):
                rows = zip(which.tolist(), offset.tolist(), lengths.tolist(), strict=True)
                for file, at, length in rows:
                    if file == OF_INLINE:
                        assert at + length <= len(inline)
                        pieces.append(inline[at : at + length])
                    else:
                        pieces.append(read(sources[file], at, length))
            case _:
                raise AssertionError(f"no bytes for {type(part).__name__}")
    files.close()
    joined = b"".join(pieces)
    assert len(joined) == plan.length
    return joined
