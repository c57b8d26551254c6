"""Served frames against their source's: the pictures and sounds, and when they are presented."""

from __future__ import annotations

from fractions import Fraction

from tests.support.assets import Asset, SourceStream, presented, source_of, streams, whole
from tests.support.frames import Frame, decode_all, dropped, probe

MOVIE_TICK = Fraction(1, 1000)


def assert_same(
    asset: Asset,
    source: SourceStream,
    served: list[Frame],
    what: str,
    offset: Fraction = Fraction(0),
) -> None:
    """``served`` is what ``source`` presents, ``offset`` seconds later, and nothing of it is
    missing or late otherwise.

    Samples that the source's edit list leaves out may be served before its first frame: an audio
    decoder needs them (priming), and video can only start at a sync sample. So the hashes are
    compared with the source decoded without its edit list, and the presentation times with the
    source decoded with it. Times are exact but for the movie timescale (ms) in which a file states
    its empty edits.
    """
    every, shown = whole(source), presented(source)
    start, end = dropped(every, served)
    first, last = min(shown), max(shown)
    # The first frame after a gap may be inexact (see dropped): none of those must be presented.
    assert start == 0 or start < first, f"{what}: {start} frames at the start are missing"
    assert len(every) - end > last, f"{what}: {end} frames at the end are missing"
    misread = asset.misread[0 if source.kind == "video" else 1]
    for index, time in shown.items():
        late = served[index - start].time - (time - misread + asset.lead + offset)
        if index == 0 and source.kind == "audio" and offset and 0 < late < Fraction(1, 10):
            # Packed audio has one timestamp: a first frame that is apart from the others (priming
            # whose edit list is lost) goes with them.
            continue
        assert abs(late) <= MOVIE_TICK, f"{what}: frame {index} is {float(late):+.6f} s off"


def assert_all_streams(
    asset: Asset, url: str, *, together: bool, offset: Fraction = Fraction(0)
) -> set[SourceStream]:
    """Decodes every stream that ffmpeg finds at ``url``; returns the sources they came from.

    ``offset``: seconds by which all times are later, by intent. ``together``: in one run; ffmpeg's
    DASH demuxer stops with the first Representation to end, so DASH needs one run for each.
    """
    if together:
        decoded = decode_all(url)
    else:
        listed = [s for s in probe(url) if s["codec_type"] in {"audio", "video"}]
        assert listed, url
        decoded = [one for s in listed for one in decode_all(url, only=f"0:{s['index']}")]
    sources = set()
    for number, one in enumerate(decoded):
        source = source_of(asset, one.kind, height=one.height, channels=one.channels)
        sources.add(source)
        assert_same(asset, source, one.frames, f"{url} {one.kind} {number}", offset)
    return sources


def sources_of(asset: Asset) -> set[SourceStream]:
    """Every source stream of ``asset``."""
    return {stream for file in asset.files for stream in streams(file)}
