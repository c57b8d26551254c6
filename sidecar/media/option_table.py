"""The table of playout options: how each is read, where it may be given, what depends on it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sidecar.media.filters import FilterError, parse_filter, parse_filters
from sidecar.media.moments import ALLOWED as _MOMENT
from sidecar.media.moments import parse_moment, parse_range

MAX_LENGTH = Fraction(3600)
# A year: what an archive may keep.
MAX_ARCHIVE = Fraction(366 * 86400)
_NUMBER = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/([0-9]{1,9}(?:\.[0-9]{1,9})?))?")
_EVENT = re.compile(r"[A-Za-z0-9_.:~-]{1,64}")
_TRUE = frozenset({"", "true", "1", "on", "yes"})
_FALSE = frozenset({"false", "0", "off", "no"})
_MAX_BITRATE_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One row: how the text is read (ValueError when it cannot be) and what it may be.

    ``in_query``, ``in_head``: whether a request, a server manifest may set it. ``names_segments``:
    the format (as of request kinds) whose segments differ with it, so that their URLs must carry
    it; empty = none. ``names_playlists``: whether the HLS playlists that a master playlist refers
    to differ with it. ``repeats``: every value counts, in their order (the value is a tuple);
    otherwise the last one does. ``flag``: may be given without a value.
    """

    read: Callable[[str], Any]
    allowed: str
    meaning: str
    in_query: bool = True
    in_head: bool = True
    names_segments: str = ""
    names_playlists: bool = False
    repeats: bool = False
    flag: bool = False


