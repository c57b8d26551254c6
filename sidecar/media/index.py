"""From a source to a media file whose samples are known: where all formats begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from sidecar.boxes.fragment import SAMPLE_SIZE, BoxBudget, Run, read_moof
from sidecar.boxes.movie import Movie, read_moov
from sidecar.boxes.tables import MAX_SAMPLES
from sidecar.errors import InvalidMedia, MediaError, MissingTfra, UnsupportedMedia
from sidecar.media.captions import has_captions
from sidecar.media.columns import Columns, check_inside, concatenate
from sidecar.media.edits import Window, begin_with_picture, present, video_lead
from sidecar.media.fragmented import fragment_columns, stored_fragments
from sidecar.media.layout import Layout, read_layout
from sidecar.media.playable import DataFile, DataFiles, Playable, playable_tracks, printable
from sidecar.media.progressive import moov_columns
from sidecar.media.text.index import index_text, text_format
from sidecar.media.track import Kind, MediaFile, Track
from sidecar.storage.source import Source, SourceIdentity
from sidecar.units import rescale


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
    data = DataFiles(identity, None if layout.moofs else data_file)
    playable = playable_tracks(movie, bool(layout.moofs), data, skipped)
    columns = _all_columns(playable, movie, layout, identity, skipped)
    tracks = _present_all(playable, columns, source, skipped)
    if not tracks and playable and layout.cut_at is not None:
        raise InvalidMedia(
            "the file ends inside its first fragment",
            box_path=printable(layout.cut_type),
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


def _all_columns(
    playable: Sequence[Playable],
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
    playable: Sequence[Playable],
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


def _window(track: Playable, columns: Columns) -> Window:
    edited = b"elst" in track.boxes.leaves and columns.fragment_start is None
    if track.kind is Kind.VIDEO and edited:
        return begin_with_picture(columns, track.window)
    return track.window
