"""Text tracks of any source: what they say in a stretch of time, and CMAF segments of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from sidecar.errors import UnsupportedMedia
from sidecar.media.languages import bcp47
from sidecar.media.presentation import Rendition
from sidecar.media.text.cues import TIMESCALE, Cue, Paragraph, Schedule, TimedText, Ttml
from sidecar.media.text.ttml import read_ttml
from sidecar.media.track import Track
from sidecar.mux.cmaf import segment_head
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.ranges import byte_ranges
from sidecar.mux.runs import Run
from sidecar.mux.samples import read_samples
from sidecar.mux.ttml import ttml_document
from sidecar.mux.wvtt import NO_CUE, cues_of_sample, wvtt_header, wvtt_samples
from sidecar.storage.source import ReadRange
from sidecar.timeline.segments import SegmentList
from sidecar.units import rescale

# A cue that goes on in the samples around a stretch is one cue there too, with one begin and end,
# so that players see that two segments hold the same one. This many samples are looked at.
_AROUND = 16
# A whole track may be asked for, but it must stay text.
_MAX_BYTES = 32 << 20
_NO_TEXT = TimedText(cues=Schedule())


def timed_text(track: Track, begin: int, end: int, read: ReadRange) -> TimedText:
    """What the text ``track`` shows from ``begin`` to ``end`` (ms), and maybe more.

    All of it when it comes from a text file; else the samples of that time are read. Raises
    ``InvalidMedia`` when one of them is damaged, ``UnsupportedMedia`` when they are more text than
    is read at once.
    """
    if track.text is not None:
        return track.text
    first, last = _between(track, begin, end)
    first, last = max(0, first - _AROUND), min(len(track.samples), last + _AROUND)
    if first >= last:
        return _NO_TEXT
    size = int(track.samples.size[first:last].sum(dtype=np.int64))
    if size > _MAX_BYTES:
        raise UnsupportedMedia(
            f"{size} bytes of text are not read at once, {_MAX_BYTES} at the most",
            path=track.source.path,
        )
    held = read_samples(read, [(track, first, last)])[0]
    sizes, offsets = track.samples.size[first:last], track.samples.offset[first:last]
    samples = [
        _Shown(
            _milliseconds(track, index),
            _milliseconds(track, index + 1),
            held.data[position : position + length],
            offset,
        )
        for index, position, length, offset in zip(
            range(first, last),
            held.position.tolist(),
            sizes.tolist(),
            offsets.tolist(),
            strict=True,
        )
    ]
    shown = [one for one in samples if one.start < one.stop and one.data]
    if track.facts.sample_entry == "stpp":
        return _of_documents(shown, rescale(track.text_delay, track.timescale, TIMESCALE))
    return _of_cues(track, shown)


def is_rewritten(rendition: Rendition) -> bool:
    """Whether segments of the text ``rendition`` need what its samples say: documents whose times
    are not those at which they are shown."""
    track = rendition.track
    return track.text is None and track.facts.sample_entry == "stpp" and track.text_delay != 0


def text_segment(
    rendition: Rendition, segments: SegmentList, index: int, read: ReadRange
) -> tuple[Part, ...]:
    """Segment ``index`` of the text ``rendition`` in CMAF (ISO/IEC 23000-19 11, 14496-30).

    Samples of media files stay in their file; one that lasts longer than the segment is cut off in
    time, and is the first of the next one too. Where there is none, an empty one is shown. Text
    files become samples here: one document of TTML, or cues of WebVTT; and so does text that
    ``is_rewritten``. Raises as ``timed_text``.
    """
    track = rendition.track
    start, end = int(segments.start[index]), int(segments.start[index + 1])
    if is_rewritten(rendition):
        begin, until = (rescale(time, track.timescale, TIMESCALE) for time in (start, end))
        text = timed_text(track, begin, until, read)
        samples = [(end - start, ttml_document(text, begin, until))]
    elif track.text is None:
        return _stored_segment(
            track, int(segments.first_sample[index]), start, end, segments.number(index)
        )
    elif track.text.ttml is not None:
        document = ttml_document(track.text, start, end)
        samples = [(end - start, document)]
    else:
        samples = wvtt_samples(track.text.cues.overlapping(start, end), start, end)
    data = b"".join(sample for _, sample in samples)
    head = segment_head(
        Run(
            base_time=start,
            duration=np.array([duration for duration, _ in samples], dtype=np.int64),
            size=np.array([len(sample) for _, sample in samples], dtype=np.uint32),
            composition=None,
            sync=None,
        ),
        len(data),
        segments.number(index),
    )
    return (Inline(head + data),)


def smooth_document(rendition: Rendition, begin: int, end: int, read: ReadRange) -> bytes:
    """What the text ``rendition`` shows from ``begin`` to ``end`` (ms), as the one sample of a
    Smooth Streaming fragment: TTML whose times count from ``begin``. Raises as ``timed_text``."""
    text = timed_text(rendition.track, begin, end, read)
    language = bcp47(rendition.language) if rendition.language else None
    return ttml_document(text, begin, end, origin=begin, language=language)


def _between(track: Track, begin: int, end: int) -> tuple[int, int]:
    """Indices of the samples that are shown from ``begin`` to ``end`` (ms): first, behind last."""
    time = track.samples.decode_time - track.edit_media_time
    first = np.searchsorted(time[1:], begin * track.timescale / TIMESCALE, side="right")
    last = np.searchsorted(time[:-1], end * track.timescale / TIMESCALE, side="left")
    return int(first), int(last)


def _milliseconds(track: Track, index: int) -> int:
    ticks = int(track.samples.decode_time[index]) - track.edit_media_time
    return rescale(ticks, track.timescale, TIMESCALE)


class _Shown(NamedTuple):
    """A sample: when it is shown (ms), its bytes, and where in the file they are."""

    start: int
    stop: int
    data: bytes
    offset: int


def _of_cues(track: Track, samples: Sequence[_Shown]) -> TimedText:
    cues = [
        cue
        for one in samples
        for cue in cues_of_sample(one.data, one.start, one.stop, base=one.offset)
    ]
    joined = _joined(cues, lambda cue: (cue.payload, cue.settings, cue.identifier))
    return TimedText(cues=Schedule(joined), header=wvtt_header(track.sample_entry_box))


def _of_documents(samples: Sequence[_Shown], delay: int) -> TimedText:
    """The documents of ``samples`` as one, ``delay`` ms later than they say; each counts while its
    sample is shown, no longer."""
    cues: list[Cue] = []
    paragraphs: list[Paragraph] = []
    form: Ttml | None = None
    alike = True
    for one in samples:
        text = read_ttml(one.data, until=one.stop - delay)
        assert text.ttml is not None
        form = form or text.ttml
        alike = alike and (text.ttml.opening, text.ttml.head) == (form.opening, form.head)
        cues += _clipped(text.cues.items, one, delay)
        paragraphs += _clipped(text.ttml.paragraphs.items, one, delay)
    cues = _joined(cues, lambda cue: (cue.payload, cue.settings))
    if form is None or not alike:
        # Paragraphs under another head would look otherwise; cues say what they look like.
        return TimedText(cues=Schedule(cues))
    paragraphs = _joined(paragraphs, lambda one: (one.name, one.rest))
    return TimedText(
        cues=Schedule(cues),
        ttml=replace(form, paragraphs=Schedule(paragraphs)),
    )


_Item = TypeVar("_Item", Cue, Paragraph)


def _clipped(items: Iterable[_Item], sample: _Shown, delay: int) -> list[_Item]:
    """``items``, ``delay`` ms later, while ``sample`` is shown; those left out that are not."""
    return [
        replace(
            item,
            begin=max(item.begin + delay, sample.start),
            end=min(item.end + delay, sample.stop),
        )
        for item in items
        if item.begin + delay < sample.stop and item.end + delay > sample.start
    ]


def _joined(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[_Item]:
    """``items`` (ascending), those of one ``key`` that follow each other without a gap as one."""
    found: list[_Item] = []
    latest: dict[Hashable, int] = {}
    for item in items:
        at = latest.get(key(item))
        if at is not None and found[at].end == item.begin:
            found[at] = replace(found[at], end=item.end)
        else:
            latest[key(item)] = len(found)
            found.append(item)
    return found


def _stored_segment(
    track: Track, first: int, start: int, end: int, sequence_number: int
) -> tuple[Part, ...]:
    samples = track.samples
    time = samples.decode_time - track.edit_media_time
    last = max(first, int(np.searchsorted(time[:-1], end, side="left")))
    steps = np.clip(time[first : last + 1], start, end)
    size = samples.size[first:last]
    filler = _filler(track)
    size = np.where(size > 0, size, len(filler))
    parts = _stored_samples(track, first, last, filler)
    if first == last or steps[0] > start:
        parts.insert(0, Inline(filler))
        steps = np.concatenate(([start], steps if first < last else [end]))
        size = np.concatenate(([len(filler)], size))
    if steps[-1] < end:
        parts.append(Inline(filler))
        steps = np.append(steps, end)
        size = np.append(size, len(filler))
    run = Run(
        base_time=start + track.edit_media_time,
        duration=np.diff(steps),
        size=size.astype(np.uint32),
        composition=None,
        sync=None,
    )
    payload = sum(part.length for part in parts)
    return (Inline(segment_head(run, payload, sequence_number)), *parts)


def _stored_samples(track: Track, first: int, last: int, filler: bytes) -> list[Part]:
    """Samples ``first`` .. ``last``-1; ``filler`` for each that has no bytes."""
    samples = track.samples
    empty = samples.size[first:last] == 0
    bounds = [0, *(np.flatnonzero(np.diff(empty)) + 1).tolist(), last - first]
    parts: list[Part] = []
    for begin, end in pairwise(bounds):
        if begin == end:
            continue
        if empty[begin]:
            parts.append(Inline(filler * (end - begin)))
        else:
            ranges = byte_ranges(samples, first + begin, first + end)
            parts.append(FileRanges(track.source, *ranges))
    return parts


def _filler(track: Track) -> bytes:
    """The sample for a time at which ``track`` has none."""
    return NO_CUE if track.facts.sample_entry == "wvtt" else ttml_document(_NO_TEXT, 0, 0)
