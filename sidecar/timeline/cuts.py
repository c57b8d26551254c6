"""Which samples of each track a download holds: whole tracks, or a clip cut at sync samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Track
from sidecar.timeline.boundaries import sync_samples
from sidecar.timeline.clips import Clip

# What a decoder needs before the first frame that is heard: two frames (an AAC frame overlaps the
# one before it, band replication reaches further back), 80 ms of Opus (RFC 7845 4.6).
_LEAD_FRAMES = 2
_OPUS_LEAD = Fraction(8, 100)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cut:
    """Samples ``first`` .. ``last``-1 of ``rendition``, at least one.

    ``origin``: presentation time that becomes 0, ticks of the track. What the samples present
    before it (a lead that decoders need) is not to be shown.
    """

    rendition: Rendition
    first: int
    last: int
    origin: int = 0

    @property
    def track(self) -> Track:
        return self.rendition.track


def cut(renditions: Sequence[Rendition], clip: Clip) -> tuple[Cut, ...]:
    """The samples of ``renditions`` that ``clip`` holds; renditions without any are left out.

    A clip begins at the last sync sample at or before ``clip.begin`` of the video with the highest
    bitrate, and ends before its first sync sample at or after ``clip.end``; half a picture off
    counts as at. Other tracks begin and end where that one does. Without video, the frames that
    hold the two times are the first and the last.
    """
    renditions = [one for one in renditions if _presents(one.track, clip)]
    video = [one for one in renditions if one.kind is Kind.VIDEO]
    begin, end = clip.begin, clip.end
    if video and not clip.is_whole:
        reference = max(video, key=lambda one: one.bitrate).track
        begin, end = _snapped(reference, clip)
    cuts = []
    for rendition in renditions:
        track = rendition.track
        if rendition.kind is Kind.VIDEO:
            first, last = _pictures(track, begin, end)
        else:
            first, last = _frames(track, begin, end)
        if first < last:
            origin = 0 if begin is None else round(begin * track.timescale)
            cuts.append(Cut(rendition=rendition, first=first, last=last, origin=origin))
    return tuple(cuts)


def _presents(track: Track, clip: Clip) -> bool:
    """Whether any sample of ``track`` is presented within ``clip``, or nearly so."""
    decode_time = track.samples.decode_time
    if len(decode_time) < 2:
        return False
    starts, ends = (
        Fraction(int(decode_time[at]) - track.edit_media_time, track.timescale) for at in (0, -1)
    )
    return (clip.begin is None or clip.begin < ends) and (clip.end is None or starts < clip.end)


def _snapped(track: Track, clip: Clip) -> tuple[Fraction | None, Fraction | None]:
    """Begin and end of ``clip``, moved to sync samples; None = as far as there is anything."""
    first, last = _pictures(track, clip.begin, clip.end)
    times = track.presentation_time()
    begin = end = None
    if clip.begin is not None:
        begin = max(Fraction(0), Fraction(int(times[first]), track.timescale))
    if last < len(times):
        end = Fraction(int(times[last]), track.timescale)
    return begin, end


def _pictures(track: Track, begin: Fraction | None, end: Fraction | None) -> tuple[int, int]:
    """First and last + 1 sample of a video: both at a sync sample, or the track's own."""
    count = len(track.samples)
    index, times = sync_samples(track)
    if not len(index):
        return 0, count
    span = int(track.samples.decode_time[-1] - track.samples.decode_time[0])
    half = span / count / track.timescale / 2
    at = 0
    if begin is not None:
        at = max(0, int(np.searchsorted(times, float(begin) + half, side="right")) - 1)
    first = int(index[at]) if at else 0
    if end is None:
        return first, count
    # Not before the next one: a clip within a GOP is that GOP.
    stop = max(at + 1, int(np.searchsorted(times, float(end) - half, side="left")))
    return first, int(index[stop]) if stop < len(index) else count


def _frames(track: Track, begin: Fraction | None, end: Fraction | None) -> tuple[int, int]:
    """First and last + 1 sample of sound or text, with the lead that its decoder needs."""
    times = np.maximum.accumulate(track.presentation_time())
    first, last = 0, len(times)
    if begin is not None:
        origin = round(begin * track.timescale)
        first = max(0, int(np.searchsorted(times, origin, side="right")) - 1)
        if track.facts.sample_entry == "Opus":
            lead = origin - int(_OPUS_LEAD * track.timescale)
            first = min(first, max(0, int(np.searchsorted(times, lead, side="right")) - 1))
        elif track.kind is Kind.AUDIO:
            first = max(0, first - _LEAD_FRAMES)
    if end is not None:
        last = int(np.searchsorted(times, round(end * track.timescale), side="left"))
    return first, last
