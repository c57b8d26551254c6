"""The master playlist (RFC 8216 4.3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sidecar.codecs.facts import VideoFacts
from sidecar.errors import NotFound
from sidecar.formats.hls.groups import AudioGroup, audio_families, pairs
from sidecar.formats.hls.layout import Layout, master_version
from sidecar.formats.hls.selectors import muxed_stem
from sidecar.formats.hls.tags import head, quoted, tag
from sidecar.formats.hls.text import GROUP, subtitle_lines
from sidecar.formats.urls import stem
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.select import variant_sets
from sidecar.media.track import Kind
from sidecar.mux.movie import display_size
from sidecar.mux.rates import BitRates, bit_rates, frame_rate, key_frame_rates
from sidecar.mux.ts_rates import ts_bit_rates, ts_key_frame_rates
from sidecar.timeline.clips import Clip, clipped
from sidecar.timeline.segmenter import SegmentPolicy, Timeline
from sidecar.timeline.segments import SegmentList
from sidecar.units import decimal


class _Variant(NamedTuple):
    """A picture, a sound, or both."""

    video: Rendition | None
    group: AudioGroup | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Master:
    """What the lines of a master playlist are made from.

    ``presentation``: with the renditions that are listed. ``lists``, ``rates``: of audio and video,
    by selector. ``multiplexed``: whether the default sound of a group is in the segments of its
    variants. ``subtitled``: whether there is a group of text. ``query``, ``key_frame_query``: what
    the URLs of playlists end with; ``folder``: what they begin with.
    """

    presentation: Presentation
    timeline: Timeline
    layout: Layout
    multiplexed: bool
    subtitled: bool
    query: str
    key_frame_query: str
    folder: str
    lists: dict[str, SegmentList]
    rates: dict[str, BitRates]

    def uri(self, variant: _Variant) -> str:
        video, group = variant
        if group is None:
            assert video is not None
            name = stem(self.presentation, video)
        elif video is None:
            name = stem(self.presentation, group.members[0].rendition)
        elif self.multiplexed:
            name = muxed_stem(self.presentation, group.members[0].rendition, video)
        else:
            name = stem(self.presentation, video)
        return f"{self.folder}{name}.m3u8{self.query}"

    def media(self, group: AudioGroup, index: int) -> str:
        member = group.members[index]
        rendition = member.rendition
        uri = f"{self.folder}{stem(self.presentation, rendition)}.m3u8{self.query}"
        within = self.multiplexed and member.default
        return tag(
            "EXT-X-MEDIA",
            TYPE="AUDIO",
            GROUP_ID=quoted(group.id),
            LANGUAGE=quoted(member.language) if member.language else None,
            NAME=quoted(member.name),
            DEFAULT="YES" if member.default else None,
            AUTOSELECT="YES" if member.autoselect else None,
            CHARACTERISTICS='"public.accessibility.describes-video"' if member.described else None,
            CHANNELS=quoted(rendition.audio.hls_channels),
            URI=None if within else quoted(uri),
        )

    def stream(self, variant: _Variant) -> str:
        video, group = variant
        rates = self._together(variant)
        grouped = self.layout is not Layout.VARIANTS
        codecs = [self._codec(video)] if video else []
        if group:
            codecs += group.codecs if grouped else group.codecs[:1]
        rate = frame_rate(video.track) if video else None
        return tag(
            "EXT-X-STREAM-INF",
            BANDWIDTH=rates.peak,
            AVERAGE_BANDWIDTH=rates.average,
            CODECS=quoted(",".join(codecs)),
            RESOLUTION=_resolution(video.video) if video else None,
            FRAME_RATE=decimal(rate, 3) if rate else None,
            VIDEO_RANGE=video.video.video_range if video else None,
            AUDIO=quoted(group.id) if group and grouped else None,
            SUBTITLES=quoted(GROUP) if self.subtitled else None,
            CLOSED_CAPTIONS=self.closed_captions,
        )

    @property
    def closed_captions(self) -> str | None:
        """What all variants say alike (RFC 8216 4.3.4.2): that there are none. Where pictures hold
        some, nothing: players find them, and their languages are not known."""
        video = self.presentation.of_kind(Kind.VIDEO)
        captioned = any(one.track.closed_captions for one in video)
        return None if captioned or self.layout is Layout.VARIANTS else "NONE"

    def key_frame_stream(self, rendition: Rendition, clip: Clip) -> str | None:
        key_frames = self.timeline.key_frames(rendition)
        if key_frames is None or not clipped(key_frames, clip):
            return None
        measure = key_frame_rates if self.layout is Layout.FMP4 else ts_key_frame_rates
        rates = measure(rendition.track, key_frames)
        return tag(
            "EXT-X-I-FRAME-STREAM-INF",
            BANDWIDTH=rates.peak,
            AVERAGE_BANDWIDTH=rates.average,
            CODECS=quoted(rendition.video.codec),
            RESOLUTION=_resolution(rendition.video),
            VIDEO_RANGE=rendition.video.video_range,
            URI=quoted(
                f"keyframes/{stem(self.presentation, rendition)}.m3u8{self.key_frame_query}"
            ),
        )

    def _together(self, variant: _Variant) -> BitRates:
        """The most that the video, any member of the group and any text need."""
        video, group = variant
        parts = [self.rates[video.selector]] if video else []
        if group:
            members = [self.rates[member.rendition.selector] for member in group.members]
            parts.append(
                BitRates(
                    peak=max(member.peak for member in members),
                    average=max(member.average for member in members),
                )
            )
        if self.subtitled:
            text = max(one.bitrate for one in self.presentation.of_kind(Kind.TEXT))
            parts.append(BitRates(peak=text, average=text))
        return BitRates(
            peak=sum(part.peak for part in parts), average=sum(part.average for part in parts)
        )

    def _codec(self, video: Rendition) -> str:
        """Players that know the oldest version only know profile and level in decimal digits."""
        codec = video.video.codec
        if self.layout is Layout.VARIANTS and codec.startswith("avc1."):
            return f"avc1.{int(codec[5:7], 16)}.{int(codec[9:11], 16)}"
        return codec


def master_playlist(
    selected: Presentation,
    timeline: Timeline,
    policy: SegmentPolicy,
    options: Options,
    clip: Clip,
    layout: Layout,
    folder: str = "",
) -> str:
    """The renditions of ``selected`` (which ``layout`` can carry) that have anything in ``clip``,
    as variants, audio groups and I-frame variants.

    Where sound and picture are apart, variants name video-only playlists and audio comes from the
    groups; where they are multiplexed, the default member of a group is within the variants.
    Presentations without video, and those of which audio-only variants are wanted, get one variant
    for each group. Bit rates are measured (``bit_rates``): those of a variant are the video's and
    the group's largest. ``folder``: what the URLs of playlists begin with. Raises ``NotFound`` when
    nothing lies in the clip.
    """
    master = _master(selected, timeline, policy, options, clip, layout, folder)
    video = master.presentation.of_kind(Kind.VIDEO)
    families = audio_families(master.presentation)
    sets = [_variants(chosen, families) for chosen in variant_sets(master.presentation, options)]
    pictures = list(dict.fromkeys(one for each in sets for one in each if one.video))
    sounds = list(dict.fromkeys(one for each in sets for one in each if not one.video))

    version = master_version(layout, options)
    lines = head(version)
    if version > 2 and all(segments.closed for segments in master.lists.values()):
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    if families and layout is not Layout.VARIANTS:
        lines += ["", "# AUDIO groups"]
        lines += [
            master.media(group, index)
            for family in families
            for group in family
            for index in range(len(group.members))
        ]
    if master.subtitled:
        lines += [
            "",
            "# SUBTITLES groups",
            *subtitle_lines(master.presentation, master.query, folder),
        ]
    if pictures:
        lines += ["", "# variants", *_listed(master, pictures)]
    if sounds and not (pictures and options.hls_no_audio_only):
        lines += ["", "# variants", *_listed(master, sounds)]
    if layout is not Layout.VARIANTS:
        # Tracks made for trick play spare players the pictures of a higher bitrate.
        sources = master.presentation.trick_play or video
        key_frames = [master.key_frame_stream(rendition, clip) for rendition in sources]
        if any(key_frames):
            lines += ["", "# keyframes", *filter(None, key_frames)]
    return "\n".join([*lines, ""])


def _master(
    selected: Presentation,
    timeline: Timeline,
    policy: SegmentPolicy,
    options: Options,
    clip: Clip,
    layout: Layout,
    folder: str,
) -> _Master:
    lists = {one.selector: timeline.segments(one, policy) for one in selected.renditions}
    kept = tuple(one for one in selected.renditions if clipped(lists[one.selector], clip))
    media = [one for one in kept if one.kind is not Kind.TEXT]
    if not media:
        raise NotFound("no audio and no video lies in this clip")
    measure = bit_rates if layout is Layout.FMP4 else ts_bit_rates
    return _Master(
        presentation=replace(selected, renditions=kept),
        timeline=timeline,
        layout=layout,
        multiplexed=layout is not Layout.FMP4
        and not options.hls_no_multiplex
        and any(one.kind is Kind.VIDEO for one in kept),
        subtitled=layout is not Layout.VARIANTS and len(media) < len(kept),
        query=_suffix(options.playlist_query),
        key_frame_query=_suffix(options.key_frame_query),
        folder=folder,
        lists={one.selector: lists[one.selector] for one in media},
        rates={one.selector: measure(one.track, lists[one.selector]) for one in media},
    )


def _suffix(query: str) -> str:
    return f"?{query}" if query else ""


def _listed(master: _Master, variants: Sequence[_Variant]) -> list[str]:
    return [line for one in variants for line in (master.stream(one), master.uri(one))]


def _variants(chosen: Presentation, families: list[list[AudioGroup]]) -> list[_Variant]:
    """The variants of the renditions ``chosen``: videos in their order, each with groups of every
    family, and then the groups alone. Groups count whose default is chosen."""
    video, audio = chosen.of_kind(Kind.VIDEO), chosen.of_kind(Kind.AUDIO)
    selectors = {one.selector for one in audio}
    wanted = [
        [group for group in family if group.members[0].rendition.selector in selectors]
        for family in families
    ]
    wanted = [family for family in wanted if family]
    if not wanted:
        return [_Variant(rendition, None) for rendition in video]
    ladders: dict[str, list[Rendition]] = {}
    for rendition in video:
        ladders.setdefault(rendition.video.sample_entry, []).append(rendition)
    groups: dict[str, list[AudioGroup]] = {rendition.selector: [] for rendition in video}
    for ladder in ladders.values():
        for family in wanted:
            for rendition, paired in zip(ladder, pairs(ladder, family), strict=True):
                groups[rendition.selector] += paired
    return [
        *(_Variant(one, group) for one in video for group in groups[one.selector]),
        *(_Variant(None, group) for family in wanted for group in family),
    ]


def _resolution(facts: VideoFacts) -> str:
    width, height = display_size(facts)
    return f"{width}x{height}"
