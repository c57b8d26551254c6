"""WebVTT in samples of ISO base media files (ISO/IEC 14496-30 7)."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

from sidecar.boxes.header import walk
from sidecar.boxes.write import box
from sidecar.codecs.entry import plain_entry
from sidecar.media.text.cues import Cue
from sidecar.media.text.encodings import lines_of
from sidecar.mux.webvtt import clock_time

# What a sample holds when there is no cue: nothing is not allowed.
NO_CUE = box(b"vtte")
_TIMESTAMP = re.compile(r"<[0-9]")


def wvtt_samples(cues: Sequence[Cue], begin: int, end: int) -> list[tuple[int, bytes]]:
    """(duration in ms, bytes) of the samples from ``begin`` to ``end`` (ms, begin before end).

    Samples follow each other without gaps or overlaps: one begins wherever a cue of ``cues`` begins
    or ends. A cue that is in several has the same source_ID in all of them.
    """
    steps = {begin, end}
    for cue in cues:
        steps.update(time for time in (cue.begin, cue.end) if begin < time < end)
    samples = []
    for shown, gone in pairwise(sorted(steps)):
        data = b"".join(
            _cue_box(cue, shown, gone) for cue in cues if cue.begin < gone and cue.end > shown
        )
        samples.append((gone - shown, data or NO_CUE))
    return samples


def _cue_box(cue: Cue, shown: int, gone: int) -> bytes:
    boxes = []
    if (cue.begin, cue.end) != (shown, gone):
        boxes.append(box(b"vsid", struct.pack(">I", _source_id(cue))))
    if cue.identifier:
        boxes.append(_text_box(b"iden", cue.identifier))
    if _TIMESTAMP.search(cue.payload):
        boxes.append(_text_box(b"ctim", clock_time(shown)))
    if cue.settings:
        boxes.append(_text_box(b"sttg", cue.settings))
    boxes.append(_text_box(b"payl", cue.payload))
    return box(b"vttc", *boxes)


def _source_id(cue: Cue) -> int:
    """The same wherever the cue is made again, and hardly ever that of another cue."""
    return zlib.crc32(f"{cue.begin} {cue.end} {cue.payload}".encode("utf-8", "replace")) >> 1


def _text_box(name: bytes, text: str) -> bytes:
    return box(name, text.encode("utf-8", "replace"))


def cues_of_sample(data: bytes, begin: int, end: int, *, base: int = 0) -> list[Cue]:
    """The cues of the sample ``data``, which is shown from ``begin`` to ``end`` (ms).

    ``base``: offset of the sample in its file, for errors. Raises ``InvalidMedia`` when its boxes
    do not fit.
    """
    cues = []
    for child in walk(data, 0, len(data), base=base):
        if child.type != b"vttc":
            continue
        texts = {
            part.type: data[part.body : part.end].rstrip(b"\0").decode("utf-8", "replace")
            for part in walk(data, child.body, child.end, box_path="vttc", base=base)
        }
        lines = lines_of(texts.get(b"payl", "").replace("-->", "--&gt;"))
        payload = "\n".join(line for line in lines if line.strip())
        if payload:
            cues.append(
                Cue(
                    begin=begin,
                    end=end,
                    payload=payload,
                    settings=" ".join(texts.get(b"sttg", "").split()),
                    identifier=" ".join(texts.get(b"iden", "").replace("-->", "").split()),
                )
            )
    return cues


def wvtt_header(sample_entry_box: bytes) -> str:
    """STYLE and REGION blocks of the configuration of a ``wvtt`` sample entry; may be empty.

    Raises ``InvalidMedia`` when it is damaged.
    """
    entry = plain_entry(sample_entry_box, box_path="", offset=0)
    for child in walk(entry.body, 0, len(entry.body), box_path="wvtt"):
        if child.type == b"vttC":
            text = entry.body[child.body : child.end].rstrip(b"\0").decode("utf-8", "replace")
            blocks = re.split(r"\n{2,}", "\n".join(lines_of(text)).strip("\n"))
            return "\n\n".join(
                block for block in blocks[1:] if block.startswith(("STYLE", "REGION"))
            )
    return ""
