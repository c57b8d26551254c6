"""From a source to a media file whose samples are known: where all formats begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from sidecar.boxes.declared import Handler, read_hdlr, read_mdhd, read_tkhd
from sidecar.boxes.fragment import SAMPLE_SIZE, BoxBudget, Run, read_moof
from sidecar.boxes.leaf import Leaf
from sidecar.boxes.movie import (
    Movie,
    TrackBoxes,
    data_location,
    is_self_contained,
    read_elng,
    read_moov,
    read_stsd,
)
from sidecar.boxes.tables import MAX_SAMPLES
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import AudioFacts, Facts, VideoFacts
from sidecar.errors import InvalidMedia, MediaError, MissingTfra, UnsupportedMedia
from sidecar.media.captions import has_captions
from sidecar.media.columns import Columns, check_inside, concatenate
from sidecar.media.edits import Window, begin_with_picture, edit_window, present, video_lead
from sidecar.media.fragmented import fragment_columns, stored_fragments
from sidecar.media.layout import Layout, read_layout
from sidecar.media.progressive import moov_columns
from sidecar.media.text.index import index_text, text_format
from sidecar.media.track import Kind, MediaFile, Track
from sidecar.storage.source import Source, SourceIdentity
from sidecar.units import rescale

_KINDS = {
    b"vide": Kind.VIDEO,
    b"soun": Kind.AUDIO,
    b"text": Kind.TEXT,
    b"subt": Kind.TEXT,
    b"sbtl": Kind.TEXT,
}
_PROTECTED = frozenset((b"encv", b"enca", b"enct", b"encs", b"drmi", b"drms"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Playable:
    """A track whose codec is served, before its samples are read."""

    boxes: TrackBoxes
    track_id: int
    kind: Kind
    timescale: int
    language: str | None
    handler_name: str
    sample_entry_box: bytes
    facts: Facts
    window: Window
    data: SourceIdentity


# The file at a location that a media file names; raises ``NotFound`` when there is none.
DataFile = Callable[[str], SourceIdentity]


def index_media(source: Source, data_file: DataFile | None = None) -> MediaFile:
    """The tracks of an MP4 file with all their samples: progressive, fragmented, or both in one;
    or the one track of a WebVTT, SRT or TTML file (``media.text.index``).

    Tracks that are not served (unknown codecs, encrypted, without samples, timecode ...) are named
    in ``skipped``. A fragmented file that ends inside its last fragment is served without it, and
    ``skipped`` says so. ``data_file``: finds the files that hold the samples of tracks whose data
    reference is not this file (14496-12 8.7.2); without it, such tracks are skipped.

    Raises ``InvalidMedia`` when the file is damaged, ``UnsupportedMedia`` when nothing in it is
    served or a served track uses what is not (several sample entries, odd edit lists),
    ``MissingTfra`` when its tracks have no samples, ``NotFound`` when a file that it refers to does
    not exist, ``StorageError``. ``path`` is filled in.
    """
    try:
        name = text_format(source)
        return _index(source, data_file) if name is None else index_text(source, name)
    except MediaError as error:
        error.path = error.path or source.identity.path
        raise


def _index(source: Source, data_file: DataFile | None) -> MediaFile:
    identity = source.identity
    layout = read_layout(source)
    movie = read_moov(layout.moov)
    skipped: list[str] = []
    data = _Data(identity, None if layout.moofs else data_file)
    playable = _playable_tracks(movie, bool(layout.moofs), data, skipped)
    columns = _all_columns(playable, movie, layout, identity, skipped)
    tracks = _present_all(playable, columns, source, skipped)
    if not tracks and playable and layout.cut_at is not None:
        raise InvalidMedia(
            "the file ends inside its first fragment",
            box_path=_printable(layout.cut_type),
            offset=layout.cut_at,
        )
    if not tracks:
        reasons = "; ".join(skipped) or "there is no track"
        error = MissingTfra if playable else UnsupportedMedia
        raise error(f"nothing in the file can be served: {reasons}")
    references = dict.fromkeys(one.data for one in playable if one.data != identity)
    return MediaFile(
        source=identity,
        tracks=tuple(tracks),
        skipped=tuple(skipped),
        references=tuple(references),
    )


@dataclass(frozen=True, slots=True)
class _Data:
    """Where samples are: in the file ``own``, or in those that ``find`` finds."""

    own: SourceIdentity
    find: DataFile | None

    def of(self, dref: Leaf | None, data_reference_index: int) -> SourceIdentity:
        """Raises ``UnsupportedMedia`` when they are elsewhere."""
        if dref is None or is_self_contained(dref, data_reference_index):
            return self.own
        if self.find is None:
            raise UnsupportedMedia("its data is in another file")
        return self.find(data_location(dref, data_reference_index))


def _playable_tracks(
    movie: Movie, fragmented: bool, data: _Data, skipped: list[str]
) -> list[_Playable]:
    found: list[_Playable] = []
    ids: set[int] = set()
    for boxes in movie.tracks:
        header = read_tkhd(boxes.leaf(b"tkhd"))
        if header.track_ID in ids:
            raise boxes.leaf(b"tkhd").damaged(f"two tracks have track_ID {header.track_ID}")
        ids.add(header.track_ID)
        handler = read_hdlr(boxes.leaf(b"hdlr"))
        name = f"track {header.track_ID} ({_printable(handler.handler_type)})"
        track = _playable(movie, boxes, header.track_ID, handler, fragmented, data)
        if isinstance(track, str):
            skipped.append(f"{name}: {track}")
        else:
            found.append(track)
    return found


def _playable(
    movie: Movie,
    boxes: TrackBoxes,
    track_id: int,
    handler: Handler,
    fragmented: bool,
    data: _Data,
) -> _Playable | str:
    """The track, or why it is skipped."""
    if handler.handler_type not in _KINDS:
        return "not audio, video or text"
    media = read_mdhd(boxes.leaf(b"mdhd"))
    stsd = boxes.leaf(b"stsd")
    entry = read_stsd(stsd)
    if entry.type in _PROTECTED:
        return "encrypted"
    try:
        held_by = data.of(boxes.leaves.get(b"dref"), entry.data_reference_index)
    except UnsupportedMedia as error:
        return error.sentence
    try:
        facts = describe(
            entry.box, handler.handler_type, box_path=stsd.box_path, offset=entry.offset
        )
    except UnsupportedMedia as error:
        return f"{_printable(entry.type)}: {error.sentence}"
    kind = _KINDS[handler.handler_type]
    described = (
        Kind.VIDEO
        if isinstance(facts, VideoFacts)
        else Kind.AUDIO
        if isinstance(facts, AudioFacts)
        else Kind.TEXT
    )
    if kind is not described:
        return f"{_printable(entry.type)} does not belong into a track of {kind}"
    elng = boxes.leaves.get(b"elng")
    language = (read_elng(elng) if elng else None) or media.language
    return _Playable(
        boxes=boxes,
        track_id=track_id,
        kind=kind,
        timescale=media.timescale,
        language=None if language == "und" else language,
        handler_name=handler.name,
        sample_entry_box=entry.box,
        facts=facts,
        window=edit_window(
            boxes.leaves.get(b"elst"),
            movie_timescale=movie.header.timescale,
            timescale=media.timescale,
            fragmented=fragmented,
        ),
        data=held_by,
    )


def _printable(four_cc: bytes) -> str:
    return four_cc.decode("ascii", "replace") if four_cc.isalnum() else f"0x{four_cc.hex()}"


def _all_columns(
    playable: Sequence[_Playable],
    movie: Movie,
    layout: Layout,
    identity: SourceIdentity,
    skipped: list[str],
) -> list[Columns]:
    """The samples of each track, checked to lie in their file."""
    budget = _Budget()
    columns: list[Columns] = []
    for track in playable:
        tables = moov_columns(track.boxes, track.data.size)
        where = (track.boxes.box_path, track.boxes.offset)
        budget.spend(track.data, len(tables), int(tables.size.sum(dtype=np.int64)), where)
        check_inside(tables, track.data.size, where)
        columns.append(tables)
    by_track: dict[int, list[Run]] = {track.track_id: [] for track in playable}
    tracks_of: dict[int, set[int]] = {}
    for run in _complete_runs(layout, movie, identity.size, skipped):
        tracks_of.setdefault(run.moof_offset, set()).add(run.track_ID)
        own = by_track.get(run.track_ID)
        if own is not None:
            # Before a run is expanded: with one size for all, nothing else bounds its length.
            common = 0 if run.layout & SAMPLE_SIZE else run.data_length
            if not common and not run.layout & SAMPLE_SIZE and run.sample_count:
                box_path, at = run.where
                raise InvalidMedia("the samples have no size", box_path=box_path, offset=at)
            budget.spend(identity, run.sample_count, common, run.where)
            own.append(run)
    alone = frozenset(at for at, tracks in tracks_of.items() if len(tracks) == 1)
    moof_end = {moof.offset: moof.end for moof in layout.moofs}
    for position, track in enumerate(playable):
        own = by_track[track.track_id]
        if own:
            before = columns[position]
            where = own[0].where
            fragments = fragment_columns(own, int(before.decode_time[-1]))
            check_inside(fragments, identity.size, where)
            if len(before):
                columns[position] = concatenate(before, fragments, where)
            else:
                stored = stored_fragments(own, fragments, alone, moof_end, layout.mdat_end)
                columns[position] = replace(fragments, stored=stored)
    return columns


class _Budget:
    """What all tracks of a file together may hold.

    Samples of different tracks do not share bytes, so together they are no larger than the file:
    without that rule small tables that all point at the same bytes would multiply.
    """

    def __init__(self) -> None:
        self._bytes: dict[SourceIdentity, int] = {}
        self._samples = MAX_SAMPLES

    def spend(
        self, source: SourceIdentity, samples: int, size: int, where: tuple[str, int]
    ) -> None:
        self._samples -= samples
        left = self._bytes[source] = self._bytes.get(source, source.size) - size
        if left < 0:
            raise InvalidMedia(
                "the samples are larger than the file", box_path=where[0], offset=where[1]
            )
        if self._samples < 0:
            raise UnsupportedMedia(
                f"there are more than {MAX_SAMPLES} samples", box_path=where[0], offset=where[1]
            )


def _complete_runs(layout: Layout, movie: Movie, file_size: int, skipped: list[str]) -> list[Run]:
    """The runs of all moofs; without those at the end of a cut file whose data is not all there."""
    budget = BoxBudget(file_size)
    fragments = [
        read_moof(moof.data, moof.body, moof.offset, index, movie.defaults, budget)
        for index, moof in enumerate(layout.moofs)
    ]
    if layout.cut_at is not None:
        whole = len(fragments)
        while whole and any(
            run.data_offset + run.data_length > file_size for run in fragments[whole - 1]
        ):
            whole -= 1
        if whole < len(fragments) or layout.cut_type == b"moof":
            skipped.append(f"the last fragment: the file ends at byte {file_size}, inside it")
        del fragments[whole:]
    return [run for fragment in fragments for run in fragment]


def _present_all(
    playable: Sequence[_Playable],
    columns: Sequence[Columns],
    source: Source,
    skipped: list[str],
) -> list[Track]:
    windows = [_window(track, own) for track, own in zip(playable, columns, strict=True)]
    # One shift for all tracks keeps them in step; it is that of the video that needs the most.
    lead = Fraction(0)
    for track, own, window in zip(playable, columns, windows, strict=True):
        if track.kind is Kind.VIDEO:
            lead = max(lead, Fraction(video_lead(own, window), track.timescale))
    tracks: list[Track] = []
    for track, own, window in zip(playable, columns, windows, strict=True):
        shift = rescale(lead.numerator, lead.denominator, track.timescale)
        where = (track.boxes.box_path, track.boxes.offset)
        presented = present(
            own,
            window,
            kind=track.kind,
            timescale=track.timescale,
            shift=shift,
            where=where,
        )
        if presented is None:
            reason = "no sample is within its edit list" if len(own) else "no samples"
            skipped.append(f"track {track.track_id} ({track.kind}): {reason}")
            continue
        samples, edit_media_time = presented
        tracks.append(
            Track(
                kind=track.kind,
                track_id=track.track_id,
                timescale=track.timescale,
                language=track.language,
                handler_name=track.handler_name,
                sample_entry_box=track.sample_entry_box,
                facts=track.facts,
                edit_media_time=edit_media_time,
                samples=samples,
                source=track.data,
                closed_captions=track.kind is Kind.VIDEO
                and track.data == source.identity
                and has_captions(source, samples),
                text_delay=shift if track.kind is Kind.TEXT else 0,
            )
        )
    return tracks


def _window(track: _Playable, columns: Columns) -> Window:
    edited = b"elst" in track.boxes.leaves and columns.fragment_start is None
    if track.kind is Kind.VIDEO and edited:
        return begin_with_picture(columns, track.window)
    return track.window
