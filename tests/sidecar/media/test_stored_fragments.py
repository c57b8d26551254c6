"""Which fragments of a file can be handed out as they lie in it, and where they lie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sidecar.media.index import index_media
from sidecar.media.track import MediaFile
from tests.support.isobmff import boxes
from tests.support.media import generated
from tests.support.memory_source import MemorySource


def indexed(data: bytes) -> MediaFile:
    return index_media(MemorySource(data))


def source(name: str) -> bytes:
    return generated(name).read_bytes()


@pytest.mark.parametrize("name", ["frag_stored.mp4", "frag_piff.ismv"])
def test_every_fragment_is_a_moof_with_its_mdat(name: str) -> None:
    data = source(name)
    top = list(boxes(data))
    expected = {
        (body - 8, end - body + 8, top[at + 1][2] - body + 8)
        for at, (kind, body, end) in enumerate(top)
        if kind == "moof"
    }
    found = set()
    for track in indexed(data).tracks:
        stored = track.samples.stored
        assert stored is not None and track.samples.fragment_start is not None
        assert len(stored.offset) == len(track.samples.fragment_start)
        found |= set(zip(*(column.tolist() for column in (
            stored.offset, stored.moof_length, stored.length)), strict=True))  # fmt: skip
        # Its samples lie in it.
        at = np.append(track.samples.fragment_start, len(track.samples))
        ends = track.samples.offset + track.samples.size
        for row, (first, last) in enumerate(pairwise(at.tolist())):
            begin = int(stored.offset[row] + stored.moof_length[row])
            assert begin <= int(track.samples.offset[first:last].min())
            assert int(ends[first:last].max()) <= int(stored.offset[row] + stored.length[row])
    assert found == expected


def test_times_are_those_of_the_file() -> None:
    audio = indexed(source("frag_piff.ismv")).tracks[1]
    stored = audio.samples.stored
    assert stored is not None
    assert stored.time[0] == -213_333 and audio.edit_media_time == 213_333
    assert (np.diff(stored.time) > 0).all()
    presented = audio.presentation_time()[audio.samples.fragment_start]
    assert (stored.time[:-1] + stored.moved).tolist() == presented.tolist()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("frag_plain.mp4", "several tracks to a fragment"),
        ("frag_separate.mp4", "offsets of the file"),
        ("frag_partial.mp4", "samples in the moov"),
        ("bframes_closed.mp4", "no fragments"),
    ],
)
def test_others_are_not(name: str, why: str) -> None:
    assert all(track.samples.stored is None for track in indexed(source(name)).tracks), why


def test_a_box_between_moof_and_mdat_keeps_them_apart() -> None:
    data = source("frag_piff.ismv")
    mdat = next(body - 8 for kind, body, _ in boxes(data) if kind == "mdat")
    # A fragment whose mdat is called otherwise: nothing that stands behind the moof is its mdat.
    other = data[: mdat + 4] + b"free" + data[mdat + 8 :]
    video, audio = indexed(other).tracks
    assert video.samples.stored is None
    assert audio.samples.stored is not None


def test_a_fragment_that_is_not_presented_whole_is_not_handed_out() -> None:
    data = source("frag_piff.ismv")
    # The last fragment is cut off: what is left is there as it was.
    last = [body - 8 for kind, body, _ in boxes(data) if kind == "moof"][-1]
    cut = indexed(data[: last + 40])
    assert cut.skipped
    whole = indexed(data).tracks[0].samples.stored
    stored = cut.tracks[0].samples.stored
    assert stored is not None and whole is not None
    assert stored.offset.tolist() == whole.offset.tolist()[: len(stored.offset)]
