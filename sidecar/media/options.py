"""Playout options: of the server manifest's head, and of the query string.

``hls.minimum_fragment_length`` on the command line, ``hls_minimum_fragment_length`` in the head and
in the query are one option: dots and dashes become underscores. The query overrides the head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import unquote_plus

from sidecar.errors import BadRequest, InvalidMedia

MAX_LENGTH = Fraction(3600)
_MAX_PARAMETERS = 256
_NUMBER = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/([0-9]{1,9}(?:\.[0-9]{1,9})?))?")
_TRUE = frozenset({"", "true", "1", "on", "yes"})
_FALSE = frozenset({"false", "0", "off", "no"})

# Metas that describe the manifest itself rather than how it is played.
HOUSEKEEPING = frozenset({"clientManifestRelativePath", "creator", "formats"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked playout options; the defaults are those of an empty manifest.

    Lengths are seconds. ``*_minimum_fragment_length``: None = the format's default, 0 = every GOP
    or source fragment.
    ``query``: the part of the request's query that changes what segments are, re-encoded in a
    fixed order (``hls_minimum_fragment_length=48/25``), to be appended to child URLs; may be empty.
    ``warnings``: sentences on options of the head that have no effect.
    """

    hls_minimum_fragment_length: Fraction | None = None
    mpd_minimum_fragment_length: Fraction | None = None
    hls_client_manifest_version: int | None = None
    hls_fmp4: bool = True
    hls_no_audio_only: bool = False
    hls_no_multiplex: bool = False
    hls_playout: bool = True
    mpd_playout: bool = True
    mpd_segment_template: str = "time"
    mpd_min_buffer_time: Fraction = Fraction(10)
    query: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """One row: how the text is read (ValueError when it cannot be) and what it may be.

    ``in_query``: whether a request may set it. ``names_segments``: whether segments differ with
    it, so that their URLs must carry it.
    """

    read: Callable[[str], Any]
    allowed: str
    in_query: bool = True
    names_segments: bool = False


def option_name(text: str) -> str:
    """The one spelling of an option's name: dots and dashes become underscores."""
    return text.replace(".", "_").replace("-", "_")


def _read_flag(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _read_seconds(text: str) -> Fraction:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError
    divisor = Fraction(match[2] or 1)
    if not divisor:
        raise ValueError
    value = Fraction(match[1]) / divisor
    if value > MAX_LENGTH:
        raise ValueError
    return value


def _read_version(text: str) -> int:
    word = text.strip()
    if not (word.isascii() and word.isdigit() and len(word) <= 2 and 1 <= int(word) <= 13):
        raise ValueError
    return int(word)


def _read_template(text: str) -> str:
    word = text.strip().lower()
    if word not in ("time", "number", "number_timeline"):
        raise ValueError
    return word


_SECONDS = f"seconds from 0 to {MAX_LENGTH}, as a number or as a fraction like 48/25"
_FLAG = "true or false"
# Playout is not the client's to switch on, and a value that asks for encryption is refused as
# any other that is not a flag: content that was to be encrypted never goes out in the clear.
_OPTIONS: dict[str, _Option] = {
    "hls_client_manifest_version": _Option(read=_read_version, allowed="a number from 1 to 13"),
    "hls_fmp4": _Option(read=_read_flag, allowed=_FLAG),
    "hls_minimum_fragment_length": _Option(
        read=_read_seconds, allowed=_SECONDS, names_segments=True
    ),
    "hls_no_audio_only": _Option(read=_read_flag, allowed=_FLAG),
    "hls_no_multiplex": _Option(read=_read_flag, allowed=_FLAG),
    "hls_playout": _Option(read=_read_flag, allowed=_FLAG, in_query=False),
    "mpd_min_buffer_time": _Option(read=_read_seconds, allowed=_SECONDS),
    "mpd_minimum_fragment_length": _Option(
        read=_read_seconds, allowed=_SECONDS, names_segments=True
    ),
    "mpd_playout": _Option(read=_read_flag, allowed=_FLAG, in_query=False),
    "mpd_segment_template": _Option(read=_read_template, allowed="time, number or number_timeline"),
}
QUERY_OPTIONS: frozenset[str] = frozenset(
    name for name, option in _OPTIONS.items() if option.in_query
)
_SEGMENT_OPTIONS = sorted(name for name, option in _OPTIONS.items() if option.names_segments)


def parse_options(head: Mapping[str, str], query: str) -> Options:
    """The options of ``head`` (option name -> text) overridden by those of ``query``.

    ``query`` is raw: still percent-encoded, without "?". A parameter given twice counts as last
    given; parameters that are not in ``QUERY_OPTIONS`` are none of ours.

    Raises ``InvalidMedia`` naming the option for a bad value in the head, ``BadRequest`` naming
    the parameter for one in the query.
    """
    values: dict[str, Any] = {}
    warnings = []
    for given, text in head.items():
        name = option_name(given)
        option = _OPTIONS.get(name)
        if option is not None:
            values[name] = _read_head(name, option, text)
        elif given not in HOUSEKEEPING:
            warnings.append(f"option {given} of the server manifest has no effect")
    asked = {
        name: _read_query(name, _OPTIONS[name], text)
        for name, text in _parameters(query)
        if name in QUERY_OPTIONS
    }
    # A client that asks for transport streams cannot be given anything else; a manifest is older
    # than what is asked of it now.
    if asked.get("hls_fmp4") is False:
        raise BadRequest("parameter hls_fmp4 must be true: HLS is made of fragmented MP4 only")
    if values.get("hls_fmp4") is False:
        del values["hls_fmp4"]
        warnings.append("option hls_fmp4 of the server manifest has no effect when it is false")
    carried = "&".join(
        f"{name}={asked[name]}"
        for name in _SEGMENT_OPTIONS
        if name in asked and asked[name] != values.get(name)
    )
    return Options(**(values | asked), query=carried, warnings=tuple(warnings))


def _parameters(query: str) -> list[tuple[str, str]]:
    fields = query.split("&") if query else []
    if len(fields) > _MAX_PARAMETERS:
        raise BadRequest(f"the query has more than {_MAX_PARAMETERS} parameters")
    pairs = (field.partition("=") for field in fields)
    return [(option_name(unquote_plus(name)), unquote_plus(text)) for name, _, text in pairs]


def _read_head(name: str, option: _Option, text: str) -> Any:
    try:
        return option.read(text)
    except ValueError:
        raise InvalidMedia(
            f"option {name} of the server manifest must be {option.allowed}"
        ) from None


def _read_query(name: str, option: _Option, text: str) -> Any:
    try:
        return option.read(text)
    except ValueError:
        raise BadRequest(f"parameter {name} must be {option.allowed}") from None
