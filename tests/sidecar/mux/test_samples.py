"""Sample bytes: the same whatever lies between the samples, in few reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import UnsupportedMedia
from sidecar.mux import samples as module
from sidecar.mux.samples import read_samples
from sidecar.storage.source import SourceIdentity
from tests.support.tracks import audio_track, video_track


class File:
    """Counts reads of bytes that tell their own position."""

    def __init__(self) -> None:
        self.reads: list[int] = []

    def __call__(self, identity: SourceIdentity, offset: int, length: int) -> bytes:
        self.reads.append(length)
        return np.arange(offset, offset + length, dtype=np.uint64).astype(np.uint8).tobytes()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 120_000)), min_size=1, max_size=12),
       st.randoms(use_true_random=False))  # fmt: skip
def test_every_sample_is_found(pairs: list[tuple[int, int]], random: object) -> None:
    track = audio_track(seconds=1)
    sizes = np.array([size for size, _ in pairs], dtype=np.uint32)
    gaps = np.array([gap for _, gap in pairs], dtype=np.int64)
    offset = np.cumsum(gaps + sizes) - sizes
    order = np.array(sorted(range(len(pairs)), key=lambda _: random.random()))  # type: ignore[attr-defined]
    columns = replace_columns(track, sizes[order], offset[order])
    file = File()
    (found,) = read_samples(file, [(columns, 0, len(pairs))])
    for at, (size, begin) in enumerate(zip(sizes[order].tolist(), offset[order].tolist(),
                                           strict=True)):  # fmt: skip
        position = int(found.position[at])
        wanted = bytes((begin + i) & 0xFF for i in range(size))
        assert size == 0 or found.data[position : position + size] == wanted
    assert sum(file.reads) <= int(sizes.sum()) + (4 << 20)


def replace_columns(track: object, size: np.ndarray, offset: np.ndarray) -> object:
    from sidecar.media.track import Samples

    count = len(size)
    return replace(
        track,  # type: ignore[type-var]
        samples=Samples(
            decode_time=np.arange(count + 1, dtype=np.int64) * 1024,
            composition_offset=None,
            size=size,
            offset=offset,
            sync=None,
            fragment_start=None,
        ),
    )


def test_interleaved_tracks_of_one_file_share_a_read() -> None:
    video = video_track(seconds=4)
    sound = audio_track(seconds=4)
    shift = int(sound.samples.offset[0]) - 48
    moved = replace_columns(sound, sound.samples.size, sound.samples.offset - shift)
    file = File()
    found = read_samples(file, [(video, 0, 100), (moved, 0, 100)])  # type: ignore[list-item]
    assert len(file.reads) == 1
    assert found[0].data is found[1].data


def test_sound_between_pictures_is_read_in_one_go_and_far_apart_piece_by_piece() -> None:
    near, far = File(), File()
    sound = audio_track(seconds=4)
    read_samples(near, [(sound, 0, 187)])
    assert len(near.reads) == 1, "gaps of 12 KB cost less than reads"
    spread = replace_columns(sound, sound.samples.size, sound.samples.offset * 8)
    read_samples(far, [(spread, 0, 187)])  # type: ignore[list-item]
    assert len(far.reads) == 187


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    video = video_track(seconds=4)
    with pytest.raises(UnsupportedMedia, match="too long to be rewritten"):
        read_samples(File(), [(video, 0, 100)])


def test_nothing_is_read_of_empty_samples() -> None:
    sound = audio_track(seconds=1)
    empty = replace_columns(sound, np.zeros(5, np.uint32), np.arange(5, dtype=np.int64))
    file = File()
    read_samples(file, [(empty, 0, 5)])  # type: ignore[list-item]
    assert not file.reads
