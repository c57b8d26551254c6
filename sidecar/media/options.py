"""Playout options: of the server manifest's head, and of the query string.

``hls.minimum_fragment_length`` on the command line, ``hls_minimum_fragment_length`` in the head and
in the query are one option: dots and dashes become underscores.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked playout options; the defaults are those of an empty manifest.

    Lengths are seconds. ``*_minimum_fragment_length``: None = the format's default.
    ``query``: the part of the request's query that changes what segments are, re-encoded in a
    fixed order (``hls_minimum_fragment_length=48/25``), to be appended to child URLs; may be empty.
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
