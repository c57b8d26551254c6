"""The request kinds of downloads: ``X.ism/X.mp4`` and its like, and ``X.mp4`` itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from sidecar.errors import NotFound
from sidecar.formats.download.choice import all_tracks, usual_tracks
from sidecar.formats.download.growing import (
    cache_class,
    counted_from_clip,
    in_one_era,
    require_end,
    segments_without_holes,
    without_holes,
)
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.media.options import Options
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.faststart import stored_file
from sidecar.mux.fragmented import Fragments, fragmented_file
from sidecar.mux.plan import CacheClass, Part, Plan
from sidecar.mux.progressive import AUDIO_FILE, VIDEO_FILE, progressive_file
from sidecar.mux.text import is_rewritten
from sidecar.storage.source import ReadRange, SourceIdentity
from sidecar.timeline.clips import Clip, clipped
from sidecar.timeline.cuts import cut
from sidecar.timeline.segmenter import SegmentPolicy

# Longer than those of streams: a file of two hours is planned whole, fragment by fragment.
_FRAGMENTS = SegmentPolicy(video=Fraction(6), audio=Fraction(6), text=Fraction(6))
# Those of live ones are the encoder's: a hole costs no more than was lost.
_SENT = SegmentPolicy(video=Fraction(0), audio=Fraction(0), text=Fraction(0))


def answer_stored(options: Options, identity: SourceIdentity, read: ReadRange) -> Answer | None:
    """The file itself, its moov in front; None when the query wants less, or it refers to others.

    Whatever codecs it holds, and whether or not any of them can be played adaptively.
    """
    if _chooses(options) or options.is_clipped:
        return None
    parts = stored_file(identity, read)
    return None if parts is None else _answer(parts, "video/mp4", CacheClass.MEDIA)


def answer_file(request: Request) -> Answer:
    """All tracks of the file, or what the query leaves of them."""
    return _progressive(request, all_tracks(request.selected), audio_only=False)


def answer_progressive(request: Request) -> Answer:
    """The usual tracks in one file, or those that ``?filter=`` selects."""
    return _progressive(request, _tracks(request), audio_only=request.match["type"] == "m4a")


def answer_fragmented(request: Request) -> Answer:
    """The same as a fragmented file; its fragments keep the times of the presentation."""
    require_end(request)
    audio_only = request.match["type"] == "isma"
    tracks = []
    for rendition in in_one_era(request, _of_type(_tracks(request), audio_only), _SENT):
        if is_rewritten(rendition):
            continue
        if request.live is None:
            segments = request.timeline.segments(rendition, _FRAGMENTS)
        else:
            sent = request.timeline.segments(rendition, _SENT)
            segments = segments_without_holes(rendition, sent)
            rendition = without_holes(rendition)
        which = clipped(segments, request.clip)
        if which:
            tracks.append(Fragments(rendition=rendition, segments=segments, which=which))
    if not tracks:
        raise NotFound("none of the tracks presents anything then")
    parts = fragmented_file(tracks)
    return _answer(parts, "audio/mp4" if audio_only else "video/mp4", cache_class(request))


def _progressive(request: Request, tracks: Sequence[Rendition], *, audio_only: bool) -> Answer:
    require_end(request)
    clip = request.clip
    wanted = [one for one in _of_type(tracks, audio_only) if not _loses_its_times(one, clip)]
    if request.live is not None:
        wanted = in_one_era(request, wanted, _SENT)
        wanted, clip = counted_from_clip([without_holes(one) for one in wanted], clip)
    cuts = cut(wanted, clip)
    if not cuts:
        raise NotFound("none of the tracks presents anything then")
    parts = progressive_file(cuts, file_type=AUDIO_FILE if audio_only else VIDEO_FILE)
    return _answer(parts, "audio/mp4" if audio_only else "video/mp4", cache_class(request))


def _loses_its_times(rendition: Rendition, clip: Clip) -> bool:
    """Whether documents in the samples of ``rendition`` say times that the download does not have,
    where a part of the presentation begins at 0."""
    facts = rendition.track.facts
    return facts.sample_entry == "stpp" and (not clip.is_whole or is_rewritten(rendition))


def _tracks(request: Request) -> list[Rendition]:
    if request.options.filter is not None:
        return all_tracks(request.selected)
    return usual_tracks(request.selected)


def _of_type(tracks: Sequence[Rendition], audio_only: bool) -> list[Rendition]:
    wanted = [one for one in tracks if not audio_only or one.kind is Kind.AUDIO]
    if not wanted:
        raise NotFound("there is no audio to download" if audio_only else "there are no tracks")
    return wanted


def _chooses(options: Options) -> bool:
    asked = (options.filter, options.max_bitrate, options.min_bitrate)
    return any(one is not None for one in asked)


def _answer(parts: tuple[Part, ...], content_type: str, kept: CacheClass) -> Answer:
    plan = Plan(parts=parts, content_type=content_type, cache_class=kept)
    return Answer(plan=plan)


KINDS: tuple[RequestKind, ...] = (
    RequestKind(
        name="download.file",
        format="download",
        pattern=re.compile(r""),
        answer=answer_file,
        stored=answer_stored,
        reads_media=True,
    ),
    RequestKind(
        name="download.progressive",
        format="download",
        pattern=re.compile(r"[^/]*\.(?P<type>mp4|m4a)"),
        answer=answer_progressive,
        reads_media=True,
        by_samples=True,
    ),
    RequestKind(
        name="download.fragmented",
        format="download",
        pattern=re.compile(r"[^/]*\.(?P<type>ismv|isma)"),
        answer=answer_fragmented,
        reads_media=True,
    ),
)
