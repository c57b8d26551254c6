"""Synthetic tracks and presentations: sample columns without a file behind them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from sidecar.boxes.write import box
from sidecar.codecs.facts import AudioFacts, TextFacts, VideoFacts
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind, Samples, Track
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.segmenter import SegmentPolicy
from tests.support.bitwriter import sound_entry, visual_entry

SOURCE = SourceIdentity("/media/video.mp4", 1 << 40, 1_700_000_000_000_000_000, 7)


def policy(video: float | Fraction, audio: float | Fraction | None = None) -> SegmentPolicy:
    """Minimum lengths in seconds; one for all kinds when only one is given."""
    other = Fraction(video if audio is None else audio)
    return SegmentPolicy(video=Fraction(video), audio=other, text=other)


def video_track(
    *,
    seconds: float = 60.0,
    fps: Fraction | int = 25,
    gop: int | Sequence[int] = 50,
    timescale: int = 12800,
    b_frames: bool = False,
    open_gop: bool = False,
    start: int = 0,
    size: int = 12_600,
    fragments: Sequence[int] | None = None,
    facts: VideoFacts | None = None,
    all_sync: bool = False,
    source: SourceIdentity = SOURCE,
    seed: int = 1,
) -> Track:
    """A video track whose GOPs hold ``gop`` pictures each (a sequence is cycled).

    ``b_frames``: two B-pictures between references, in decode order I P B B; with ``open_gop``
    every GOP but the first begins with two leading pictures. ``start``: ticks before the first.
    """
    count = max(1, round(seconds * Fraction(fps)))
    tick = Fraction(timescale) / Fraction(fps)
    display = np.array([int(tick * index) for index in range(count + 1)], dtype=np.int64)
    sync = np.zeros(count, dtype=np.bool_)
    lengths = [gop] if isinstance(gop, int) else list(gop)
    at, turn = 0, 0
    while at < count:
        sync[at] = True
        at += lengths[turn % len(lengths)]
        turn += 1
    order = np.arange(count)
    # The sync sample is the first of its GOP in decode order, so the column stays as it is.
    if b_frames:
        order = _decode_order(count, np.flatnonzero(sync), open_gop)
    decode_time = display + start
    offset = (display[order] - display[:-1]).astype(np.int32)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(size // 2, size * 3 // 2, count).astype(np.uint32)
    gaps = rng.integers(0, 2, count) * 700
    positions = 48 + np.concatenate(([0], np.cumsum(sizes + gaps)[:-1])).astype(np.int64)
    return Track(
        kind=Kind.VIDEO,
        track_id=1,
        timescale=timescale,
        language=None,
        handler_name="VideoHandler",
        sample_entry_box=visual_entry(b"avc1", box(b"avcC", b"configuration")),
        facts=facts or video_facts(),
        edit_media_time=0,
        samples=Samples(
            decode_time=decode_time,
            composition_offset=offset if b_frames else None,
            size=sizes,
            offset=positions,
            sync=None if all_sync else sync,
            fragment_start=None if fragments is None else np.array(fragments, dtype=np.int64),
        ),
        source=source,
    )


def _decode_order(count: int, sync: np.ndarray, open_gop: bool) -> np.ndarray:
    """Display index of every sample in decode order, I P B B P B B ..."""
    order: list[int] = []
    bounds = [*sync.tolist(), count]
    for begin, end in pairwise(bounds):
        if open_gop and begin and begin + 2 < end:
            # The I-picture is displayed third: two leading B-pictures come before it.
            order += [begin + 2, begin, begin + 1]
            at = begin + 3
        else:
            order.append(begin)
            at = begin + 1
        while at < end:
            reference = min(at + 2, end - 1)
            order += [reference, *range(at, reference)]
            at = reference + 1
    return np.array(order)


def audio_track(
    *,
    seconds: float = 60.0,
    rate: int = 48_000,
    frame: int = 1024,
    edit_media_time: int = 0,
    start: int = 0,
    size: int = 350,
    fragments: Sequence[int] | None = None,
    facts: AudioFacts | None = None,
    language: str | None = None,
    source: SourceIdentity = SOURCE,
    seed: int = 2,
    track_id: int = 2,
) -> Track:
    """An audio track of constant frames that end at ``seconds`` or up to a frame later."""
    count = max(1, int(np.ceil((seconds * rate + edit_media_time - start) / frame)))
    rng = np.random.default_rng(seed)
    sizes = rng.integers(size // 2, size * 3 // 2, count).astype(np.uint32)
    positions = (1 << 30) + np.concatenate(([0], np.cumsum(sizes + 12_600)[:-1])).astype(np.int64)
    return Track(
        kind=Kind.AUDIO,
        track_id=track_id,
        timescale=rate,
        language=language,
        handler_name="SoundHandler",
        sample_entry_box=sound_entry(b"mp4a", box(b"esds", b"configuration")),
        facts=facts or audio_facts(sampling_rate=rate),
        edit_media_time=edit_media_time,
        samples=Samples(
            decode_time=start + frame * np.arange(count + 1, dtype=np.int64),
            composition_offset=None,
            size=sizes,
            offset=positions,
            sync=None,
            fragment_start=None if fragments is None else np.array(fragments, dtype=np.int64),
        ),
        source=source,
    )


def text_track(*, cues: Sequence[tuple[int, int]], timescale: int = 1000) -> Track:
    """A text track; ``cues``: (start, duration) in ticks, contiguous."""
    starts = [start for start, _ in cues]
    end = cues[-1][0] + cues[-1][1]
    return Track(
        kind=Kind.TEXT,
        track_id=3,
        timescale=timescale,
        language="eng",
        handler_name="",
        sample_entry_box=box(b"stpp", b"configuration"),
        facts=TextFacts(codec="stpp.ttml.im1t", sample_entry="stpp", fourcc="TTML"),
        edit_media_time=0,
        samples=Samples(
            decode_time=np.array([*starts, end], dtype=np.int64),
            composition_offset=None,
            size=np.full(len(cues), 500, dtype=np.uint32),
            offset=1000 + 500 * np.arange(len(cues), dtype=np.int64),
            sync=None,
            fragment_start=None,
        ),
        source=SOURCE,
    )


def video_facts(
    *, width: int = 1280, height: int = 720, codec: str = "avc1.64001F", **other: object
) -> VideoFacts:
    entry = codec.partition(".")[0]
    return VideoFacts(
        codec=codec,
        sample_entry=entry,
        fourcc=entry.upper(),
        width=width,
        height=height,
        **other,  # type: ignore[arg-type]
    )


def audio_facts(
    *, codec: str = "mp4a.40.2", fourcc: str = "AACL", channels: int = 2, sampling_rate: int = 48000
) -> AudioFacts:
    return AudioFacts(
        codec=codec,
        sample_entry=codec.partition(".")[0],
        fourcc=fourcc,
        sampling_rate=sampling_rate,
        channels=channels,
        samples_per_frame=1024,
        channel_configuration=(
            "urn:mpeg:dash:23003:3:audio_channel_configuration:2011",
            str(channels),
        ),
        hls_channels=str(channels),
        # AudioSpecificConfig: AAC LC, 48 kHz, two channels.
        codec_private_data=b"\x11\x90",
    )


def rendition(
    track: Track,
    *,
    name: str | None = None,
    bitrate: int = 1000,
    language: str | None = None,
    label: str | None = None,
    role: str | None = None,
) -> Rendition:
    return Rendition(
        name=name or str(track.kind),
        bitrate=bitrate,
        language=language or track.language,
        label=label,
        role=role,
        track=track,
    )


def presentation(*renditions: Rendition, name: str = "video") -> Presentation:
    """Renditions in the order that presentations have: audio, text, video, each by bitrate."""
    kinds = [Kind.AUDIO, Kind.TEXT, Kind.VIDEO]
    ordered = sorted(renditions, key=lambda r: (kinds.index(r.kind), r.bitrate))
    return Presentation(
        name=name,
        renditions=tuple(ordered),
        options={},
        sources=tuple(dict.fromkeys(r.track.source for r in renditions)),
        last_modified_ns=SOURCE.mtime_ns,
    )


def options(**given: object) -> Options:
    return Options(**given)  # type: ignore[arg-type]
