"""What can be played of a publishing point: presentations made from its index."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from sidecar.errors import NotFound
from sidecar.live.archive_folder import ArchiveFolder
from sidecar.live.frontier import Frontier, told
from sidecar.live.index import PointIndex
from sidecar.live.kept import KeptColumns
from sidecar.live.model import Header
from sidecar.live.playable import Playable, PlayableMaker
from sidecar.live.playable_eras import era_of
from sidecar.live.tracks import Tracks
from sidecar.media.server_manifest import ServerManifest
from sidecar.timeline.live import Era


class PointView:
    """A reader of one publishing point; to be used by one thread at a time.

    ``keep``: seconds of media that stay in memory. ``splicing``: segments are cut where the
    programme is left and comes back.
    """

    def __init__(
        self,
        index: PointIndex,
        *,
        name: str,
        keep: Fraction,
        read_header: Callable[[bytes], Header],
        splicing: bool = False,
    ) -> None:
        self._index = index
        self._tracks = Tracks(index, read_header)
        self._kept = KeptColumns(index, self._tracks, window=keep)
        self._told: Frontier | None = None
        self.archive = ArchiveFolder(index)
        self._maker = PlayableMaker(
            index,
            self._tracks,
            name=name,
            source=self.archive.source,
            since=self._kept.presented_since,
            splicing=splicing,
        )

    def refresh(self) -> bool:
        """Takes in what was committed since the last time; whether that was anything."""
        # First: of what is told of, nothing must be missing.
        self._told = told(self._index)
        return self._kept.refresh(None if self._told is None else self._told.until)

    @property
    def extent(self) -> tuple[Fraction, Fraction] | None:
        """Begin and end of all that the index has of any track, presentation times in seconds."""
        begins, ends = [], []
        for track in self._tracks:
            extent = self._index.extent(track)
            if extent is not None:
                begins.append(self._tracks.presented(track, extent.begin))
                ends.append(self._tracks.presented(track, extent.end))
        return (max(Fraction(0), min(begins)), max(ends)) if begins else None

    @property
    def begun(self) -> Fraction:
        """When the first sample of the point was decoded, seconds of the presentation, whatever is
        left of that. There must be something."""
        said = self._index.setting("begun")
        if said is not None:
            return Fraction(said)
        extent = self.extent
        assert extent is not None
        return extent[0]

    def time_of(self, sequence: int) -> Fraction | None:
        """Presentation time, seconds, at which the first fragment of the grid from number
        ``sequence`` on begins, or None when there is none."""
        track = self._tracks.reference(self._tracks)
        if track is None:
            return None
        time = self._index.time_of(track, sequence)
        return None if time is None else self._tracks.presented(track, time)

    def recent(self, manifest: ServerManifest, *, ended: bool) -> Playable:
        """What is kept in memory. Raises ``NotFound`` when no fragment has come yet.

        ``ended``: nothing more will come, so that the last segment is complete as it is.
        """
        return self._maker.make(
            self._kept.columns, manifest, told=self._told, edge=None, ended=ended
        )

    def stretch(
        self, manifest: ServerManifest, begin: Fraction, end: Fraction, *, ended: bool
    ) -> Playable:
        """What the index has from ``begin`` to ``end``, presentation times in seconds, with the
        fragments that lie there in part. Raises ``NotFound`` when that is nothing."""
        columns = self._kept.read(begin, end)
        extent = self.extent
        edge = extent[1] if extent else None
        return self._maker.make(columns, manifest, told=self._told, edge=edge, ended=ended)

    def era(self, playable: Playable, number: int) -> Era:
        """Era ``number``, with what is in ``playable``. Raises ``NotFound`` when there is none."""
        found = playable.eras.get(number)
        if found is not None:
            return found
        tracks = self._tracks
        reference = tracks.reference(playable.tracks)
        if number > len(tracks.eras.changes) or reference is None:
            raise NotFound(f"there is no era {number}")
        return era_of(
            self._index, tracks, reference, number, playable.presentation, playable.tracks
        )
