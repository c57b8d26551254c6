"""Playout options: of the server manifest's head, and of the query string.

``hls.minimum_fragment_length`` on the command line, ``hls_minimum_fragment_length`` in the head and
in the query are one option: dots and dashes become underscores. The query overrides the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from urllib.parse import quote, unquote_plus

from sidecar.errors import BadRequest, InvalidMedia
from sidecar.media.filters import Filter
from sidecar.media.moments import LATEST, Moment
from sidecar.media.option_table import OPTIONS, QUERY_OPTIONS, read_value

_MAX_PARAMETERS = 256

# Metas that describe the manifest itself rather than how it is played.
HOUSEKEEPING = frozenset({"clientManifestRelativePath", "creator", "formats"})
_CLIP = frozenset({"vbegin", "vend", "t", "start", "end"})
_PLAYLIST_OPTIONS = sorted(name for name, option in OPTIONS.items() if option.names_playlists)
_SEGMENT_OPTIONS = sorted(
    (option.names_segments, name) for name, option in OPTIONS.items() if option.names_segments
)

# What manifests list of a publishing point that says nothing, seconds: pure live.
DEFAULT_WINDOW = Fraction(30)
_WINDOW = "dvr_window_length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked playout options; the defaults are those of an empty manifest.

    Lengths are seconds. ``*_minimum_fragment_length``: None = the format's default, 0 = every GOP
    or source fragment. ``hls_fmp4``: None = not said. ``iss_client_manifest_version``: 20 or 22.
    ``clip_begin``, ``clip_end``: what ``vbegin``, ``vend``, ``t``, ``start`` and ``end`` say
    together, begin before end; None = that of the presentation (``timeline.clips.clip_of``).
    ``archiving`` to ``timed_metadata``: of publishing points; None is as good as 0.
    ``filter``, ``max_bitrate``, ``min_bitrate`` (bit/s) choose tracks, ``variant_set`` composes HLS
    variants (``media.select``).
    ``queries``: by format (``hls``, ``dash``, ``smooth``, ``hds``), the part of the request's query
    that changes what its segments are, re-encoded (``hls_minimum_fragment_length=48/25``), to be
    appended to their URLs; formats without any are not in it. ``playlist_query``: the same for the
    playlists that an HLS master playlist refers to: that of ``hls``, the clip, and what the request
    said of ``hls_fmp4`` and its like. ``key_frame_query``: for its I-frame playlists, which have a
    segment for each key frame, however long the others are.
    ``warnings``: sentences on options of the head that have no effect.
    """

    archiving: bool = False
    archive_length: Fraction | None = None
    archive_segment_length: Fraction | None = None
    archive_sync: str = "segment"
    dvr_window_length: Fraction | None = None
    time_shift: Fraction | None = None
    event_id: str = ""
    restart_on_encoder_reconnect: bool = False
    splice_media: bool = False
    timed_metadata: bool = False
    hls_minimum_fragment_length: Fraction | None = None
    mpd_minimum_fragment_length: Fraction | None = None
    iss_minimum_fragment_length: Fraction | None = None
    hds_minimum_fragment_length: Fraction | None = None
    hls_client_manifest_version: int | None = None
    iss_client_manifest_version: int | None = None
    hls_fmp4: bool | None = None
    hls_no_audio_only: bool = False
    hls_no_multiplex: bool = False
    hls_playout: bool = True
    mpd_playout: bool = True
    iss_playout: bool = True
    hds_playout: bool = True
    mpd_segment_template: str = "time"
    mpd_min_buffer_time: Fraction | None = None
    mpd_minimum_update_period: Fraction | None = None
    mpd_suggested_presentation_delay: Fraction | None = None
    mpd_sidecar_ttml: bool = False
    mpd_sidecar_webvtt: bool = False
    fixed_gop: bool = False
    filter: Filter | None = None
    variant_set: tuple[Filter, ...] = ()
    max_bitrate: int | None = None
    min_bitrate: int | None = None
    clip_begin: Moment | None = None
    clip_end: Moment | None = None
    queries: Mapping[str, str] = field(default_factory=dict)
    playlist_query: str = ""
    key_frame_query: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def is_clipped(self) -> bool:
        """Whether less of stored content is asked for than all of it. Of a presentation that goes
        on, a begin at 0 is all that there is instead of its newest part."""
        begins = self.clip_begin is not None and self.clip_begin.seconds > 0
        return begins or self.clip_end is not None


def option_name(text: str) -> str:
    """The one spelling of an option's name: dots and dashes become underscores."""
    return text.replace(".", "_").replace("-", "_")


