"""Which part of a publishing point a manifest lists: the DVR window, start-over, catch-up."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sidecar.errors import NotFound
from sidecar.live.playable import Playable
from sidecar.media.moments import Moment
from sidecar.media.options import DEFAULT_WINDOW, Options

# A window has so many segments at least (RFC 8216 6.2.2). When nothing more comes, as many stay
# listed before it, or it would have gone on while players load the last ones: dash.js knows by its
# length alone what is left of a list.
_STAYING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedWindow:
    """``begin`` to ``edge``, presentation times in seconds. ``depth``: of the window as DASH tells
    it, seconds. ``fixed_begin``: it only grows. ``gone``: where it began, seconds, when that is no
    longer kept. ``ended``: nothing more comes into it."""

    begin: Fraction
    edge: Fraction
    depth: Fraction
    fixed_begin: bool
    gone: Fraction | None
    ended: bool


def listed_window(
    options: Options,
    recent: Playable,
    *,
    first: Fraction,
    begun: Fraction,
    epoch_ms: int,
    ended: bool,
    depth_is_dynamic: bool,
) -> ListedWindow:
    """What a manifest with ``options`` lists. ``recent``: the newest part of the presentation.
    ``first``: where begins what is kept, ``begun``: where the channel began, seconds.
    ``epoch_ms``: when its time 0 was, since 1970. ``depth_is_dynamic``: the depth is what there is.

    Raises ``NotFound`` when nothing has been received of that part.
    """

    def seconds(moment: Moment) -> Fraction:
        if moment.dated:
            return moment.seconds - Fraction(epoch_ms, 1000)
        return moment.seconds + begun

    edge = recent.end - (options.time_shift or 0)
    some = _STAYING * max(recent.nominal, longest_minimum(options))
    length = depth = max(window_length(options), some)
    if ended:
        length += some
    begin = max(first, recent.before_holes(edge - length, edge))
    since = None
    if options.clip_begin is not None:
        since = max(begun, seconds(options.clip_begin))
        begin = max(first, since)
    is_over = False
    if options.clip_end is not None:
        wanted = seconds(options.clip_end)
        if wanted <= edge:
            edge, ended, is_over = wanted, True, True
            begin = first if since is None else begin
    if begin >= edge:
        raise NotFound("nothing has been received of this part of the presentation")
    gone = None
    if since is not None:
        depth = edge - begin
        if begin - since > recent.nominal / 2 and not is_over:
            # Where it began, or nearly, if fragments are not all as long as usual.
            into = (since - begun) % (recent.nominal or 1)
            gone = since - into + recent.delay
    elif depth_is_dynamic:
        depth = min(depth, edge - begin)
    return ListedWindow(
        begin=begin,
        edge=edge,
        depth=depth,
        fixed_begin=since is not None,
        gone=gone,
        ended=ended,
    )


def window_length(options: Options) -> Fraction:
    """Seconds of the DVR window."""
    return options.dvr_window_length or DEFAULT_WINDOW


def longest_minimum(options: Options) -> Fraction:
    """Seconds that segments last at least, in the format where that is most."""
    lengths = (
        options.hls_minimum_fragment_length,
        options.mpd_minimum_fragment_length,
        options.iss_minimum_fragment_length,
        options.hds_minimum_fragment_length,
    )
    return max(length or Fraction(0) for length in lengths)
