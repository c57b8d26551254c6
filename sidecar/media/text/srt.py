"""SubRip files: numbered cues with a comma in their times, HTML-like tags, no standard."""

from __future__ import annotations

import re

from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.text.cues import LATEST, MAX_CUES, Cue, Schedule, TimedText
from sidecar.media.text.encodings import decoded, lines_of
from sidecar.media.text.webvtt import left_out

_TIME = r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{1,2})(?:[,.]([0-9]{1,3}))?"
# Behind the times, some writers put coordinates of the picture: X1:40 X2:600 ...
TIMING = re.compile(rf"[ \t]*{_TIME}[ \t]*--?>[ \t]*{_TIME}(?:[ \t].*)?")
_NUMBER = re.compile(r"[ \t]*[0-9]{1,9}[ \t]*")
_MARKUP = re.compile(
    r"<(?P<slash>/?)(?P<tag>[ibuIBU])[ \t]*>"
    r"|</?(?:font|span)(?:[ \t][^<>]*)?>"
    r"|\{\\[^{}]*\}"
    r"|&(?:amp|lt|gt|nbsp|lrm|rlm);"
    r"|[&<>]",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\{\\an?([0-9]{1,2})[\\}]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def read_srt(data: bytes) -> TimedText:
    """The cues of the SRT file ``data``: italics, bold, underline and ``{\\an8}`` kept.

    Cues whose times are not times, or end before they begin, are left out and counted. Raises
    ``InvalidMedia`` when there is no cue at all, ``UnsupportedMedia`` with more than ``MAX_CUES``.
    """
    lines = lines_of(decoded(data))
    timed = [index for index, line in enumerate(lines) if "->" in line and _is_timing(line)]
    if not timed:
        raise InvalidMedia("line 1 of the SRT file: there is no cue")
    if len(timed) > MAX_CUES:
        raise UnsupportedMedia(f"there are more than {MAX_CUES} cues")
    cues = []
    malformed = []
    for at, following in zip(timed, [*timed[1:], len(lines)], strict=True):
        end_of_text = following
        # The next cue's number; only that: a line of digits may be spoken text.
        if following < len(lines) and _NUMBER.fullmatch(lines[following - 1]):
            end_of_text = max(at + 1, following - 1)
        match = TIMING.fullmatch(lines[at])
        groups = match.groups() if match else ()
        begin, end = _milliseconds(groups[:4]), _milliseconds(groups[4:])
        if match is None or not begin < end <= LATEST:
            malformed.append(at + 1)
            continue
        text = "\n".join(line.rstrip() for line in lines[at + 1 : end_of_text] if line.strip())
        payload = "\n".join(line for line in _payload(text).split("\n") if line.strip())
        if payload:
            cues.append(Cue(begin=begin, end=end, payload=payload, settings=_settings(text)))
    return TimedText(cues=Schedule(cues), skipped=left_out(malformed, "cue"))


def _is_timing(line: str) -> bool:
    """Whether ``line`` is, or was meant as, the times of a cue."""
    return "-->" in line or TIMING.fullmatch(line) is not None


def _payload(text: str) -> str:
    """``text`` as cue text of WebVTT."""
    return _MARKUP.sub(_translated, text)


def _translated(match: re.Match[str]) -> str:
    found = match[0]
    if match["tag"]:
        return f"<{match['slash']}{match['tag'].lower()}>"
    if found in _ESCAPES:
        return _ESCAPES[found]
    return found.lower() if found.startswith("&") else ""


def _settings(text: str) -> str:
    """Cue settings for the first ``{\\anN}``: N as on a numeric keypad, 2 being the usual place."""
    match = _PLACE.search(text)
    place = int(match[1]) if match and match[0].startswith("{\\an") else 2
    if not 1 <= place <= 9:
        return ""
    settings = []
    if place >= 7:
        settings.append("line:0")
    elif place >= 4:
        settings.append("line:50%")
    if place % 3 == 1:
        settings.append("align:left")
    elif place % 3 == 0:
        settings.append("align:right")
    return " ".join(settings)


def _milliseconds(groups: tuple[str | None, ...]) -> int:
    if not groups:
        return 0
    hours, minutes, seconds, fraction = groups
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))
