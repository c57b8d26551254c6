"""The master playlist (RFC 8216 4.3.4)."""

from __future__ import annotations

from sidecar.codecs.facts import VideoFacts
from sidecar.formats.hls.groups import AudioGroup, audio_families, pairs
from sidecar.formats.hls.tags import head, quoted, tag
from sidecar.formats.urls import stem, suffix
from sidecar.media.languages import bcp47
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.movie import display_size
from sidecar.mux.rates import BitRates, bit_rates, frame_rate, key_frame_rates
from sidecar.timeline.segmenter import SegmentPolicy, Timeline
from sidecar.units import decimal


def master_playlist(
    presentation: Presentation, timeline: Timeline, policy: SegmentPolicy, options: Options
) -> str:
    """All renditions as variants, audio groups and I-frame variants.

    Variants name video-only playlists; audio comes from the groups. Presentations without video,
    and those of which audio-only variants are wanted, get one variant for each group. Bit rates
    are measured (``bit_rates``): those of a variant are the video's and the group's largest.
    """
    video, audio = presentation.of_kind(Kind.VIDEO), presentation.of_kind(Kind.AUDIO)
    query = suffix(options)
    lists = {r.selector: timeline.segments(r, policy) for r in (*video, *audio)}
    rates = {r.selector: bit_rates(r.track, lists[r.selector]) for r in (*video, *audio)}
    families = audio_families(presentation)
    lines = head(options)
    if all(segments.closed for segments in lists.values()):
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")

    if families:
        lines += ["", "# AUDIO groups"]
        lines += [
            _media(presentation, group, index, query)
            for family in families
            for group in family
            for index in range(len(group.members))
        ]
    if video:
        lines += ["", "# variants"]
        for rendition, group in _variants(video, families):
            lines += [
                _stream(rendition, group, _together(rates, rendition, group)),
                f"{stem(presentation, rendition)}.m3u8{query}",
            ]
    if families and not (video and options.hls_no_audio_only):
        lines += ["", "# variants"]
        for family in families:
            for group in family:
                lines += [
                    _stream(None, group, _together(rates, None, group)),
                    f"{stem(presentation, group.members[0].rendition)}.m3u8{query}",
                ]
    key_frames = [
        _key_frame_stream(presentation, rendition, timeline, query) for rendition in video
    ]
    if any(key_frames):
        lines += ["", "# keyframes", *filter(None, key_frames)]
    return "\n".join([*lines, ""])


def _variants(
    video: tuple[Rendition, ...], families: list[list[AudioGroup]]
) -> list[tuple[Rendition, AudioGroup | None]]:
    """(video, audio group or None), videos in their order, each with groups of every family."""
    if not families:
        return [(rendition, None) for rendition in video]
    ladders: dict[str, list[Rendition]] = {}
    for rendition in video:
        ladders.setdefault(rendition.video.sample_entry, []).append(rendition)
    groups: dict[str, list[AudioGroup]] = {rendition.selector: [] for rendition in video}
    for ladder in ladders.values():
        for family in families:
            for rendition, paired in zip(ladder, pairs(ladder, family), strict=True):
                groups[rendition.selector] += paired
    return [(rendition, group) for rendition in video for group in groups[rendition.selector]]


def _together(
    rates: dict[str, BitRates], video: Rendition | None, group: AudioGroup | None
) -> BitRates:
    """The most that the video and any member of the group need."""
    parts = [rates[video.selector]] if video else []
    if group:
        members = [rates[member.rendition.selector] for member in group.members]
        parts.append(
            BitRates(
                peak=max(member.peak for member in members),
                average=max(member.average for member in members),
            )
        )
    return BitRates(
        peak=sum(part.peak for part in parts), average=sum(part.average for part in parts)
    )


def _media(presentation: Presentation, group: AudioGroup, index: int, query: str) -> str:
    member = group.members[index]
    rendition = member.rendition
    language = bcp47(rendition.language) if rendition.language else None
    described = rendition.role == "description"
    return tag(
        "EXT-X-MEDIA",
        TYPE="AUDIO",
        GROUP_ID=quoted(group.id),
        LANGUAGE=quoted(language) if language else None,
        NAME=quoted(member.name),
        DEFAULT="YES" if member.default else None,
        AUTOSELECT="YES" if member.autoselect else None,
        CHARACTERISTICS='"public.accessibility.describes-video"' if described else None,
        CHANNELS=quoted(rendition.audio.hls_channels),
        URI=quoted(f"{stem(presentation, rendition)}.m3u8{query}"),
    )


def _stream(video: Rendition | None, group: AudioGroup | None, rates: BitRates) -> str:
    codecs = [video.video.codec] if video else []
    codecs += group.codecs if group else ()
    rate = frame_rate(video.track) if video else None
    return tag(
        "EXT-X-STREAM-INF",
        BANDWIDTH=rates.peak,
        AVERAGE_BANDWIDTH=rates.average,
        CODECS=quoted(",".join(codecs)),
        RESOLUTION=_resolution(video.video) if video else None,
        FRAME_RATE=decimal(rate, 3) if rate else None,
        VIDEO_RANGE=video.video.video_range if video else None,
        AUDIO=quoted(group.id) if group else None,
    )


def _key_frame_stream(
    presentation: Presentation, rendition: Rendition, timeline: Timeline, query: str
) -> str | None:
    key_frames = timeline.key_frames(rendition)
    if key_frames is None:
        return None
    rates = key_frame_rates(rendition.track, key_frames)
    return tag(
        "EXT-X-I-FRAME-STREAM-INF",
        BANDWIDTH=rates.peak,
        AVERAGE_BANDWIDTH=rates.average,
        CODECS=quoted(rendition.video.codec),
        RESOLUTION=_resolution(rendition.video),
        VIDEO_RANGE=rendition.video.video_range,
        URI=quoted(f"keyframes/{stem(presentation, rendition)}.m3u8{query}"),
    )


def _resolution(facts: VideoFacts) -> str:
    width, height = display_size(facts)
    return f"{width}x{height}"