def _read_flag(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _read_seconds(text: str) -> Fraction:
    return _read_span(text, MAX_LENGTH)


def _read_long(text: str) -> Fraction:
    return _read_span(text, MAX_ARCHIVE)


def _read_window(text: str) -> Fraction | None:
    return None if text.strip() == "default" else _read_long(text)


def _read_event(text: str) -> str:
    if _EVENT.fullmatch(text) is None:
        raise ValueError
    return text


def _read_sync(text: str) -> str:
    word = text.strip().lower()
    if word not in ("none", "segment", "fragment"):
        raise ValueError
    return word


def _read_span(text: str, longest: Fraction) -> Fraction:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError
    divisor = Fraction(match[2] or 1)
    if not divisor:
        raise ValueError
    value = Fraction(match[1]) / divisor
    if value > longest:
        raise ValueError
    return value


def _read_hls_version(text: str) -> int:
    value = _read_whole(text, digits=2)
    if not 1 <= value <= 13:
        raise ValueError
    return value


def _read_smooth_version(text: str) -> int:
    return {"20": 20, "2.0": 20, "22": 22, "2.2": 22}[text.strip()]


def _read_bitrate(text: str) -> int:
    return _read_whole(text, digits=_MAX_BITRATE_DIGITS)


def _read_whole(text: str, *, digits: int) -> int:
    word = text.strip()
    if not (word.isascii() and word.isdigit() and len(word) <= digits):
        raise ValueError
    return int(word)


def _read_template(text: str) -> str:
    word = text.strip().lower()
    if word not in ("time", "number", "number_timeline"):
        raise ValueError
    return word


def read_value(option: Option, text: str, place: str) -> Any:
    """The value that ``text`` says; ``place`` names where it stands.

    Raises ``ValueError`` with a sentence that names ``place`` and says what is allowed there.
    """
    try:
        return option.read(text)
    except FilterError as error:
        raise ValueError(f"{place} must be {option.allowed}; {error}") from None
    except (ValueError, KeyError):
        raise ValueError(f"{place} must be {option.allowed}") from None


_SECONDS = f"seconds from 0 to {MAX_LENGTH}, as a number or as a fraction like 48/25"
_FLAG = "true or false"
_LONG = f"seconds from 0 to {MAX_ARCHIVE}"
_FILTER = "a filter expression"
_BITRATE = "bits per second, a whole number"


def _minimum(what: str, format_name: str) -> Option:
    return Option(
        read=_read_seconds,
        allowed=_SECONDS,
        meaning=f"shortest {what} segment, seconds",
        names_segments=format_name,
    )


def _playout(what: str) -> Option:
    # Playout is not the client's to switch on, and a value that asks for encryption is refused as
    # any other that is not a flag: content that was to be encrypted never goes out in the clear.
    return Option(
        read=_read_flag, allowed=_FLAG, meaning=f"whether {what} is served", in_query=False
    )


def _switch(meaning: str, *, names_playlists: bool = False) -> Option:
    return Option(
        read=_read_flag,
        allowed=_FLAG,
        meaning=meaning,
        flag=True,
        names_playlists=names_playlists,
    )


def _moment(meaning: str) -> Option:
    return Option(read=parse_moment, allowed=_MOMENT, meaning=meaning, in_head=False)


def _bound(meaning: str) -> Option:
    return Option(read=_read_bitrate, allowed=_BITRATE, meaning=meaning)


def _of_point(read: Callable[[str], Any], allowed: str, meaning: str) -> Option:
    return Option(
        read=read,
        allowed=allowed,
        meaning=f"live: {meaning}",
        in_query=False,
        flag=read is _read_flag,
    )


OPTIONS: dict[str, Option] = {
    "archive_length": _of_point(_read_long, _LONG, "for how long media is kept, 0 = for ever"),
    "archive_segment_length": _of_point(
        _read_long, _LONG, "length of an archive file, 0 = one file"
    ),
    "archive_sync": _of_point(
        _read_sync,
        "none, segment or fragment",
        "what is on disk for certain after a power cut",
    ),
    "archiving": _of_point(_read_flag, _FLAG, "whether media that has left the window is kept"),
    "dvr_window_length": Option(
        read=_read_window,
        allowed=f"{_LONG}, or default",
        meaning="live: what manifests list, seconds up to the live point",
        names_playlists=True,
    ),
    "end": _moment("end of the clip, counted from `vbegin`"),
    "event_id": _of_point(
        _read_event, "letters, digits and . _ : ~ -", "name of the event that is going on"
    ),
    "filter": Option(read=parse_filter, allowed=_FILTER, meaning="which tracks the manifest lists"),
    "fixed_gop": _switch("DASH: a trick-mode set made from the key frames of ordinary video"),
    "hds_minimum_fragment_length": _minimum("HDS", "hds"),
    "hds_playout": _playout("HDS"),
    "hls_client_manifest_version": Option(
        read=_read_hls_version,
        allowed="a number from 1 to 13",
        meaning="EXT-X-VERSION, and what that version has",
        names_playlists=True,
    ),
    "hls_fmp4": _switch("HLS with fragmented MP4 rather than MPEG-TS", names_playlists=True),
    "hls_minimum_fragment_length": _minimum("HLS", "hls"),
    "hls_no_audio_only": _switch("HLS without audio-only variants"),
    "hls_no_multiplex": _switch("HLS with audio in renditions of its own only"),
    "hls_playout": _playout("HLS"),
    "iss_client_manifest_version": Option(
        read=_read_smooth_version, allowed="20 or 22", meaning="Smooth manifest 2.0 or 2.2"
    ),
    "iss_minimum_fragment_length": _minimum("Smooth", "smooth"),
    "iss_playout": _playout("Smooth"),
    "max_bitrate": _bound("no video above this (no audio, when there is no video)"),
    "min_bitrate": _bound("no video below this (no audio, when there is no video)"),
    "mpd_min_buffer_time": Option(
        read=_read_seconds,
        allowed=_SECONDS,
        meaning="MPD@minBufferTime, seconds; not said: 10, live: one segment",
    ),
    "mpd_minimum_fragment_length": _minimum("DASH", "dash"),
    "mpd_minimum_update_period": Option(
        read=_read_seconds,
        allowed=_SECONDS,
        meaning="live: MPD@minimumUpdatePeriod, seconds; not said: one segment",
    ),
    "mpd_playout": _playout("DASH"),
    "mpd_segment_template": Option(
        read=_read_template,
        allowed="time, number or number_timeline",
        meaning="how DASH segments are addressed",
    ),
    "mpd_sidecar_ttml": _switch("DASH: TTML as one file beside the segments"),
    "mpd_sidecar_webvtt": _switch("DASH: WebVTT as one file beside the segments"),
    "mpd_suggested_presentation_delay": Option(
        read=_read_seconds,
        allowed=_SECONDS,
        meaning="live: MPD@suggestedPresentationDelay, seconds; "
        "not said: four segments, 6 at the least",
    ),
    "restart_on_encoder_reconnect": _of_point(
        _read_flag, _FLAG, "whether an encoder may go on after an end of stream"
    ),
    "splice_media": _of_point(
        _read_flag, _FLAG, "whether segments are cut where the programme is left and comes back"
    ),
    "start": _moment("begin of the clip, counted from `vbegin`"),
    "t": Option(
        read=parse_range,
        allowed="a moment like that of vbegin, or two joined by a dash",
        meaning="begin, or begin and end of the clip",
        in_head=False,
    ),
    "time_shift": Option(
        read=_read_long,
        allowed=_LONG,
        meaning="live: how far manifests stay behind what was received, seconds",
        names_playlists=True,
    ),
    "timed_metadata": _of_point(
        _read_flag, _FLAG, "whether manifests and segments tell of events (SCTE-35, ID3, emsg)"
    ),
    "variant_set": Option(
        read=parse_filters,
        allowed=_FILTER,
        meaning="tracks that HLS variants are made of, one set after the other",
        repeats=True,
    ),
    "vbegin": _moment("begin of the clip"),
    "vend": _moment("end of the clip"),
}
QUERY_OPTIONS: frozenset[str] = frozenset(
    name for name, option in OPTIONS.items() if option.in_query
)
FLAG_OPTIONS: frozenset[str] = frozenset(name for name, option in OPTIONS.items() if option.flag)
