"""Plans with a header before every sample: their encoding, as protobuf reads it."""

from __future__ import annotations

import numpy as np
import pytest

from sidecar.mux.plan import CacheClass, HeadedRanges, MixedRanges, Part, Plan
from sidecar.rpc import origin_pb2
from sidecar.service.convert import SourceTable, write_plan
from sidecar.storage.source import SourceIdentity

FILES = tuple(
    SourceIdentity(f"/media/{name}.mp4", 1 << 40, mtime, mtime)
    for mtime, name in enumerate(("video", "audio"), start=5)
)


def encoded(*parts: Part, known: tuple[SourceIdentity, ...] = FILES) -> origin_pb2.Plan:
    message = origin_pb2.Plan()
    plan = Plan(parts=parts, content_type="video/f4f", cache_class=CacheClass.MEDIA)
    write_plan(message, plan, SourceTable(known, 0))
    return origin_pb2.Plan.FromString(message.SerializeToString())


def headed(heads: tuple[bytes, ...]) -> HeadedRanges:
    count = len(heads)
    return HeadedRanges(
        FILES,
        np.arange(count, dtype=np.int64) % 2,
        1000 + (np.arange(count, dtype=np.int64) << 33),
        np.arange(1, count + 1, dtype=np.int64) * 70_000,
        heads,
    )


def pieces(plan: origin_pb2.Plan) -> list[tuple[str, int, int] | bytes]:
    """(file, offset, length) of ranges, and bytes, in the order of the body."""
    found: list[tuple[str, int, int] | bytes] = []
    for part in plan.parts:
        columns = (part.file.sources, part.file.offset, part.file.length)
        for source, offset, length in zip(*columns, strict=True):
            if source == 2**64 - 1:
                found.append(part.file.inline[offset : offset + length])
                assert len(found[-1]) == length
            else:
                found.append((plan.sources[source].path, offset, length))
    return found


def test_ranges_of_files_and_of_bytes_take_turns_as_they_like() -> None:
    which = np.array([-1, 0, 0, -1, 1], dtype=np.int64)
    offset = np.array([3, 10, 5, 0, 7], dtype=np.int64)
    part = MixedRanges(FILES, which, offset, offset + 1, b"abcdefgh")
    video, audio = (file.path for file in FILES)
    found = encoded(part)
    assert pieces(found) == [b"defg", (video, 10, 11), (video, 5, 6), b"a", (audio, 7, 8)]
    assert found.length == 30
    other = MixedRanges(FILES, which, offset, offset + 1, b"abcdefgH")
    assert encoded(other).etag != found.etag


@pytest.mark.parametrize("size", [1, 20, 127, 128, 20_000])
def test_heads_and_ranges_take_turns(size: int) -> None:
    part = headed(tuple(bytes([at]) * (size + at) for at in range(1, 6)))
    expected: list[tuple[str, int, int] | bytes] = []
    for at, head in enumerate(part.heads):
        file = FILES[part.which[at]].path
        expected += [head, (file, int(part.offset[at]), int(part.lengths[at]))]
    found = encoded(part)
    assert pieces(found) == expected
    assert (
        found.length
        == part.length
        == sum(len(piece) if isinstance(piece, bytes) else piece[2] for piece in expected)
    )
    assert [source.path for source in found.sources] == [file.path for file in FILES]


def test_files_far_down_the_list() -> None:
    others = tuple(SourceIdentity(f"/media/{at}", 1, 1, 1) for at in range(200))
    found = encoded(headed((b"a", b"b")), known=others)
    (part,) = found.parts
    assert list(part.file.sources) == [2**64 - 1, 200, 2**64 - 1, 201]


def test_the_entity_tag_covers_heads_and_ranges() -> None:
    base = headed((b"ab", b"cd"))
    variants = [
        headed((b"ab", b"ce")),
        headed((b"abc", b"d")),
        HeadedRanges(FILES, base.which[::-1], base.offset, base.lengths, base.heads),
        HeadedRanges(FILES, base.which, base.offset + 1, base.lengths, base.heads),
        HeadedRanges(FILES, base.which, base.offset, base.lengths + 1, base.heads),
        HeadedRanges((FILES[0], FILES[0]), base.which, base.offset, base.lengths, base.heads),
    ]
    tags = {encoded(part).etag for part in (base, *variants)}
    assert len(tags) == 1 + len(variants)
    assert encoded(base).etag == encoded(base).etag
