"""Names of tracks in URLs, read and written (all below ``NAME.ism/``)."""

from __future__ import annotations

import re
from urllib.parse import quote

from sidecar.errors import NotFound
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition

# Encoders and players write it in both ways.
_EVENT = re.compile(r"[Ee]vents\([^()/]+\)/")


def encoded(name: str) -> str:
    """``name`` as one path segment of a URL; ``=`` stays, as selectors are full of it."""
    return quote(name, safe="=")


def stem(presentation: Presentation, rendition: Rendition) -> str:
    """``video-video_eng=401000``: what the URLs of a rendition's media begin with, encoded."""
    return encoded(f"{presentation.name}-{rendition.selector}")


def suffix(options: Options, format_name: str) -> str:
    """What the URLs of all segments of a format end with: the part of the query that says what they
    are. Nothing else depends on it: no init segment, no single key frame."""
    query = options.queries.get(format_name, "")
    return f"?{query}" if query else ""


def split_event(virtual_path: str) -> tuple[str, str]:
    """The folder of an event, ``Events(one)/`` as it is written, and what lies below it; the folder
    is empty where there is none."""
    match = _EVENT.match(virtual_path)
    folder = match[0] if match else ""
    return folder, virtual_path[len(folder) :]


def event_of(folder: str) -> str:
    """The name of the event with that ``folder``."""
    return folder.partition("(")[2][:-2]


def event_folder(event: str) -> str:
    """The folder of ``event``, encoded."""
    return f"Events({quote(event, safe='')})/"


def find_rendition(presentation: Presentation, decoded_stem: str) -> Rendition:
    """The rendition that ``<any basename>-<selector>`` names.

    Raises ``NotFound`` when the presentation has none of that name and bitrate.
    """
    named = [r for r in presentation.renditions if decoded_stem.endswith(f"-{r.selector}")]
    if not named:
        raise NotFound("the presentation has no such track")
    return max(named, key=lambda rendition: len(rendition.selector))
