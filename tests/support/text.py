"""Text in media files: an independent reader of WebVTT samples, and tracks of given samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sidecar.boxes.write import box
from sidecar.codecs.facts import TextFacts
from sidecar.media.track import Samples, Track
from tests.support.isobmff import boxes
from tests.support.tracks import text_track


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a WebVTT sample shows of one cue."""

    payload: str
    settings: str = ""
    identifier: str = ""


def decode_wvtt(sample: bytes) -> list[Shown]:
    """The cues of a sample (ISO/IEC 14496-30 7.4); an empty one holds ``vtte`` alone."""
    found = []
    names = [name for name, _, _ in boxes(sample)]
    assert names == ["vtte"] or set(names) == {"vttc"}, names
    for name, begin, end in boxes(sample):
        if name == "vttc":
            inside = {kind: sample[a:b].decode() for kind, a, b in boxes(sample, begin, end)
                      if kind != "vsid"}  # fmt: skip
            assert set(inside) <= {"iden", "sttg", "payl", "ctim"}
            found.append(
                Shown(
                    payload=inside["payl"],
                    settings=inside.get("sttg", ""),
                    identifier=inside.get("iden", ""),
                )
            )
    return found


def stored_track(
    samples: Sequence[tuple[int, bytes]], *, entry: str, timescale: int, start: int = 0
) -> tuple[Track, bytes, list[int]]:
    """A track of (duration, bytes) from ``start`` on, in ticks; its file; an empty list."""
    base = text_track(cues=[(0, 1)], timescale=timescale)
    size = np.array([len(data) for _, data in samples], dtype=np.uint32)
    file = bytes(100) + b"".join(data for _, data in samples)
    durations = [duration for duration, _ in samples]
    columns = Samples(
        decode_time=start + np.concatenate(([0], np.cumsum(durations))).astype(np.int64),
        composition_offset=None,
        size=size,
        offset=100 + np.concatenate(([0], np.cumsum(size)[:-1])).astype(np.int64),
        sync=None,
        fragment_start=None,
    )
    configuration = box(b"vttC", b"WEBVTT") if entry == "wvtt" else b"ns\0\0\0"
    track = replace(
        base,
        sample_entry_box=box(entry.encode(), bytes(6) + b"\0\1", configuration),
        facts=TextFacts(
            codec="wvtt" if entry == "wvtt" else "stpp.ttml.im1t",
            sample_entry=entry,
            fourcc="WVTT" if entry == "wvtt" else "TTML",
        ),
        samples=columns,
    )
    return track, file, []
