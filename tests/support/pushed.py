"""What encoders push, made by hand: headers and fragments without a real codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sidecar.boxes.movie import SampleDefaults
from sidecar.boxes.write import box
from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.live.index import PointIndex
from sidecar.live.model import Fragment, Header, IncomingTrack, SampleTable, TrackFragment
from sidecar.media.options import parse_options
from sidecar.media.track import Kind

SECOND = 1_000_000_000
# A day in 2023.
NOW = 1_700_000_000 * SECOND
# Fragments last two seconds; pictures come every 40 ms.
GOP = 2
VIDEO_SCALE, AUDIO_SCALE = 1000, 48_000


def track(track_id: int, kind: Kind, bitrate: int | None = None) -> IncomingTrack:
    video = VideoFacts(codec="avc1", sample_entry="avc1", fourcc="AVC1", width=640, height=360)
    audio = AudioFacts(
        codec="mp4a.40.2",
        sample_entry="mp4a",
        fourcc="AACL",
        sampling_rate=AUDIO_SCALE,
        channels=2,
        samples_per_frame=1024,
        channel_configuration=("", "2"),
        hls_channels="2",
    )
    return IncomingTrack(
        track_ID=track_id,
        kind=kind,
        timescale=VIDEO_SCALE if kind is Kind.VIDEO else AUDIO_SCALE,
        language=None if kind is Kind.VIDEO else "eng",
        handler_name="",
        sample_entry_box=b"",
        facts=video if kind is Kind.VIDEO else audio,
        defaults=SampleDefaults(),
        bitrate=bitrate,
    )


def header(*tracks: IncomingTrack, digest: bytes = b"1") -> Header:
    given = tracks or (track(1, Kind.VIDEO), track(2, Kind.AUDIO))
    data = box(b"ftyp", b"iso6") + box(b"moov", digest)
    return Header(data=data, digest=digest, tracks=given)


def samples(count: int, duration: int, size: int, at: int, *, video: bool) -> SampleTable:
    return SampleTable(
        duration=np.full(count, duration, np.uint32),
        size=np.full(count, size, np.uint32),
        composition_offset=None,
        sync=np.arange(count) == 0 if video else None,
        offset=at + np.arange(count, dtype=np.int64) * size,
    )


def part(
    track_id: int, time: int, count: int, duration: int, at: int, *, video: bool, size: int = 10
) -> TrackFragment:
    return TrackFragment(
        track_ID=track_id,
        time=time,
        duration=count * duration,
        begins=True,
        samples=samples(count, duration, size, at, video=video),
    )


def wrapped(*parts: TrackFragment, fill: bytes = b"") -> Fragment:
    """``parts`` with bytes that tell them from all others."""
    named = repr([(one.track_ID, one.time) for one in parts]).encode()
    length = max(int(one.samples.offset[-1] + one.samples.size[-1]) for one in parts)
    data = box(b"moof", b"") + box(b"mdat", fill + named + bytes(length))
    return Fragment(data=data, moof=0, tracks=parts)


def video(second: int, length: int = GOP, *, track_id: int = 1, shift: int = 0) -> Fragment:
    """Pictures from ``second`` on, ``shift`` ticks (ms) later."""
    time = second * VIDEO_SCALE + shift
    return wrapped(part(track_id, time, 25 * length, 40, 16, video=True))


def audio(second: int, length: int = GOP, *, track_id: int = 2) -> Fragment:
    """Sound from ``second`` on, in whole frames."""
    first, last = (-(-n * AUDIO_SCALE // 1024) for n in (second, second + length))
    return wrapped(part(track_id, first * 1024, last - first, 1024, 16, video=False))


def both(second: int, length: int = GOP) -> Fragment:
    pictures, sound = video(second, length).tracks[0], audio(second, length).tracks[0]
    return wrapped(pictures, sound)


def manifest(folder: Path, **options: object) -> tuple[Path, object]:
    """Path and options of a publishing point."""
    return folder / "ch.isml", parse_options(
        {name: str(text) for name, text in options.items()}, ""
    )


def content(index: PointIndex) -> list[tuple[object, ...]]:
    """All that is said of media, without where it lies and when it came."""
    return index.all(
        "SELECT stream, track_ID, time, duration, sequence, begins, samples, checksum "
        "FROM fragment JOIN track ON track.id = fragment.track ORDER BY 1, 2, 3"
    )


def times(index: PointIndex, track: int = 1) -> list[int]:
    return [
        row[0] for row in index.all("SELECT time FROM fragment WHERE track = ? ORDER BY 1", track)
    ]
