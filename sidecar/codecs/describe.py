"""From a sample entry to the facts that manifests need."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.boxes.header import read_header
from sidecar.codecs.aac import aac_facts
from sidecar.codecs.ac3 import ac3_facts, eac3_facts
from sidecar.codecs.av1 import av1_facts
from sidecar.codecs.avc import avc_facts
from sidecar.codecs.entry import (
    Child,
    SoundEntry,
    VisualEntry,
    plain_entry,
    sound_entry,
    visual_entry,
)
from sidecar.codecs.facts import AudioFacts, Facts, TextFacts, VideoFacts
from sidecar.codecs.hevc import hevc_facts
from sidecar.codecs.opus import opus_facts
from sidecar.codecs.text import stpp_facts, wvtt_facts
from sidecar.errors import UnsupportedMedia

_VIDEO: dict[bytes, Callable[[VisualEntry], VideoFacts]] = {
    b"avc1": avc_facts,
    b"avc3": avc_facts,
    b"hvc1": hevc_facts,
    b"hev1": hevc_facts,
    b"av01": av1_facts,
}
_AUDIO: dict[bytes, Callable[[SoundEntry], AudioFacts]] = {
    b"mp4a": aac_facts,
    b"ac-3": ac3_facts,
    b"ec-3": eac3_facts,
    b"Opus": opus_facts,
}
_TEXT: dict[bytes, Callable[[Child], TextFacts]] = {b"stpp": stpp_facts, b"wvtt": wvtt_facts}
_TEXT_HANDLERS = (b"text", b"subt", b"sbtl")
_ENCRYPTED = (b"encv", b"enca", b"enct")


def describe(sample_entry_box: bytes, handler_type: bytes, *, box_path: str, offset: int) -> Facts:
    """Facts of ``sample_entry_box`` (whole, header included) of a track of ``handler_type``.

    ``box_path``: path of the stsd box; ``offset``: of the entry in the file, bytes; both are
    evidence. Boxes in the entry that are not known are passed over.

    Raises ``UnsupportedMedia`` for a codec that is not served, for encrypted entries and for a
    handler that does not fit the codec; ``InvalidMedia`` for a damaged entry or configuration.
    """
    header = read_header(sample_entry_box, 0, len(sample_entry_box), box_path=box_path, base=offset)
    if handler_type == b"vide" and (video := _VIDEO.get(header.type)):
        return video(visual_entry(sample_entry_box, box_path=box_path, offset=offset))
    if handler_type == b"soun" and (audio := _AUDIO.get(header.type)):
        return audio(sound_entry(sample_entry_box, box_path=box_path, offset=offset))
    if handler_type in _TEXT_HANDLERS and (text := _TEXT.get(header.type)):
        return text(plain_entry(sample_entry_box, box_path=box_path, offset=offset))
    name = printable(header.type)
    reason = "is encrypted" if header.type in _ENCRYPTED else "is not served"
    raise UnsupportedMedia(
        f"sample entry {name} of handler {printable(handler_type)} {reason}",
        box_path=f"{box_path}/{name}" if box_path else name,
        offset=offset,
    )


def printable(four: bytes) -> str:
    """A four-character code for messages: as text when it is text, else in hexadecimal."""
    text = four.decode("ascii", "replace")
    return text if text.isprintable() and four.isascii() else four.hex()
