"""Which kind of HLS a presentation is served as: fragmented MP4, or transport streams in the way of
one playlist version or another."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from sidecar.errors import UnsupportedMedia
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.elementary import can_carry

# EXT-X-MAP outside of I-frame playlists needs 6; 7 is what players of fMP4 are tested with.
_LOWEST_FMP4, _USUAL_FMP4 = 6, 7
# EXT-X-MEDIA and EXT-X-I-FRAMES-ONLY need 4, durations that are no whole seconds 3 (RFC 8216 7).
_GROUPS, _FRACTIONS = 4, 3
_HEVC = ("hvc1", "hev1")


class Layout(Enum):
    """``FMP4``: video and audio apart, in CMAF segments. ``GROUPS``: transport streams, audio
    groups, I-frame playlists. ``VARIANTS``: transport streams with one sound each, nothing else.
    """

    FMP4 = "fmp4"
    GROUPS = "groups"
    VARIANTS = "variants"


def layout_of(presentation: Presentation, options: Options) -> Layout:
    """The layout of ``presentation``, the same for all of its playlists.

    ``hls_fmp4`` decides, else ``hls_client_manifest_version``: transport streams below 6. When
    neither is said, transport streams unless one of the tracks needs fragmented MP4.
    """
    version = options.hls_client_manifest_version
    fmp4 = options.hls_fmp4
    if fmp4 is None:
        if version is not None:
            fmp4 = version >= _LOWEST_FMP4
        else:
            fmp4 = any(_needs_fmp4(one) for one in presentation.renditions)
    if fmp4:
        return Layout.FMP4
    # Sound apart from the picture is a group, which the oldest versions do not have.
    if version is not None and version < _GROUPS and not options.hls_no_multiplex:
        return Layout.VARIANTS
    return Layout.GROUPS


def _needs_fmp4(rendition: Rendition) -> bool:
    """Whether transport streams cannot carry ``rendition``, or Apple's players do not take it in
    them: H.265 (HLS Authoring Specification for Apple Devices: fMP4 only)."""
    if rendition.kind is Kind.TEXT:
        return False
    return rendition.track.facts.sample_entry in _HEVC or not can_carry(rendition.track)


def carried(presentation: Presentation, layout: Layout) -> Presentation:
    """``presentation`` with the renditions that ``layout`` can carry.

    Raises ``UnsupportedMedia`` when no audio and no video is left.
    """
    if layout is Layout.FMP4:
        return presentation
    kept = tuple(
        one for one in presentation.renditions if one.kind is Kind.TEXT or can_carry(one.track)
    )
    if len(kept) == len(presentation.renditions):
        return presentation
    if all(one.kind is Kind.TEXT for one in kept):
        raise UnsupportedMedia(
            "transport streams can carry none of the tracks, fragmented MP4 (hls_fmp4) can"
        )
    return replace(presentation, renditions=kept)


def master_version(layout: Layout, options: Options) -> int:
    """EXT-X-VERSION of a master playlist."""
    asked = options.hls_client_manifest_version
    if layout is Layout.FMP4:
        return max(_LOWEST_FMP4, asked or _USUAL_FMP4)
    if layout is Layout.GROUPS:
        return max(_GROUPS, asked or _GROUPS)
    return asked or _GROUPS


def media_version(layout: Layout, options: Options, *, fractions: bool, key_frames: bool) -> int:
    """EXT-X-VERSION of a media playlist; ``fractions``: durations are not all whole seconds."""
    asked = options.hls_client_manifest_version
    if layout is Layout.FMP4:
        return max(_LOWEST_FMP4, asked or _USUAL_FMP4)
    needed = _GROUPS if key_frames else _FRACTIONS if fractions else 1
    return max(needed, asked or _GROUPS)
