"""Media playlists and I-frame playlists (RFC 8216 4.3.2, 4.3.3)."""

from __future__ import annotations

from sidecar.errors import NotFound
from sidecar.formats.eras import suffixed
from sidecar.formats.hls.cues import cue_lines
from sidecar.formats.hls.layout import Layout, media_version
from sidecar.formats.hls.rules import policy
from sidecar.formats.hls.tags import (
    date_time,
    durations,
    head,
    live_target,
    tag,
    timestamp_map,
)
from sidecar.formats.spec import Request
from sidecar.formats.urls import suffix
from sidecar.timeline.clips import clipped
from sidecar.timeline.segments import SegmentList

# The tags for closed segments came with the durations that are no whole seconds.
_TAGS_VERSION = 3


def media_playlist(
    segments: SegmentList,
    request: Request,
    layout: Layout,
    *,
    base: str,
    extension: str,
    init: str | None = None,
    key_frames: bool = False,
) -> str:
    """The playlist of those ``segments`` that lie in the request's clip:
    ``base-<number>.extension``. It ends where no more will come (VOD); else it goes on with the
    window, or only grows (EVENT).

    ``init``: URL of the init segments without its ending, None without any. ``key_frames``: an
    I-frame playlist, every segment of which is one sync sample. Raises ``NotFound`` when no segment
    lies in the clip.
    """
    options, live = request.options, request.live
    base, init = request.folder + base, None if init is None else request.folder + init
    query = "" if key_frames else suffix(options, "hls")
    listed = clipped(segments, request.clip)
    if not listed:
        raise NotFound("the track has nothing in this clip")
    lengths, target = durations(segments, listed)
    version = media_version(
        layout,
        options,
        # Whatever comes: the version must not change.
        fractions=live is not None or any("." in length for length in lengths),
        key_frames=key_frames,
    )
    modern = version >= _TAGS_VERSION
    if live is not None:
        longest = request.timeline.longest(policy(request))
        target = live_target(target, longest, spliced=options.splice_media)
    era = segments.era_of(listed.start)
    kind = "VOD" if live is None or live.ended else "EVENT" if live.only_grows else ""
    lines = [
        *head(version),
        f"#EXT-X-MEDIA-SEQUENCE:{segments.number(listed.start)}",
        *([f"#EXT-X-DISCONTINUITY-SEQUENCE:{era}"] if era else []),
        *([f"#EXT-X-PLAYLIST-TYPE:{kind}"] if modern and kind else []),
        *(["#EXT-X-INDEPENDENT-SEGMENTS"] if modern and segments.closed and not key_frames else []),
        *(["#EXT-X-I-FRAMES-ONLY"] if key_frames else []),
        f"#EXT-X-TARGETDURATION:{target}",
    ]
    if layout is not Layout.FMP4:
        lines.append(timestamp_map(int(segments.start[listed.start]), segments.timescale))
    cues = {} if key_frames else cue_lines(live, segments, listed)
    for at, length in zip(listed, lengths, strict=True):
        begins = at == listed.start or segments.era_of(at) != era
        lines += ["#EXT-X-DISCONTINUITY"] * (segments.era_of(at) - era)
        era = segments.era_of(at)
        if begins and init is not None:
            lines.append(tag("EXT-X-MAP", URI=f'"{suffixed(init, era)}.m4s"'))
        lines += cues.get(at, ())
        if live is not None and (begins or segments.is_gap(at - 1) or at in cues):
            lines.append(date_time(int(segments.start[at]), segments.timescale, live.epoch_ms))
        if segments.is_gap(at):
            lines.append("#EXT-X-GAP")
        lines.append(f"#EXTINF:{length}, no desc")
        lines.append(f"{base}-{segments.number(at)}.{extension}{query}")
    lines += cues.get(listed.stop, ())
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if kind == "VOD" else []), ""])
