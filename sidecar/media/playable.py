"""Which tracks of a moov can be served, and what its boxes say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.boxes.declared import Handler, read_hdlr, read_mdhd, read_tkhd
from sidecar.boxes.leaf import Leaf
from sidecar.boxes.movie import (
    Movie,
    TrackBoxes,
    data_location,
    is_self_contained,
    read_elng,
    read_stsd,
)
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import AudioFacts, Facts, VideoFacts
from sidecar.errors import UnsupportedMedia
from sidecar.media.edits import Window, edit_window
from sidecar.media.track import Kind
from sidecar.storage.source import SourceIdentity

_KINDS = {
    b"vide": Kind.VIDEO,
    b"soun": Kind.AUDIO,
    b"text": Kind.TEXT,
    b"subt": Kind.TEXT,
    b"sbtl": Kind.TEXT,
}
_PROTECTED = frozenset((b"encv", b"enca", b"enct", b"encs", b"drmi", b"drms"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Playable:
    """A track whose codec is served, before its samples are read.

    ``boxes``: its trak. ``timescale``: ticks per second. ``language``: None when not said.
    ``sample_entry_box``: the one entry of stsd. ``window``: what its edit list presents.
    ``data``: the file that holds its samples.
    """

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


@dataclass(frozen=True, slots=True)
class DataFiles:
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


def playable_tracks(
    movie: Movie, fragmented: bool, data: DataFiles, skipped: list[str]
) -> list[Playable]:
    """The tracks of ``movie`` that can be served, in order; why others cannot goes to ``skipped``.

    ``fragmented``: movie fragments follow, so the edit lists' durations do not count.

    Raises ``InvalidMedia`` when boxes are damaged or missing or two tracks have one track_ID,
    ``UnsupportedMedia`` for several sample entries and odd edit lists.
    """
    found: list[Playable] = []
    ids: set[int] = set()
    for boxes in movie.tracks:
        header = read_tkhd(boxes.leaf(b"tkhd"))
        if header.track_ID in ids:
            raise boxes.leaf(b"tkhd").damaged(f"two tracks have track_ID {header.track_ID}")
        ids.add(header.track_ID)
        handler = read_hdlr(boxes.leaf(b"hdlr"))
        name = f"track {header.track_ID} ({printable(handler.handler_type)})"
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
    data: DataFiles,
) -> Playable | str:
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
        return f"{printable(entry.type)}: {error.sentence}"
    kind = _KINDS[handler.handler_type]
    described = (
        Kind.VIDEO
        if isinstance(facts, VideoFacts)
        else Kind.AUDIO
        if isinstance(facts, AudioFacts)
        else Kind.TEXT
    )
    if kind is not described:
        return f"{printable(entry.type)} does not belong into a track of {kind}"
    elng = boxes.leaves.get(b"elng")
    language = (read_elng(elng) if elng else None) or media.language
    return Playable(
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


def printable(four_cc: bytes) -> str:
    """A type for messages, in hexadecimal unless it is letters and digits."""
    return four_cc.decode("ascii", "replace") if four_cc.isalnum() else f"0x{four_cc.hex()}"
