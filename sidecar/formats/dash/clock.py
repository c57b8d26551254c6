"""When an MPD is presented: attributes of its root, and where clients get the time from.

Those of a presentation that grows count in the time of its media, not in that of its reception:
origins that were sent the same say the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from lxml import etree

from sidecar.formats.dash.elements import child
from sidecar.formats.dash.period import Listing, Period
from sidecar.media.options import Options
from sidecar.timeline.live import Live

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUFFER_TIME = Fraction(10)
# How far players stay behind: the segment that is being recorded, the one that they wait for, and
# as much again for what encoders and networks take; of short segments, what these take anyway.
_DELAY_SEGMENTS = 4
_SHORTEST_DELAY = Fraction(6)


def stored(period: Period, longest: Fraction, options: Options) -> dict[str, str]:
    """Attributes of the MPD of a presentation that is complete. ``longest``: segment, seconds."""
    assert period.duration is not None
    return {
        "type": "static",
        "mediaPresentationDuration": iso_duration(period.start + period.duration),
        "maxSegmentDuration": iso_duration(upwards(longest)),
        "minBufferTime": iso_duration(upwards(_given(options.mpd_min_buffer_time, _BUFFER_TIME))),
    }


def growing(
    period: Period, live: Live, reference: Listing, longest: Fraction, options: Options
) -> dict[str, str]:
    """Attributes of the MPD of a presentation that grows (ISO/IEC 23009-1 5.3.1.2).

    ``reference``: what is listed of the rendition that the others follow. Without a
    timeShiftBufferDepth, all that is listed stays.
    """
    zero = Fraction(live.epoch_ms, 1000) + (options.time_shift or 0)
    delay = max(_DELAY_SEGMENTS * reference.usual, _SHORTEST_DELAY)
    if not live.only_grows:
        # Inside what can be had, and not at its very begin, which moves.
        delay = max(min(delay, live.depth - reference.usual), reference.usual)
    delay = _given(options.mpd_suggested_presentation_delay, delay)
    update = _given(options.mpd_minimum_update_period, reference.usual)
    buffer = _given(options.mpd_min_buffer_time, reference.usual)
    attributes = {
        "type": "dynamic",
        "availabilityStartTime": iso_date(zero + period.origin),
        # A version that is no longer than the one before is another one too (5.3.1.2): origins
        # that were sent the same have counted the same changes.
        "publishTime": iso_date(zero + live.end + Fraction(live.changes, 1000)),
        "minimumUpdatePeriod": iso_duration(upwards(update)),
    }
    if not live.only_grows:
        attributes["timeShiftBufferDepth"] = iso_duration(upwards(live.depth))
    # In whole tenths of a second: the frames of audio make each window's longest another one.
    tenths = Fraction(math.ceil(10 * longest), 10)
    return attributes | {
        "suggestedPresentationDelay": iso_duration(upwards(delay)),
        "maxSegmentDuration": iso_duration(tenths),
        "minBufferTime": iso_duration(upwards(buffer)),
    }


def append_time_source(root: etree._Element) -> None:
    """Says where the time is to be had: from the Date of any MPD of the presentation.

    One of a public server may be out of reach, and one that stands in the MPD could not be cached.
    """
    child(root, "UTCTiming", schemeIdUri="urn:mpeg:dash:utc:http-head:2014", value=".mpd")


def longest_of(listings: Iterable[Listing]) -> Fraction:
    """Seconds of the longest segment that is listed."""
    return max(one.longest for one in listings)


def upwards(value: Fraction) -> Fraction:
    """``value`` in whole milliseconds, none of it lost."""
    return Fraction(math.ceil(value * 1000), 1000)


def iso_duration(value: Fraction) -> str:
    """Whole milliseconds as an xs:duration: ``PT12M13.979S``."""
    seconds, rest = divmod(int(value * 1000), 1000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    text = f"{seconds % 60}.{rest:03d}".rstrip("0").rstrip(".") if rest else str(seconds % 60)
    return f"PT{f'{hours}H' if hours else ''}{f'{minutes}M' if hours or minutes else ''}{text}S"


def iso_date(seconds: Fraction) -> str:
    """``seconds`` since 1970 as an xs:dateTime: ``2026-11-23T13:19:04.250Z``."""
    at = _EPOCH + timedelta(milliseconds=math.floor(seconds * 1000))
    precision = "milliseconds" if at.microsecond else "seconds"
    return f"{at.replace(tzinfo=None).isoformat('T', precision)}Z"


def _given(value: Fraction | None, otherwise: Fraction) -> Fraction:
    return otherwise if value is None else value
