"""Text files as media files: one text track that has no samples, but cues."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np

from sidecar.boxes.write import box
from sidecar.codecs.facts import TextFacts
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.text.cues import TIMESCALE, TimedText
from sidecar.media.text.encodings import decoded
from sidecar.media.text.srt import TIMING, read_srt
from sidecar.media.text.ttml import read_ttml
from sidecar.media.text.webvtt import read_webvtt
from sidecar.media.track import Kind, MediaFile, Samples, Track
from sidecar.storage.source import Source

MAX_BYTES = 16 << 20
_EXTENSIONS = frozenset({".vtt", ".webvtt", ".srt", ".ttml", ".dfxp", ".xml"})
_LOOK = 4096
_WEBVTT = re.compile(r"WEBVTT(?:[ \t\r\n]|$)")
_XML = re.compile(r"\s*<(?:\?xml|!--|!DOCTYPE|(?:[\w.-]+:)?tt[\s>/])", re.IGNORECASE)
_SRT = re.compile(rf"(?:[^\n]*\n){{0,3}}?{TIMING.pattern}\s*?(?:\n|$)")
_READERS = {"webvtt": read_webvtt, "srt": read_srt, "ttml": read_ttml}
_NAMESPACE = b"http://www.w3.org/ns/ttml"


def text_format(source: Source) -> str | None:
    """``webvtt``, ``srt`` or ``ttml`` as ``source`` begins, else None.

    Raises ``InvalidMedia`` when its name says that it is text, and its content does not.
    """
    begin = source.read(0, min(source.identity.size, _LOOK))
    text = decoded(begin).replace("\r\n", "\n").replace("\r", "\n")
    if _WEBVTT.match(text):
        return "webvtt"
    if _XML.match(text):
        return "ttml"
    if _SRT.match(text):
        return "srt"
    if PurePosixPath(source.identity.path).suffix.lower() in _EXTENSIONS:
        raise InvalidMedia("line 1: the file is neither WebVTT, SRT nor TTML")
    return None


def index_text(source: Source, name: str) -> MediaFile:
    """The text file ``source`` of the format ``name`` with one track of its cues.

    SRT becomes WebVTT. Raises ``InvalidMedia`` or ``UnsupportedMedia`` when it cannot be read,
    the latter for files larger than ``MAX_BYTES`` too.
    """
    identity = source.identity
    if identity.size > MAX_BYTES:
        raise UnsupportedMedia(
            f"a text file of {identity.size} bytes is not read, {MAX_BYTES} at the most"
        )
    text = _READERS[name](source.read(0, identity.size))
    facts, entry = _stpp() if text.ttml is not None else _wvtt(text)
    track = Track(
        kind=Kind.TEXT,
        track_id=1,
        timescale=TIMESCALE,
        language=text.language,
        handler_name="",
        sample_entry_box=entry,
        facts=facts,
        edit_media_time=0,
        samples=Samples(
            decode_time=np.zeros(1, dtype=np.int64),
            composition_offset=None,
            size=np.empty(0, dtype=np.uint32),
            offset=np.empty(0, dtype=np.int64),
            sync=None,
            fragment_start=None,
        ),
        source=identity,
        text=text,
    )
    return MediaFile(source=identity, tracks=(track,), skipped=text.skipped)


_RESERVED = bytes(6) + b"\0\1"  # of every sample entry, and its data_reference_index


def _wvtt(text: TimedText) -> tuple[TextFacts, bytes]:
    """Facts and sample entry of cues of WebVTT (ISO/IEC 14496-30 7.5)."""
    header = "WEBVTT" + (f"\n\n{text.header}" if text.header else "")
    entry = box(b"wvtt", _RESERVED, box(b"vttC", header.encode("utf-8", "replace")))
    return TextFacts(codec="wvtt", sample_entry="wvtt", fourcc="WVTT"), entry


def _stpp() -> tuple[TextFacts, bytes]:
    """Facts and sample entry of documents of TTML (ISO/IEC 14496-12 12.6.3.2)."""
    # Namespace, no schema location, no auxiliary MIME types.
    entry = box(b"stpp", _RESERVED, _NAMESPACE + b"\0", b"\0", b"\0")
    return TextFacts(codec="stpp.ttml.im1t", sample_entry="stpp", fourcc="TTML"), entry
