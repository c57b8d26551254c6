"""What an operator decides about a publishing point, in the terms in which it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from sidecar.media.options import DEFAULT_WINDOW, Options

# What is kept beyond the window: a player fetches what a playlist listed for a while after.
MARGIN = 60
# Files of a point that does not keep everything: an eighth of it, so that no more than that is kept
# for nothing, but neither a file for each fragment nor one too large to be removed at once.
_FILES = 8
_SHORTEST, _LONGEST = 10, 3600
# A hole is waited for this long, counted in media behind the newest: a second encoder, or one that
# connects again and sends its last two fragments once more, is seldom further behind. Whoever is
# would change what players have already skipped.
GRACE = 10


class ArchiveSync(StrEnum):
    """What is on disk for certain after a power cut; nothing is lost when processes die."""

    NONE = "none"  # whatever the kernel has written; the index itself may be damaged
    SEGMENT = "segment"  # archive files that are finished; the index is sound
    FRAGMENT = "fragment"  # every fragment that is in the index

    @property
    def synchronous(self) -> str:
        """As SQLite calls it."""
        return {"none": "OFF", "segment": "NORMAL", "fragment": "FULL"}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSettings:
    """The settings of a publishing point, all lengths in seconds.

    ``window``: what manifests list. ``kept``: how much media stays, None = all of it.
    ``file_length``: what an archive file holds, 0 = everything. ``grace``: how far behind the
    newest a hole is still filled. ``restart``: whether an encoder may go on after an end of stream.
    """

    window: Fraction
    kept: Fraction | None
    file_length: Fraction
    grace: Fraction
    sync: ArchiveSync
    restart: bool
    event_id: str


def point_settings(options: Options) -> PointSettings:
    """The settings that ``options``, those of a point's server manifest, amount to."""
    window = options.dvr_window_length or DEFAULT_WINDOW
    # Manifests end a time shift before the newest.
    kept: Fraction | None = window + (options.time_shift or 0) + MARGIN
    if options.archiving:
        assert kept is not None
        kept = max(kept, options.archive_length + MARGIN) if options.archive_length else None
    length = options.archive_segment_length or Fraction(0)
    if not length and kept is not None:
        length = min(max(kept / _FILES, Fraction(_SHORTEST)), Fraction(_LONGEST))
    return PointSettings(
        window=window,
        kept=kept,
        file_length=length,
        grace=min(window, Fraction(GRACE)),
        sync=ArchiveSync(options.archive_sync),
        restart=options.restart_on_encoder_reconnect,
        event_id=options.event_id,
    )
