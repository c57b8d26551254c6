"""Media playlists and I-frame playlists (RFC 8216 4.3.2, 4.3.3)."""

from __future__ import annotations

from sidecar.formats.hls.tags import durations, head, tag
from sidecar.formats.urls import stem, suffix
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.timeline.segments import SegmentList


def media_playlist(
    presentation: Presentation, rendition: Rendition, segments: SegmentList, options: Options
) -> str:
    """The playlist of one rendition with fMP4 segments, whole (VOD)."""
    base, query = f"hls/{stem(presentation, rendition)}", suffix(options)
    lengths, target = durations(segments)
    lines = [
        *head(options),
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        *(["#EXT-X-INDEPENDENT-SEGMENTS"] if segments.closed else []),
        f"#EXT-X-TARGETDURATION:{target}",
        tag("EXT-X-MAP", URI=f'"{base}.m4s{query}"'),
        *(
            f"#EXTINF:{length}, no desc\n{base}-{number}.m4s{query}"
            for number, length in enumerate(lengths, 1)
        ),
        "#EXT-X-ENDLIST",
        "",
    ]
    return "\n".join(lines)


def key_frame_playlist(
    presentation: Presentation, rendition: Rendition, key_frames: SegmentList, options: Options
) -> str:
    """The I-frame playlist of a video rendition: every segment is one sync sample.

    It lies in ``keyframes/``, beside its segments; the init segment is that of the rendition.
    """
    base, query = stem(presentation, rendition), suffix(options)
    lengths, target = durations(key_frames)
    lines = [
        *head(options),
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-I-FRAMES-ONLY",
        f"#EXT-X-TARGETDURATION:{target}",
        tag("EXT-X-MAP", URI=f'"../hls/{base}.m4s{query}"'),
        *(
            f"#EXTINF:{length}, no desc\n{base}-{number}.m4s{query}"
            for number, length in enumerate(lengths, 1)
        ),
        "#EXT-X-ENDLIST",
        "",
    ]
    return "\n".join(lines)
