"""Many ranges of one file as steps from one to the next, and when they are not."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from sidecar.mux.plan import CacheClass, FileRanges, Plan
from sidecar.rpc import origin_pb2
from sidecar.service.convert import SourceTable, write_plan
from sidecar.storage.source import SourceIdentity

FILE = SourceIdentity("/media/a.mp4", 1 << 40, 1, 2)
MANY = 1024


def message(ranges: list[tuple[int, int]]) -> origin_pb2.Plan:
    offset, length = np.array(ranges, dtype=np.int64).T
    plan = Plan(
        parts=(FileRanges(FILE, offset, length),),
        content_type="audio/mp4",
        cache_class=CacheClass.MEDIA,
    )
    made = origin_pb2.Plan()
    write_plan(made, plan, SourceTable([FILE], 0))
    return made


def ranges_of(file: origin_pb2.FileRanges) -> list[tuple[int, int]]:
    if not file.steps:
        return list(zip(file.offset, file.length, strict=True))
    found, at = [], file.begin
    for gap, size in struct.iter_unpack("<II", file.steps):
        found.append((at + gap, size))
        at += gap + size
    return found


@pytest.mark.parametrize("begin", [0, 5, 1 << 39])
def test_ranges_in_the_order_of_their_file_take_8_bytes_each(begin: int) -> None:
    chance = random.Random(begin)
    sizes = (0, 1, 5000, (1 << 32) - 1)
    steps = [(chance.choice(sizes), chance.choice(sizes[1:])) for _ in range(MANY)]
    ranges = []
    for gap, size in steps:
        ranges.append((begin + gap, size))
        begin += gap + size
    made = message(ranges)
    (part,) = made.parts
    assert ranges_of(part.file) == ranges
    assert not part.file.offset and len(part.file.steps) == 8 * len(ranges)
    assert made.length == sum(size for _, size in ranges)


ASCENDING = [(100 * at, 60) for at in range(MANY)]


@pytest.mark.parametrize(
    "ranges",
    [
        ASCENDING[: MANY - 1],
        ASCENDING[::-1],
        [*ASCENDING[1:], ASCENDING[0]],
        [*ASCENDING, (1 << 37, 5)],
        [*ASCENDING, (200_000, (1 << 32) + 1)],
    ],
)
def test_others_have_offset_and_length(ranges: list[tuple[int, int]]) -> None:
    (part,) = message(ranges).parts
    assert not part.file.steps and ranges_of(part.file) == ranges


def test_the_tag_is_that_of_all_ranges() -> None:
    tags = {
        message(ranges).etag
        for ranges in (
            ASCENDING,
            [(at + 1, size) for at, size in ASCENDING],
            [*ASCENDING[:-1], (100 * MANY - 100, 59)],
            [*ASCENDING[:-1], (100 * MANY - 99, 60)],
        )
    }
    assert len(tags) == 4
