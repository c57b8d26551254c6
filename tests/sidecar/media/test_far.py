"""What indexing reads of fragmented files on other servers is said before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.media.index import index_media
from tests.support.media import generated
from tests.support.memory_source import MemorySource


def indexed(data: bytes, *, is_far: bool) -> MemorySource:
    source = MemorySource(data)
    if is_far:
        source.identity = replace(source.identity, path="http://storage.example/a.mp4", inode=0)
    media = index_media(source)
    assert media.tracks
    return source


def without_mfra(data: bytes) -> bytes:
    at = data.rfind(b"mfra") - 4
    assert at > 0
    return data[:at]


@pytest.mark.parametrize("file", ["frag_piff.ismv", "frag_sidx.mp4"])
def test_fragments_are_expected(file: str) -> None:
    data = generated(file).read_bytes()
    source = indexed(data, is_far=True)
    near = indexed(data, is_far=False)
    moofs = [at for at, _ in near.reads if data[at + 4 : at + 8] in (b"moof", b"styp", b"sidx")]
    expected = [span for span in source.expected if span[1] - span[0] > 4096]
    assert len(moofs) > 2
    for at in moofs[1:]:
        assert any(first <= at and at + 1000 <= end for first, end in expected), at
    assert all(0 <= first < end <= len(data) for first, end in source.expected)


def test_nothing_is_said_of_local_fragments() -> None:
    near = indexed(generated("frag_plain.mp4").read_bytes(), is_far=False)
    assert all(end - first <= 4096 for first, end in near.expected)


def test_hints_that_are_wrong_change_nothing() -> None:
    data = generated("frag_piff.ismv").read_bytes()
    right = index_media(MemorySource(data))
    for wrong in (without_mfra(data), data[:-4] + b"\xff\xff\xff\xf0", data[:-1] + b"\0"):
        source = MemorySource(wrong, path="https://storage.example/a.mp4")
        media = index_media(source)
        assert [len(track.samples) for track in media.tracks] == [
            len(track.samples) for track in right.tracks
        ]
    at = data.rfind(b"tfra")
    broken = data[: at + 16] + b"\xff\xff\xff\xff" + data[at + 20 :]
    source = MemorySource(broken, path="https://storage.example/a.mp4")
    assert len(index_media(source).tracks) == len(right.tracks)