def parse_options(head: Mapping[str, str], query: str) -> Options:
    """The options of ``head`` (option name -> text) overridden by those of ``query``.

    ``query`` is raw: still percent-encoded, without "?". A parameter given twice counts as last
    given, but every ``variant_set`` counts; parameters that are not in ``QUERY_OPTIONS`` are none
    of ours.

    Raises ``InvalidMedia`` naming the option for a bad value in the head, ``BadRequest`` naming
    the parameter for one in the query, or for a clip that is none.
    """
    values: dict[str, Any] = {}
    warnings = []
    for given, text in head.items():
        name = option_name(given)
        option = OPTIONS.get(name)
        if option is not None and option.in_head:
            try:
                values[name] = read_value(option, text, f"option {name} of the server manifest")
            except ValueError as error:
                raise InvalidMedia(str(error)) from None
        elif given not in HOUSEKEEPING:
            warnings.append(f"option {given} of the server manifest has no effect")
    asked: dict[str, Any] = {}
    for name, text in _parameters(query):
        if name in QUERY_OPTIONS:
            option = OPTIONS[name]
            try:
                value = read_value(option, text, f"parameter {name}")
            except ValueError as error:
                raise BadRequest(str(error)) from None
            asked[name] = asked.get(name, ()) + value if option.repeats else value

    _cap_window(values, asked)
    clip = _clip(asked)
    changed = {name: value for name, value in asked.items() if values.get(name) != value}
    queries = {
        format_name: f"{name}={changed[name]}"
        for format_name, name in _SEGMENT_OPTIONS
        if name in changed
    }
    hls = [queries["hls"]] if "hls" in queries else []
    playlists = [
        f"{name}={_written(changed[name])}" for name in _PLAYLIST_OPTIONS if name in changed
    ]
    moments = [
        f"{name}={quote(str(moment), safe=':')}"
        for name, moment in zip(("vbegin", "vend"), clip, strict=True)
        if moment is not None
    ]
    chosen = {name: value for name, value in (values | asked).items() if name not in _CLIP}
    return Options(
        **chosen,
        clip_begin=clip[0],
        clip_end=clip[1],
        queries=queries,
        playlist_query="&".join(hls + playlists + moments),
        key_frame_query="&".join(playlists + moments),
        warnings=tuple(warnings),
    )


def _cap_window(values: Mapping[str, Any], asked: dict[str, Any]) -> None:
    """Of what the manifest lists of its window a request may ask for less, not for more."""
    window = asked.pop(_WINDOW, None)
    if window is not None:
        asked[_WINDOW] = min(window, values.get(_WINDOW) or DEFAULT_WINDOW)


def _clip(asked: Mapping[str, Any]) -> tuple[Moment | None, Moment | None]:
    """Begin and end of the clip that the parameters ask for together; None = not said."""
    begin: Moment | None = asked.get("vbegin")
    end: Moment | None = asked.get("vend")
    if "t" in asked:
        if begin is not None or end is not None:
            raise BadRequest("parameter t must not be given with vbegin or vend")
        begin, end = asked["t"]
    origin = begin or Moment(Fraction(0))
    ends = [moment for moment in (end, _after(origin, asked.get("end"))) if moment is not None]
    begin = _after(origin, asked.get("start")) or begin
    given = [moment for moment in (begin, *ends) if moment is not None]
    if len({moment.dated for moment in given}) > 1:
        raise BadRequest("begin and end of a clip must both be dates or neither")
    if any(moment.seconds > LATEST for moment in given):
        raise BadRequest("begin and end of a clip must lie before the year 9999")
    end = min(ends, key=lambda moment: moment.seconds, default=None)
    if end is not None and end.seconds <= (begin.seconds if begin is not None else 0):
        raise BadRequest(f"the clip must end after it begins: {begin or 0} is not before {end}")
    return begin, end


def _after(origin: Moment, moment: Moment | None) -> Moment | None:
    """``moment`` where ``origin`` is the begin; dates do not count from anywhere else."""
    return moment if moment is None or moment.dated else origin + moment.seconds


def _written(value: Any) -> str:
    return str(value).lower()


def _parameters(query: str) -> list[tuple[str, str]]:
    fields = query.split("&") if query else []
    if len(fields) > _MAX_PARAMETERS:
        raise BadRequest(f"the query has more than {_MAX_PARAMETERS} parameters")
    pairs = (field.partition("=") for field in fields)
    return [(option_name(unquote_plus(name)), unquote_plus(text)) for name, _, text in pairs]
