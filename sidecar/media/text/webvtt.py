"""WebVTT files (W3C WebVTT 4, 6)."""

from __future__ import annotations

import re

from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.text.cues import LATEST, MAX_CUES, Cue, Schedule, TimedText
from sidecar.media.text.encodings import decoded, lines_of

_TIME = r"(?:([0-9]{2,}):)?([0-5][0-9]):([0-5][0-9])\.([0-9]{3})"
_TIMING = re.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}(?:[ \t]+(.*))?[ \t]*")
_SIGNATURE = re.compile(r"WEBVTT(?:[ \t].*)?")
_KEPT = re.compile(r"(?:STYLE|REGION)[ \t]*")
_MAX_SETTINGS = 512


def read_webvtt(data: bytes) -> TimedText:
    """The cues of the WebVTT file ``data``, with its STYLE and REGION blocks as header.

    Cues whose times are not times, or end before they begin, are left out and counted; comments
    and cues without text too. Raises ``InvalidMedia`` without the signature, ``UnsupportedMedia``
    when there are more than ``MAX_CUES`` cues.
    """
    lines = lines_of(decoded(data))
    if not _SIGNATURE.fullmatch(lines[0]):
        raise InvalidMedia("line 1 of the WebVTT file: the signature is missing")
    position = 1
    while position < len(lines) and lines[position] and "-->" not in lines[position]:
        position += 1
    cues: list[Cue] = []
    header: list[str] = []
    malformed: list[int] = []
    while position < len(lines):
        if not lines[position]:
            position += 1
            continue
        identifier = ""
        start = position
        if "-->" not in lines[position]:
            after = _block_end(lines, position)
            has_timing = position + 1 < len(lines) and "-->" in lines[position + 1]
            if not has_timing:
                # Style sheets apply to what follows them: none may stand behind a cue.
                if _KEPT.fullmatch(lines[position]) and not cues:
                    header.append("\n".join(lines[position:after]))
                position = after
                continue
            identifier = lines[position]
            position += 1
        timing = _TIMING.fullmatch(lines[position])
        after = _block_end(lines, position + 1)
        payload = "\n".join(lines[position + 1 : after])
        position = after
        if timing is None:
            malformed.append(start + 1)
            continue
        begin, end = _milliseconds(timing.groups()[:4]), _milliseconds(timing.groups()[4:8])
        if not begin < end <= LATEST:
            malformed.append(start + 1)
        elif payload.strip():
            cues.append(
                Cue(
                    begin=begin,
                    end=end,
                    payload=payload,
                    settings=(timing[9] or "").strip()[:_MAX_SETTINGS],
                    identifier=identifier.strip(),
                )
            )
            if len(cues) > MAX_CUES:
                raise UnsupportedMedia(f"there are more than {MAX_CUES} cues")
    return TimedText(
        cues=Schedule(cues), header="\n\n".join(header), skipped=left_out(malformed, "cue")
    )


def left_out(lines: list[int], what: str) -> tuple[str, ...]:
    """A sentence on the malformed cues that begin at ``lines``, when there are any."""
    if not lines:
        return ()
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return (f"the {what} at line {lines[0]}{more}: its times are not valid",)


def _block_end(lines: list[str], position: int) -> int:
    """Index of the line that ends the block whose text begins at ``position``."""
    while position < len(lines) and lines[position] and "-->" not in lines[position]:
        position += 1
    return position


def _milliseconds(groups: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = groups
    # Beyond ten digits it is past LATEST anyway: the number itself does not matter any more.
    whole = int((hours or "0")[:10])
    return ((whole * 60 + int(minutes or 0)) * 60 + int(seconds or 0)) * 1000 + int(fraction or 0)
