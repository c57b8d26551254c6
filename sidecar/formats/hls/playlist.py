"""Media playlists and I-frame playlists (RFC 8216 4.3.2, 4.3.3)."""

from __future__ import annotations

from sidecar.errors import NotFound
from sidecar.formats.hls.layout import Layout, media_version
from sidecar.formats.hls.tags import durations, head, tag, timestamp_map
from sidecar.formats.urls import suffix
from sidecar.media.options import Options
from sidecar.timeline.clips import Clip, clipped
from sidecar.timeline.segments import SegmentList

# The tags for closed segments came with the durations that are no whole seconds.
_TAGS_VERSION = 3


def media_playlist(
    segments: SegmentList,
    options: Options,
    clip: Clip,
    layout: Layout,
    *,
    base: str,
    extension: str,
    init: str | None = None,
    key_frames: bool = False,
) -> str:
    """The playlist (VOD) of those ``segments`` that lie in ``clip``: ``base-<number>.extension``.

    ``init``: URL of the init segment, None without one. ``key_frames``: an I-frame playlist, every
    segment of which is one sync sample. Raises ``NotFound`` when no segment lies in the clip.
    """
    query = "" if key_frames else suffix(options, "hls")
    listed = clipped(segments, clip)
    if not listed:
        raise NotFound("the track has nothing in this clip")
    lengths, target = durations(segments, listed)
    version = media_version(
        layout,
        options,
        fractions=any("." in length for length in lengths),
        key_frames=key_frames,
    )
    modern = version >= _TAGS_VERSION
    lines = [
        *head(version),
        f"#EXT-X-MEDIA-SEQUENCE:{listed.start + 1}",
        *(["#EXT-X-PLAYLIST-TYPE:VOD"] if modern else []),
        *(["#EXT-X-INDEPENDENT-SEGMENTS"] if modern and segments.closed and not key_frames else []),
        *(["#EXT-X-I-FRAMES-ONLY"] if key_frames else []),
        f"#EXT-X-TARGETDURATION:{target}",
    ]
    if layout is not Layout.FMP4:
        lines.append(timestamp_map(int(segments.start[listed.start]), segments.timescale))
    if init is not None:
        lines.append(tag("EXT-X-MAP", URI=f'"{init}"'))
    lines += [
        f"#EXTINF:{length}, no desc\n{base}-{number}.{extension}{query}"
        for number, length in enumerate(lengths, listed.start + 1)
    ]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
