"""What formats must know of a presentation that grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.media.events import Event
from sidecar.media.presentation import Presentation


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Era:
    """A stretch in which no track changes what its samples are decoded by. ``begin``: when its
    first picture is presented, seconds; ``presentation``: as it is then."""

    begin: Fraction
    presentation: Presentation


# From begin and end of a segment, presentation times in seconds, to the events in it.
Carried = Callable[[Fraction, Fraction], tuple[Event, ...]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Live:
    """The state of a live presentation at one moment; a function of its index, the query and now.

    ``ended``: nothing more will come within what the manifest lists: it is written like one of
    stored content (ENDLIST, static). ``begin``, ``end``: what manifests list, seconds of the
    presentation; the same as ``Request.clip``. ``fixed_begin``: the client asked for a begin that
    stays (start-over), so the list only grows. ``gone``: where that began of which the begin is not
    kept any more, seconds of the presentation; None when all of it is. ``depth``: length of the DVR
    window, seconds: what the option says or, with a fixed begin or
    ``usp_dynamic_time_shift_buffer_depth``, what there is of it.
    ``epoch_ms``: Unix milliseconds of presentation time 0; 0 for media with times since 1970.
    ``published_ms``: when the newest of what is listed was received, Unix milliseconds.
    ``changed_ms``: when that, or what is told of it, was last made another one, by an event or by
    what came belatedly too; ``changes``: how often by these, of what is listed.
    ``next_ms``: when a manifest has something new to say, as far as can be told, Unix milliseconds.
    ``created_ms``: when the publishing point was made or changed, Unix milliseconds.
    ``folder``: what relative URLs of a manifest begin with, those of the event that is going on
    where the manifest does not lie in its folder itself.
    ``events``: what manifests are to tell of, by time; ``carried``: of a segment, what stands in
    it, None = nothing at all; ``streams_carried``: schemes and values of that.
    ``arrivals``: for each source fragment, by time, float64[n] at which it ends (seconds), and
    int64[n] Unix milliseconds when it came, 0 when it never did. ``eras``: those of all that is at
    hand, and the one that the request asks for, by their numbers (``SegmentList.era``).
    """

    ended: bool
    begin: Fraction
    end: Fraction
    fixed_begin: bool
    gone: Fraction | None = None
    depth: Fraction
    epoch_ms: int
    published_ms: int
    changed_ms: int
    changes: int
    next_ms: int
    created_ms: int
    folder: str = ""
    events: tuple[Event, ...] = ()
    streams_carried: tuple[tuple[str, str], ...] = ()
    carried: Carried | None = None
    arrivals: tuple[NDArray[np.float64], NDArray[np.int64]]
    eras: Mapping[int, Era]

    @property
    def only_grows(self) -> bool:
        """Whether nothing that is listed is ever removed."""
        return self.fixed_begin and self.gone is None

    def received_ms(self, end: Fraction) -> int:
        """When the last part of a segment that ends at ``end`` (presentation time, seconds) came,
        Unix milliseconds."""
        ends, came = self.arrivals
        # Sound ends up to a frame after the fragment that it came with.
        at = int(np.searchsorted(ends, float(end) - 0.1))
        return int(came[min(at, len(came) - 1)]) if len(came) else self.published_ms
